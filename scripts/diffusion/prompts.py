"""Prompts and the names of their embeddings, without torch: the rules need them to know which files to make."""

import hashlib
import json
import os
from pathlib import Path

ENCODER_FILES = ("text_encoder/*.json", "text_encoder/*.safetensors", "tokenizer/*")


def normalise(prompt: str) -> str:
    """The prompt as DeepFloyd IF's pipelines tokenise it: lower-cased and stripped. "A dog" and " a dog" are one."""
    return prompt.lower().strip()


def prompts_of(experiment: dict) -> list[str]:
    """The normalised prompts of an experiment, each once, sorted, and with them the empty one of classifier-free
    guidance. None if the experiment's task asks no network."""
    prompts = [view["prompt"] for view in experiment.get("views", [])] + experiment.get("prompts", [])
    prompts += [experiment["prompt"]] if "prompt" in experiment else []
    return sorted({"", *map(normalise, prompts)}) if prompts else []


def embedding_key(prompt: str, encoder: dict) -> str:
    """The name of a prompt's embedding: a hash of the normalised prompt and of all that makes its encoder what it is.

    encoder: anything JSON can hold, such as {"identity": ..., "variant": ..., "dtype": ..., "max_length": ...}.
    """
    return fingerprint({"prompt": normalise(prompt), "encoder": encoder})


def fingerprint(what: dict) -> str:
    """A name for anything JSON can hold, the same for the same content."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def encoder_identity(model: str, revision: str | None, cache: str | Path | None = None) -> str:
    """What tells one text encoder from another: a repository of the hub with its revision, or the contents of a folder.

    Args:
        model: a folder in diffusers' layout if `revision` is None, else a repository of the hub.
        cache: file that remembers the hashes of files whose size and time have not changed, so that gigabytes are not
            read each time.

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
    """What tells embeddings made elsewhere from others: what is in their files, wherever those are. `cache` as above."""
    return hashlib.sha256("\n".join(sorted(file_hashes(files, cache))).encode()).hexdigest()


def file_hashes(files: list[str | Path], cache: str | Path | None) -> list[str]:
    """The SHA-256 of each file, read only if the cache does not know it."""
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
        return json.loads(Path(cache).read_text())
    except (TypeError, OSError, ValueError):  # no cache, none yet, or one that was cut off
        return {}


def _write_cache(cache, entries):
    aside = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(entries, sort_keys=True))
        os.replace(aside, cache)
    except OSError:  # a folder that cannot be written only costs time
        aside.unlink(missing_ok=True)
