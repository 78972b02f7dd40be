"""A notebook on a borrowed machine, such as Colab's or Kaggle's: install what is missing, keep what is there, find the hub's token.

Needs nothing but Python, since it runs before anything is installed.
"""

import contextlib
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "envs" / "requirements.txt"
PYTHON = (3, 11)
# Packages of which the platform's own will do from this version on. Tried: torch 2.9.1 with torchvision 0.24.1, in the unit tests.
KEPT = {"torch": (2, 9), "torchvision": (0, 24), "numpy": (2, 0), "pandas": (2, 2), "pillow": (11, 0), "scipy": (1, 14)}


def install(requirements: Path = REQUIREMENTS) -> None:
    """Install what is missing of the workflow's packages, and replace none of KEPT that will do.

    Raises:
        SystemExit: the machine's Python or PyTorch is too old; one sentence says what to do.
    """
    missing, kept = plan(requirements.read_text(encoding="utf-8").splitlines())
    if missing:
        print(f"Installing {len(missing)} packages; those that stay as they are: {', '.join(kept) or 'none'}")
        constraints = Path("notebook_constraints.txt")
        constraints.write_text("\n".join(kept))
        try:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *missing]
            subprocess.run(command, check=True)
        finally:
            constraints.unlink()


def plan(lines: list[str]) -> tuple[list[str], list[str]]:
    """What to install and what to keep, each as "name==version". lines: of a file of requirements."""
    if sys.version_info < PYTHON:
        raise SystemExit(f"Python {sys.version.split()[0]} is too old: choose a runtime with Python 3.11 or newer")
    missing, kept = [], []
    for line in lines:
        name, _, pinned = line.partition("==")
        if not pinned:
            continue
        here = installed(name)
        if here is None:
            # Of torchvision pip finds the one that goes with the torch that is kept.
            fits = name == "torchvision" and installed("torch")
            missing.append(name if fits else line)
        elif numbers(here) >= KEPT.get(name, numbers(pinned)):
            kept.append(f"{name}=={here}")
        elif name in ("torch", "torchvision"):
            needed = ".".join(map(str, KEPT[name]))
            raise SystemExit(
                f"{name} {here} is too old, and replacing it could break what this machine needs it for: choose a newer runtime, or "
                f"install {name} {needed} or newer yourself and restart the notebook"
            )
        else:
            missing.append(line)
    return missing, kept


def installed(name: str) -> str | None:
    """The version of a package that is installed; None if it is not."""
    with contextlib.suppress(PackageNotFoundError):
        return version(name)
    return None


def numbers(text: str) -> tuple[int, ...]:
    """A version as numbers: "2.9.1+cu128" is (2, 9, 1)."""
    return tuple(int(part) for part in text.split("+")[0].split(".") if part.isdigit())


def log_in(secret: str = "HF_TOKEN") -> None:
    """Let the hub know who you are, by the secret of this name that you keep on Colab or Kaggle.

    Raises:
        SystemExit: there is none; one sentence says what to do.
    """
    if os.environ.get(secret):
        return
    token = None
    with contextlib.suppress(Exception):  # each platform has errors of its own for a secret that is not there
        from google.colab import userdata

        token = userdata.get(secret)
    with contextlib.suppress(Exception):
        from kaggle_secrets import UserSecretsClient

        token = token or UserSecretsClient().get_secret(secret)
    if not token:
        raise SystemExit(
            f"No token: add a secret called {secret} (Colab: the key on the left; Kaggle: Add-ons, Secrets), and allow this notebook to read it"
        )
    os.environ[secret] = token
