"""One set of versions: pip, conda and the tests use the same. A folder in which they would be of no use is refused."""

import shutil
import subprocess
from importlib.metadata import version

import pytest
import yaml

from project import PROJECT


def pinned(name):
    """The requirements of a file of envs/, as written."""
    lines = (PROJECT / "envs" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_conda_and_pip_install_the_same():
    environment = yaml.safe_load((PROJECT / "envs/environment.yaml").read_text())
    (from_pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert from_pip == pinned("requirements.txt")


def test_what_is_tested_is_what_is_pinned():
    for line in sum(map(pinned, ("requirements.txt", "requirements-test.txt")), []):
        name, exactly = line.split("==")
        # A build for one kind of processor says so after a plus sign.
        assert version(name).split("+")[0] == exactly, name


@pytest.fixture
def make_in(tmp_path):
    """Runs `make report` in a folder of that name, with a Python that does nothing."""

    def make(name):
        folder = tmp_path / name
        (folder / "envs").mkdir(parents=True)
        shutil.copy(PROJECT / "Makefile", folder)
        (folder / "envs/requirements.txt").touch()
        command = ["make", "--no-print-directory", "PYTHON=false", "report"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    return make


@pytest.mark.parametrize("name", ["Student's work 1", "a$b", "a;b", "a{b}", 'a"b', "a]b", "a\\b", "a`b", "a\tb"])
def test_make_refuses_a_folder_in_which_no_job_would_start(make_in, name):
    """Before 6 GB are installed there."""
    done = make_in(name)
    assert done.returncode != 0 and done.stdout == ""
    said, _make = done.stderr.splitlines()
    assert said.startswith(
        "Snakemake cannot start jobs from .venv in a folder whose path has a space, a quote or one of "
    )


def test_make_takes_any_other_folder(make_in):
    assert make_in("Übung-1_2.3+x@y,z=%").stderr.startswith("Python 3.11 or newer is needed")
