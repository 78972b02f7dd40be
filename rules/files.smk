"""Where the project's files are, and what all rules say of files and of what is wrong. No rules.

Inputs and parameters of jobs are in inputs_*.smk; everything that does not need Snakemake is in scripts/fun/workflow/.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

BASE = Path(workflow.current_basedir).absolute().parent  # also where another workflow includes this one as a module
sys.path.insert(0, str(BASE / "scripts"))
# For the jobs, too: a package of the same name that PYTHONPATH leads to must not win.
FIRST, *REST = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if FIRST != str(BASE / "scripts"):
    os.environ.update(PYTHONPATH=os.pathsep.join([str(BASE / "scripts"), *filter(None, [FIRST, *REST])]))
from fun.data.prompts import file_hashes
from fun.workflow.documents import Document
from fun.workflow.modules import code_of
from fun.workflow.parts import HASHES

# By default glibc returns freed memory at once and takes it again in the next training step: a tenth of the time.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1000000000")
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "33554432")


def shipped(path):
    """The path of a project file from the working directory, which differs under --directory."""
    return os.path.relpath(BASE / path)


def in_project(path):
    """A path from the configuration, relative to the project's folder unless it is absolute, or begins with ~."""
    path = os.path.expanduser(path)
    return path if os.path.isabs(path) else shipped(path)


def content(files):
    """The SHA-256 of files that the user can replace. A parameter: Snakemake looks at dates, and a file that is moved or
    unpacked into place is older than what was made from the one before it."""
    return file_hashes([path for path in files if os.path.exists(path)], HASHES)


def modules(rule):
    """A rule's code: its script and everything it imports. A job runs again when any of them changes."""
    return [shipped(path) for path in code_of(rule)]


@contextmanager
def refusals():
    """Turn a ValueError into the one sentence that Snakemake ends with."""
    try:
        yield
    except ValueError as error:
        raise SystemExit(str(error)) from error


# Under --directory the working directory may have a configuration of its own.
CONFIG_FILE = "config.yaml" if os.path.exists("config.yaml") else shipped("config.yaml")
with refusals():
    Document(Path(CONFIG_FILE), CONFIG_FILE)  # Snakemake's own reader would not say in which line it stumbled
