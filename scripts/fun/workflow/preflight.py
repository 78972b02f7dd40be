"""What is checked before a run's first job, if the packages for it are installed."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

SCRIPTS = Path(__file__).parents[2]


def run_preflight(plan: dict) -> list[str]:
    """Run `python -m fun.weights.preflight` on a plan, in a process of its own, so that torch and its hold on a GPU are
    gone when it ends. Returns warnings. There are none if the packages are missing: under --sdm conda only the jobs
    have them, and the jobs then say what is wrong.

    Raises:
        ValueError: what would stop the run, in one sentence.
    """
    if None in map(importlib.util.find_spec, ("torch", "huggingface_hub")):
        return []
    path = os.pathsep.join([str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "fun.weights.preflight"],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    if done.returncode != 0:
        raise ValueError((done.stderr.strip() or f"the preflight ended with status {done.returncode}").splitlines()[-1])
    return done.stdout.splitlines()


def check_pictures(paths: Iterable[str], size: int) -> list[str]:
    """Read pictures as a whole, as jobs will. Returns warnings, such as of a picture that has only one colour.

    Raises:
        ValueError: a picture is damaged; one sentence names it.
    """
    if None in map(importlib.util.find_spec, ("numpy", "PIL")):
        return []
    from fun.data.images import load_image

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        for path in paths:
            load_image(path, size)
    return [str(warning.message) for warning in caught]
