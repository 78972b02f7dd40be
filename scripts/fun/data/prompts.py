"""Prompts and the names of their embeddings. No torch: the rules use this to know which files to make."""

import contextlib
import hashlib
import json
from pathlib import Path

from fun.data.files import write_json

ENCODER_FILES = ("text_encoder/*.json", "text_encoder/*.safetensors", "tokenizer/*")


def normalise(prompt: str) -> str:
    """The prompt as DeepFloyd IF's pipelines tokenise it, in lower case and stripped: " A dog" becomes "a dog"."""
    return prompt.lower().strip()


def prompts_of(experiment: dict) -> list[str]:
    """The normalised prompts of an experiment, sorted, without duplicates, and with the negative prompt, by default empty, for
    classifier-free guidance. An empty list if the experiment has no prompt, because its task uses no network."""
    prompts = spelled_prompts(experiment)
    inverted = [""] if experiment.get("invert") and "starts" in experiment else []  # an inversion is told nothing
    return sorted({*map(normalise, [experiment.get("negative_prompt", ""), *inverted, *prompts])}) if prompts else []


def spelled_prompts(experiment: dict) -> list[str]:
    """The prompts of an experiment as the user wrote them, without the negative prompt."""
    prompts = [view["prompt"] for view in experiment.get("views", [])] + experiment.get("prompts", [])
    return [*prompts, experiment["prompt"]] if "prompt" in experiment else prompts


def respelled(sample: dict, spelled: dict[str, str]) -> dict:
    """A sample with its prompts, which are normalised, as the user wrote them. spelled: {normalised prompt: as written}."""
    written = {"prompt": spelled[sample["prompt"]]} if "prompt" in sample else {}
    return sample | written | ({"pair": [spelled[prompt] for prompt in sample["pair"]]} if "pair" in sample else {})


def too_long(prompt: str, tokens: int, max_length: int) -> str:
    """What is wrong with a prompt of more tokens than the text encoder takes."""
    shown = repr(prompt if len(prompt) <= 80 else f"{prompt[:77]}...")
    return (
        f"the prompt {shown} has {tokens} tokens, and the text encoder takes {max_length}: shorten it, or set "
        "text_encoder/truncate: true, which drops the rest"
    )


def long_prompts(prompts: dict[str, list[str]], spiece: str | Path, max_length: int) -> list[str]:
    """A sentence for each prompt that has more tokens than a text encoder takes, with its experiment.

    Args:
        prompts: {experiment: its normalised prompts}.
        spiece: the tokenizer's spiece.model. A T5 tokenizer adds one token, which ends the prompt.
    """
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=str(spiece))
    counted = [(name, prompt, len(model.encode(prompt)) + 1) for name, texts in prompts.items() for prompt in texts]
    return [
        f"{name} will stop, and others go on: {too_long(prompt, tokens, max_length)}"
        for name, prompt, tokens in counted
        if tokens > max_length
    ]


def embedding_key(prompt: str, encoder: dict) -> str:
    """The name of a prompt's embedding: a hash of the normalised prompt and of everything that determines its encoder.

    encoder: a dict that JSON can hold, such as {"identity": ..., "variant": ..., "dtype": ..., "max_length": ...}.
    """
    return fingerprint({"prompt": normalise(prompt), "encoder": encoder})


def fingerprint(what: dict) -> str:
    """A hash of a dict that JSON can hold, 32 hexadecimal digits; the same content gives the same hash."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def encoder_identity(model: str, revision: str | None, cache: str | Path | None = None) -> str:
    """What identifies a text encoder: a hub repository and its revision, or a hash of a folder's contents.

    Args:
        model: a folder in diffusers' layout if `revision` is None, else a hub repository.
        cache: a file that stores the hashes of files, so that gigabytes are read again only if their size or time has
            changed.

    Raises:
        ValueError: the folder has no text encoder.
    """
    if revision is not None:
        return f"{model}@{revision}"
    files = sorted(path for pattern in ENCODER_FILES for path in Path(model).glob(pattern) if path.is_file())
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(f"{model} has no text encoder (text_encoder/*.safetensors)")
    digest = hashlib.sha256()
    for path, content in zip(files, file_hashes(files, cache), strict=True):
        digest.update(f"{path.relative_to(model)} {content}\n".encode())
    return digest.hexdigest()


def embeds_identity(files: list[str | Path], cache: str | Path | None = None) -> str:
    """What identifies embeddings made elsewhere: a hash of the contents of their files, wherever those are.

    cache: as for `encoder_identity`.
    """
    return hashlib.sha256("\n".join(sorted(file_hashes(files, cache))).encode()).hexdigest()


def file_hashes(files: list[str | Path], cache: str | Path | None) -> list[str]:
    """The SHA-256 of each file; only files that are new or changed since they were cached are read."""
    known = _read_cache(cache)
    hashes = {str(path.absolute()): _file_hash(path, known) for path in map(Path, files)}
    if cache is not None and any(known.get(path) != entry for path, entry in hashes.items()):
        _write_cache(Path(cache), known | hashes)
    return [entry[-1] for entry in hashes.values()]


def _file_hash(path, known):
    """[size, time, SHA-256] of a file."""
    stat = path.stat()
    entry = known.get(str(path.absolute()))
    if entry is not None and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
        return entry
    with open(path, "rb") as file:
        return [stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()]


def _read_cache(cache):
    try:
        return json.loads(Path(cache).read_text(encoding="utf-8"))
    except (TypeError, OSError, ValueError):  # no cache, none yet, or a truncated one
        return {}


def _write_cache(cache, entries):
    # If the folder is not writable, this only costs time.
    with contextlib.suppress(OSError):
        write_json(cache, entries)
