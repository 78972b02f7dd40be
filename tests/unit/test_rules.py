"""The rules and the code as text: each rule names its script, its log and its code; imports between packages go one way."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from fun.workflow.modules import code_of
from project import PROJECT

SCRIPTS = PROJECT / "scripts"
FUN = SCRIPTS / "fun"
BESIDE = ("api.py", "hosted.py", "reference.py")  # beside the packages; no rule's code


def rules():
    """{name: text} of every rule of the workflow."""
    found = {}
    for path in sorted(PROJECT.glob("rules/*.smk")):
        parts = re.split(r"^rule (\w+):$", path.read_text(), flags=re.MULTILINE)
        found |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


RULES = rules()


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_its_script_its_code_and_its_log_have_the_same_name(rule):
    assert f'script:\n        "../scripts/{rule}.py"' in RULES[rule]
    assert f'code=modules("{rule}")' in RULES[rule]
    assert f"results/logs/{rule}" in RULES[rule]
    assert 'conda:\n        "../envs/environment.yaml"' in RULES[rule]


def test_no_script_is_without_a_rule():
    assert {path.stem for path in PROJECT.glob("scripts/*.py")} == set(RULES)


def test_rules_write_into_results_only():
    for name, text in RULES.items():
        output = re.search(r"    output:\n(.*?)\n    \w+:", text, re.DOTALL).group(1)
        for path in re.findall(r'"([^"]*/[^"]*)"', re.sub(r'caption="[^"]*"', "", output)):
            assert path.startswith("results/"), f"{name} writes {path}"


def without_texts(code):
    """The code without comments and what stands in quotes, except for what an f-string computes."""
    return re.sub(
        r'"{3}[\s\S]*?"{3}|f"([^"\n]*)"|"[^"\n]*"|#.*',
        lambda found: " ".join(re.findall(r"\{([^{}]+)\}", found[1] or "")),
        code,
    )


def test_no_file_of_rules_uses_a_name_of_a_later_one():
    included = re.findall(r'"rules/(\w+)\.smk"', (PROJECT / "Snakefile").read_text())
    texts = {name: without_texts((PROJECT / f"rules/{name}.smk").read_text()) for name in included}
    assert set(texts) == {path.stem for path in PROJECT.glob("rules/*.smk")}
    for i, name in enumerate(included):
        for later in included[i + 1 :]:
            for defined in re.findall(r"^(?:def )?([A-Za-z_]\w*)(?= = |\()", texts[later], re.MULTILINE):
                assert not re.search(rf"\b{defined}\b(?!=[^=])", texts[name]), (
                    f"{name}.smk uses {defined} of {later}.smk"
                )


# --- code: a rule's script and all that it imports ---


def imports(path):
    """(module, names) of each import of the project's own package in a Python file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fun":
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "fun" for alias in node.names), f"{path}: from fun.x.y import z"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(SCRIPTS.rglob("*.py")) if path.name not in BESIDE],
    ids=lambda path: str(path.relative_to(SCRIPTS)),
)
def test_code_imports_as_the_derivation_of_code_reads_it(path):
    """Compared with what Python itself finds; code that is loaded in any other way would be missed."""
    modules = {SCRIPTS / f"{module.replace('.', '/')}.py" for module, _ in imports(path)}
    assert all(module.is_file() for module in modules), f"{path}: from fun.package.module import name"
    text = path.read_text()
    assert not re.search(r"importlib\.import_module|__import__|runpy", text)
    if path.parent == SCRIPTS:
        assert modules <= set(code_of(path.stem))


def defined(path):
    """The names that a module defines or imports at its top level."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_imports_names_that_are_there(path):
    """Of those that no test runs, too: make benchmark alone runs some."""
    for module, names in imports(path):
        assert set(names) <= set(defined(SCRIPTS / f"{module.replace('.', '/')}.py")), module


def test_code_is_the_script_and_what_it_imports_through_others():
    code = {str(path.relative_to(SCRIPTS)) for path in code_of("train_epoch")}
    assert {"train_epoch.py", "fun/training/optimizers.py", "fun/data/tensors.py", "fun/workflow/log.py"} <= code
    assert not {path for path in code if path.startswith(("fun/weights", "fun/judging", "fun/reporting"))}
    assert "fun/miniature/pictures.py" in {str(path.relative_to(SCRIPTS)) for path in code_of("judge")}


# --- packages ---


def arrows():
    """{package: the packages that it imports}."""
    found = {}
    for path in FUN.glob("*/**/*.py"):
        package = path.relative_to(FUN).parts[0]
        others = {module.split(".")[1] for module, _ in imports(path)}
        found.setdefault(package, set()).update(others - {package})
    return found


def test_no_two_rooms_import_each_other_not_even_through_others():
    list(TopologicalSorter(arrows()).static_order())  # raises CycleError otherwise


def test_the_process_imports_nothing_but_data_and_networks():
    assert arrows()["diffusion"] <= {"data", "networks"}
    assert arrows()["workflow"] <= {"data"}
    assert not arrows()["data"] and not arrows()["networks"]


def test_the_architecture_page_draws_the_same_arrows():
    page = (PROJECT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| ?(.*) \|$", page, re.MULTILINE)
    assert {package: set(re.findall(r"`(\w+)`", others)) for package, others in rows} == arrows()


def test_every_room_says_what_is_in_it():
    for package in arrows():
        assert ast.get_docstring(ast.parse((FUN / package / "__init__.py").read_text())), package


def test_only_the_room_of_the_workflow_knows_snakemake():
    for path in FUN.glob("*/**/*.py"):
        if path.parent.name not in ("workflow", "reporting", "benchmarking"):
            assert "snakemake" not in path.read_text(), path


def test_what_the_rules_import_needs_no_torch():
    texts = [path.read_text() for path in PROJECT.glob("rules/*.smk")]
    imported = {name for text in texts for name in re.findall(r"^from (fun\.\S+) import", text, re.MULTILINE)}
    assert len(imported) > 4
    code = f"import sys, {', '.join(imported)}; assert not {{'torch', 'numpy', 'PIL'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SCRIPTS)}, check=True)
