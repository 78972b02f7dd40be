"""The files of a rule's code: its script, and every module of the package that it imports, directly or through others."""

import re
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parents[2]
# The one form in which this project imports its own modules; a test checks it. Read as text: a dry run needs no torch.
IMPORT = re.compile(r"^ *from (fun\.\w+\.\w+) import ", re.MULTILINE)


def code_of(script: str) -> list[Path]:
    """The absolute paths of the script of that name (without .py) and of its modules, sorted."""
    return sorted(_closure(SCRIPTS / f"{script}.py"))


@cache
def _imports(path: Path) -> frozenset[Path]:
    names = IMPORT.findall(path.read_text(encoding="utf-8"))
    return frozenset(SCRIPTS / f"{name.replace('.', '/')}.py" for name in names)


def _closure(path: Path) -> set[Path]:
    found, todo = set(), {path}
    while todo:
        found |= todo
        todo = set().union(*map(_imports, todo)) - found
    return found
