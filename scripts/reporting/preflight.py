"""Runs the look ahead of a run's first job (weights.preflight) where its packages are at hand."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1]


def run_preflight(plan: dict) -> list[str]:
    """Run `python -m weights.preflight` on a plan, in a process of its own, which takes torch and its hold on a GPU with
    it when it ends. Returns warnings; none where the packages are missing, as the jobs alone have them under --sdm conda
    (they say then what is wrong).

    Raises:
        ValueError: what would stop the run, in one sentence.
    """
    if None in map(importlib.util.find_spec, ("torch", "huggingface_hub")):
        return []
    path = os.pathsep.join([str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "weights.preflight"],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    if done.returncode != 0:
        raise ValueError((done.stderr.strip() or f"the preflight ended with status {done.returncode}").splitlines()[-1])
    return done.stdout.splitlines()
