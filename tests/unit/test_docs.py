"""What is made from the code is current, versions and addresses stand in one place, and the one-screen example is true."""

import ast
import json
import re
import subprocess
import sys
import tomllib

import pytest
import torch
import yaml
from PIL import Image

from fun import api, reference
from fun.diffusion.sampling import denoise, make_step
from fun.networks.mnist_unets import SmallUNet
from project import PROJECT

PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("page", ["configuration", "library"])
def test_the_pages_made_from_the_code_are_current(page):
    assert (PROJECT / f"docs/{page}.md").read_text() == getattr(reference, page)(), "make docs"


def keys(schema, path=""):
    """Every key of a schema that nothing refers to, as a path."""
    for name, entry in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from keys(entry, f"{path}{name}/")


def test_every_key_is_on_the_page():
    page = reference.configuration()
    schema = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text())
    headings = {name for name, entry in schema["properties"].items() if entry["type"] == "object"}
    assert {f"`{key}`" for key in {*keys(schema)} - headings} <= set(
        re.findall(r"^\| (`[^`]+`) \|", page, re.MULTILINE)
    )
    for key in ("cascades/NAME/stage_1/sampling/steps", "mnist/models/NAME/width", "mnist/training/ema", "starts"):
        assert f"| `{key}` |" in page
    row = next(line for line in page.splitlines() if line.startswith("| `mnist/training/batch_size`"))
    assert row == "| `mnist/training/batch_size` | Images per step. | whole number 2 to 4096 | `32` |"


def test_each_name_of_the_library_says_what_it_is():
    page = reference.library()
    assert len(set(api.__all__)) == len(api.__all__) and set(api.__all__) <= set(vars(api))
    for name in api.__all__:
        assert f"### {name}" in page
        assert name == "NO_CLASS" or getattr(api, name).__doc__, name


def test_nothing_that_runs_goes_through_the_door():
    for path in [*PROJECT.glob("scripts/**/*.py"), *PROJECT.glob("rules/*.smk")]:
        if path.name not in ("reference.py",):
            assert not re.search(
                r"from fun(\.api)? import|from fun\.(hosted|reference)\b",
                re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL),
            ), path


def test_the_door_opens_without_what_it_does_not_need():
    """In a second or two: transformers and diffusers are imported when a model of theirs is loaded."""
    code = "import sys; import fun.api; assert not {'transformers', 'diffusers', 'snakemake', 'pandas'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PROJECT / "scripts")}, check=True)


def test_the_package_needs_what_it_imports():
    """pip install . brings all that fun.api imports, and what it imports later."""
    named = {"PIL": "pillow", "yaml": "pyyaml", "markdown_it": "markdown-it-py"}
    code = (
        "import sys; before = {*sys.modules}; import fun.api; "
        "print(*{name.split('.')[0] for name in {*sys.modules} - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PROJECT / "scripts")},
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {named.get(name, name) for name in done.stdout.split()}
    direct = set()
    for path in PROJECT.glob("scripts/fun/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            direct |= {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            direct |= {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()
    needed = {named.get(name, name) for name in direct} & loaded - set(sys.stdlib_module_names) - {"fun"}
    assert needed <= {re.split("[>=]", name)[0] for name in PROJECT_TABLE["dependencies"]}


def test_one_version_and_one_address():
    version = PROJECT_TABLE["version"]
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["version"] == version
    assert re.search(r"^## (\S+?),", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) == version
    assert reference.known_address() == reference.address()
    assert citation["repository-code"] == reference.address()["Repository"]
    name = reference.address()["Repository"].removeprefix("https://github.com/")
    for file in reference.ADDRESSED:
        text = (PROJECT / file).read_text()
        assert set(re.findall(r"github\.com/([\w.-]+/[\w.-]+)|/github/([\w.-]+/[\w.-]+)/", text)) <= {
            (name, ""),
            ("", name),
        }, file


def test_another_address_is_written_wherever_the_old_one_stands(monkeypatch):
    known = reference.address()
    new = {"Repository": "https://github.com/me/mine", "Report": "https://me.github.io/mine/"}
    monkeypatch.setattr(reference, "address", lambda: new)
    for file in reference.ADDRESSED:
        text = reference.addressed((PROJECT / file).read_text(), known)
        assert "me/mine" in text and "OWNER" not in text


def test_the_notebook_has_no_outputs_and_every_cell_of_code_parses():
    notebook = json.loads((PROJECT / "notebooks/fun.ipynb").read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_every_output_of_a_rule_is_on_the_page_of_outputs():
    page, spelled = (
        (PROJECT / "docs/outputs.md").read_text(),
        {"{digits}_seed_{seed}": "DIGITS_seed_SEED", "{n}": "N", "{so_far}": ""},
    )
    names = set()
    for path in PROJECT.glob("rules/*.smk"):
        for output in re.findall(r"    output:\n(.*?)\n    \w+:", path.read_text(), re.DOTALL):
            found = re.findall(r'"(results/[^"]+)"', output)
            names |= {
                one.rsplit("/", 1)[1] for one in found if "side_by_side" not in one and "miniature_training" not in one
            }
    assert len(names) > 20
    for name in names:
        for wildcard, word in spelled.items():
            name = name.replace(wildcard, word)
        assert name in page, name


# --- examples/minimal.py ---


def test_the_example_fits_a_screen():
    assert len((PROJECT / "examples/minimal.py").read_text().splitlines()) <= 60


def test_the_example_runs(mnist_folder, tmp_path):
    (tmp_path / "results/mnist").mkdir(parents=True)
    (tmp_path / "results/mnist/data").symlink_to(mnist_folder)
    command = [sys.executable, str(PROJECT / "examples/minimal.py"), "30"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT / "scripts"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "minimal.png") as picture:
        assert picture.size == (1120, 112) and len(picture.getcolors(256)) > 10


def test_the_example_s_loop_is_the_workflow_s():
    """The loop that it writes out, against denoise() with the same noise."""
    text = (PROJECT / "examples/minimal.py").read_text()
    loop = text[text.index("    for t, t_prev in") : text.index("\nImage.fromarray")]
    torch.manual_seed(0)
    schedule = api.NoiseSchedule.cosine(300)
    network = SmallUNet(schedule, class_conditioned=True).eval()
    torch.nn.init.normal_(network.output.weight, std=0.1)
    digits, nothing = torch.arange(10), torch.full((10,), api.NO_CLASS)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(10, 1, 28, 28, generator=generator)
    drawn = [torch.randn(10, 1, 28, 28, generator=generator) for _ in range(50)]

    class Torch:
        """torch with this noise."""

        def __init__(self):
            self.noise = iter(drawn)

        def __getattr__(self, name):
            return getattr(torch, name)

        def randn(self, *shape):
            return next(self.noise)

    names = {
        "torch": Torch(),
        "network": network,
        "digits": digits,
        "nothing": nothing,
        "T": 300,
        "x_t": start,
        "schedule": schedule,
    }
    names["api"] = api
    with torch.no_grad():
        exec(compile("if True:\n" + loop, "loop", "exec"), names)

    def guided(x_t, t):
        return api.predict(network, x_t, t, [api.Branch(digits)], 2.0, nothing)

    pairs, noise = api.timestep_pairs(api.spaced_timesteps("trailing", 300, 50)), iter(drawn)

    def step(schedule, t, t_prev, x_t, x_0, v, draw):
        return make_step("ddpm")(schedule, t, t_prev, x_t, x_0, v, lambda: next(noise))

    *_, last = denoise(schedule, guided, start, pairs, step, [generator] * 10, lambda x: x.clamp(-1, 1))
    torch.testing.assert_close(names["x_t"], last.x_t, atol=1e-5, rtol=1e-5)
