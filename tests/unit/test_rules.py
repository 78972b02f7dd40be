"""The rules as text: each names its script, its log, and every module whose change must make its job run again."""

import ast
import re
from functools import cache

import pytest

from project import PROJECT

PACKAGES = {"library": "diffusion"} | {
    name: name for name in ("weights", "reporting", "benchmarking")
}  # what a rule calls them


def rules():
    """{name: text} of every rule of the workflow."""
    found = {}
    for path in sorted(PROJECT.glob("rules/*.smk")):
        parts = re.split(r"^rule (\w+):$", path.read_text(), flags=re.MULTILINE)
        found |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


RULES = rules()


@cache
def imported(path):
    """The files of the project's packages that a Python file imports, directly or through one of them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES.values():
            package, *rest = node.module.split(".")
            modules = rest[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names if alias.name.split(".")[0] in PACKAGES.values()]
            assert not names, f"{path.name}: write `from package.module import name`"
            continue
        else:
            continue
        found |= {PROJECT / "scripts" / package / f"{module}.py" for module in modules}
    return frozenset(found.union(*(imported(file) for file in found)) if found else found)


def declared(rule):
    """The modules that a rule's library(...), weights(...) and the like name, as files."""
    return {
        PROJECT / "scripts" / PACKAGES[function] / f"{module}.py"
        for function, modules in re.findall(rf"\b({'|'.join(PACKAGES)})\(([^)]*)\)", RULES[rule])
        for module in re.findall(r'"(\w+)"', modules)
    }


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_runs_again_when_any_module_that_its_script_imports_changes(rule):
    expected = imported(PROJECT / "scripts" / f"{rule}.py")
    missing = sorted(path.stem for path in expected - declared(rule))
    needless = sorted(path.stem for path in declared(rule) - expected)
    assert not missing and not needless, f"{rule} must also list {missing} and must not list {needless}"


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_its_script_and_its_log_bear_the_same_name(rule):
    assert f'script:\n        "../scripts/{rule}.py"' in RULES[rule]
    assert f"results/logs/{rule}" in RULES[rule]
    assert 'conda:\n        "../envs/environment.yaml"' in RULES[rule]


def test_no_script_is_without_a_rule():
    assert {path.stem for path in PROJECT.glob("scripts/*.py")} == set(RULES)


def test_rules_write_into_results_only():
    for name, text in RULES.items():
        output = re.search(r"    output:\n(.*?)\n    \w+:", text, re.DOTALL).group(1)
        for path in re.findall(r'"([^"]*/[^"]*)"', re.sub(r'caption="[^"]*"', "", output)):
            assert path.startswith("results/"), f"{name} writes {path}"


def test_library_knows_nothing_of_snakemake():
    for path in PROJECT.glob("scripts/diffusion/*.py"):
        assert "snakemake" not in path.read_text(), path
