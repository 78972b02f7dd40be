"""Whole configurations and experiments through Snakemake: planned, or refused in one sentence, and nothing is left behind."""

import re
import subprocess
import sys

import pytest
import yaml
from hypothesis import HealthCheck, given, seed, settings

from fun.data.prompts import normalise
from generated import HOSTILE, documents
from project import PROJECT, Workflow, sentence

CONFIG = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text())


def plan(workflow, config, experiments=None):
    """A dry run; returns (exit status, output) and checks that it ran nothing and left nothing behind."""
    (workflow.folder / "config.yaml").write_text(config)
    if experiments is not None:
        (workflow.folder / "experiments/tiny.yaml").write_text(experiments)
    before = sorted(path for path in workflow.folder.rglob("*") if ".snakemake" not in path.parts)
    done = workflow.run("-n", "--quiet", "all", check=False)
    assert sorted(path for path in workflow.folder.rglob("*") if ".snakemake" not in path.parts) == before
    return done.returncode, done.stdout


def test_generated_configurations_are_planned_or_refused_in_a_sentence(small_workflow):
    """Whole configurations, with what no schema can see (a cascade that does not exist, a folder of weights)."""
    workflow = small_workflow()
    small = yaml.safe_load((workflow.folder / "config.yaml").read_text())
    statuses = []

    @seed(180)
    @settings(max_examples=6, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(documents(CONFIG))
    def planned(document):
        document["mnist"]["epochs"] = min(document["mnist"]["epochs"], 3)  # each epoch is a job
        if document.get("cascade") is not None and len(statuses) % 2:
            document |= {"cascade": "tiny", "cascades": small["cascades"]}
            document.pop("experiments", None)
        status, said = plan(workflow, yaml.safe_dump(document, allow_unicode=True))
        statuses.append(status)
        assert "Traceback" not in said
        if status != 0:
            assert re.match(r"[\w./]+: ", said.strip().splitlines()[-1]), said

    planned()
    assert 0 in statuses


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "mnist: [",
        "mnist: !!python/object/apply:os.system ['touch evil']",
        "mnist: !!python/name:os.system",
    ],
)
def test_what_is_not_plain_yaml_is_refused_and_never_run(small_workflow, text):
    status, said = plan(small_workflow(), text)
    assert (
        status != 0
        and re.search("Config file|config.yaml: mnist|config.yaml cannot be read", said)
        and "Traceback" not in said
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"mnist:\n  epochs: 3\n seed: 1\n", r"config.yaml cannot be read: .*line 3, column 2"),
        ("cascade: null # für mich".encode("latin-1"), "config.yaml cannot be read: 'utf-8' codec"),
    ],
)
def test_where_yaml_stumbled_is_told(small_workflow, content, said):
    workflow = small_workflow()
    (workflow.folder / "config.yaml").write_bytes(content)
    done = workflow.run("-n", "--quiet", "all", check=False)
    assert re.search(said, sentence(done))


@pytest.mark.parametrize("first", ["--config", "-C"])
def test_an_option_that_stands_twice_is_not_half_forgotten(small_workflow, first):
    done = small_workflow().run("-n", "all", first, "cascade=null", "--config", "mnist={epochs: 3}", check=False)
    assert done.returncode != 0 and "--config stands twice" in done.stdout


def test_a_name_that_stands_twice_is_told_with_the_path_of_its_file(small_workflow):
    workflow = small_workflow()
    (workflow.folder / "presets/mine.yaml").write_text("mnist:\n  epochs: 3\n  epochs: 4\n")
    done = workflow.run("-n", "--configfile", "config.yaml", "presets/mine.yaml", check=False)
    assert sentence(done).startswith("presets/mine.yaml, line 3: epochs stands a second time")


def test_prompts_titles_and_pictures_may_be_called_anything(small_workflow):
    """A prompt's braces are not wildcards, its quotes and semicolons not shell: planned as they are."""
    workflow = small_workflow()
    prompts = list({" ".join(normalise(text).split()): text for text in HOSTILE if len(text) <= 2000}.values())
    names = ["$(touch evil).png", "a b; c.png", "'.png", "Ünï.png", "-rf.png"]
    for name in names:
        (workflow.folder / name).write_bytes((workflow.folder / "picture.png").read_bytes())
    experiments = {
        "prompts": {"task": "text_to_image", "prompts": prompts, "caption": "{x} $(touch evil) <script>"},
        **{f"upsample_{i}": {"task": "upsample", "image": name, "title": name} for i, name in enumerate(names)},
    }
    status, said = plan(workflow, (workflow.folder / "config.yaml").read_text(), yaml.safe_dump(experiments))
    assert status == 0, said


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        ("- a", "the document must be a mapping"),
        ("a: [", "cannot be read"),
        ("a: !!python/object/apply:os.system ['touch evil']", "cannot be read"),
        ("../a: {task: upsample, image: picture.png}", '"../a" in the document is not allowed'),
        ("a: {task: upsample, image: /nowhere.png}", "a/image must be a picture: there is no file /nowhere.png"),
        ("a: {task: upsample, image: '{dog}.png'}", '"{dog}.png" in a/image is not allowed'),
        (f"a: {{task: upsample, image: {'x' * 400}}}", "a/image must be a picture: there is no file x"),
        ("a: {task: upsample, image: picture.png, seeds: [0.5]}", "a/seeds/0 must be a whole number, not 0.5"),
    ],
)
def test_bad_experiments_are_one_sentence(small_workflow, experiments, message):
    workflow = small_workflow()
    status, said = plan(workflow, (workflow.folder / "config.yaml").read_text(), experiments)
    assert status != 0 and "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith(f"experiments/tiny.yaml: {message}") or (
        message == "cannot be read" and "experiments/tiny.yaml cannot be read" in said
    )


def test_a_python_that_no_job_could_be_started_with_is_refused(small_workflow, tmp_path):
    folder = tmp_path / "Student's work 1"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    command = [folder / ".venv/bin/python", "-m", "snakemake", "-n"]
    done = subprocess.run(command, cwd=small_workflow().folder, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith("Snakemake cannot start jobs with a Python whose path has ")


def test_as_a_module_of_another_workflow_it_finds_its_own_files(small_workflow, tmp_path, monkeypatch):
    """Whatever PYTHONPATH leads to."""
    (tmp_path / "elsewhere/fun").mkdir(parents=True)
    (tmp_path / "elsewhere/fun/__init__.py").write_text("raise RuntimeError('another package of this name')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    project = small_workflow().folder
    (tmp_path / "Snakefile").write_text(
        f'configfile: "{project}/config.yaml"\n\n'
        f'module fun:\n    snakefile: "{project}/Snakefile"\n    config: config\n\n'
        "use rule * from fun\n"
    )
    Workflow(tmp_path).run("--cores", 1, "results/mnist/schedules/figure.json")


def test_what_another_workflow_profile_loses_is_said(small_workflow):
    workflow, target = small_workflow(), "results/mnist/data/train-images-idx3-ubyte"
    lost = "Without rerun-triggers and max-checksum-file-size as in profiles/default"
    assert lost in workflow.run("--cores", 1, "--workflow-profile", "none", target).stdout
    (workflow.folder / target).unlink()
    assert lost not in workflow.run("--cores", 1, target).stdout
