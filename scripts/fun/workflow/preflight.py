"""What is checked before a run's first job, if the packages for it are installed."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path

from fun.data.prompts import prompts_of

SCRIPTS = Path(__file__).parents[2]
SMALL_VOCABULARY = 1000  # words; T5's has 32,000 pieces of words, which make up any word


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


def check_words(experiments: dict[str, dict], tokenizer: str) -> list[str]:
    """A warning for each experiment with words that a small text encoder was never taught, which it all takes for one.

    tokenizer: its spiece.model. There are no warnings if its vocabulary is a real one, or the package is missing.
    """
    if importlib.util.find_spec("sentencepiece") is None or not Path(tokenizer).is_file():
        return []
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=tokenizer)
    if model.vocab_size() > SMALL_VOCABULARY:
        return []
    known = sorted(piece[1:] for i in range(model.vocab_size()) if (piece := model.id_to_piece(i)).startswith("▁"))
    return [
        f"{name}: the text encoder does not know {', '.join(map(repr, unknown))}; it knows only "
        + ", ".join(sorted(known, key=lambda word: -max(_likeness(word, other) for other in unknown)))
        for name, experiment in experiments.items()
        if (unknown := sorted({word for prompt in prompts_of(experiment) for word in prompt.split()} - {*known}))
    ]


def _likeness(word, other):
    return SequenceMatcher(None, word, other).ratio()


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
