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

from fun.data.prompts import long_prompts, prompts_of

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
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8:backslashreplace"},  # whatever the locale
    )
    if done.returncode != 0:
        raise ValueError((done.stderr.strip() or f"the preflight ended with status {done.returncode}").splitlines()[-1])
    return done.stdout.splitlines()


def check_words(experiments: dict[str, dict], tokenizer: str) -> list[str]:
    """A warning for each experiment with words that a text encoder was never taught, all of which it takes for one.

    tokenizer: its spiece.model. There are no warnings unless its vocabulary is one of whole words, or if the package is missing.
    """
    if importlib.util.find_spec("sentencepiece") is None or not Path(tokenizer).is_file():
        return []
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=tokenizer)
    pieces = [
        model.id_to_piece(i) for i in range(model.vocab_size()) if not (model.is_control(i) or model.is_unknown(i))
    ]
    known = sorted(piece[1:] for piece in pieces)
    if not all(piece.startswith("▁") and len(piece) > 1 for piece in pieces):  # as in T5's, pieces make up any word
        return []
    return [
        f"{name}: the text encoder does not know {', '.join(map(repr, unknown))}; it knows only "
        + ", ".join(sorted(known, key=lambda word: -max(_likeness(word, other) for other in unknown)))
        for name, experiment in experiments.items()
        if (unknown := sorted({word for prompt in prompts_of(experiment) for word in prompt.split()} - {*known}))
    ]


def check_lengths(experiments: dict[str, dict], tokenizer: str, max_length: int) -> list[str]:
    """A warning for each prompt that is too long for a text encoder on this machine; none if the package is missing."""
    if importlib.util.find_spec("sentencepiece") is None or not Path(tokenizer).is_file():
        return []
    return long_prompts({name: prompts_of(entry) for name, entry in experiments.items()}, tokenizer, max_length)


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
