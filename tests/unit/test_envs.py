"""One set of versions: pip, conda and the tests use the same."""

from importlib.metadata import version

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
