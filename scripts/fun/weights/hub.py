"""Weights on the Hugging Face hub: which files a part of a cascade needs, whether they are available, and fetching them.

No torch. Only the hub client handles the token (HF_TOKEN, or `hf auth login`): no line here reads or prints it.

Only what a part needs is ever fetched: of the weights one variant, as safetensors if there are any. The repositories also
hold other variants, and pickles, which run code when they are opened.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

from fun.data.layout import FOLDERS, files_in, files_of
from fun.weights.folders import repository
from fun.weights.hub_errors import explained, is_gone
from fun.weights.memory import in_gb

OPTIONAL = ("stage_3", "clip_judge")  # parts that a run can do without
SHORT = re.compile("[0-9a-f]{7,39}")
COMMIT, SHA256 = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Part:
    """A part of a cascade (a key of fun.data.layout.FOLDERS) in a hub repository, at a commit or branch."""

    name: str
    model: str
    revision: str
    variant: str | None

    def __str__(self):
        return f"{self.model} at revision {self.revision}"


@dataclass(frozen=True)
class Snapshot:
    """The files of a part at a commit: {path: (bytes, SHA-256 or None if unknown)}."""

    commit: str
    files: dict[str, tuple[int, str | None]]


def needed(part: Part, paths: Iterable[str]) -> list[str]:
    """The files of a repository that a part needs. Raises ValueError if it does not have all of them."""
    try:
        return files_of(part.name, part.variant, paths)
    except ValueError as error:
        raise ValueError(f"{part} {error}") from error


def in_cache(part: Part) -> Snapshot | None:
    """The part as it is in the local hub cache, or None if it is missing or incomplete there. Where the cache does not say which
    commit main was at, or which one is cut short, the only one that has all of the part stands for it."""
    snapshots = repository(part.model) / "snapshots"
    commit = part.revision
    if not COMMIT.fullmatch(commit):
        ref = snapshots.parent / "refs" / commit
        unknown = f"{commit}*" if SHORT.fullmatch(commit) else "*" if commit == "main" else "-"
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else unknown
    whole = [found for folder in snapshots.glob(commit) if (found := _snapshot(part, folder)) is not None]
    return whole[0] if len(whole) == 1 else None


def _snapshot(part, folder):
    """What a folder of the cache has of a part, or None if that is not all of it."""
    try:
        paths = needed(part, files_in(folder, part.name))
    except ValueError:
        return None
    files = {path: folder / path for path in paths}
    return Snapshot(folder.name, {path: (file.stat().st_size, _blob_sum(file)) for path, file in files.items()})


def on_hub(part: Part) -> Snapshot:
    """The part as it is on the hub, after checking that we may download it.

    Raises:
        OSError: it cannot be downloaded; the message says why, and what to do.
        ValueError: the repository has no such part.
    """
    seconds = constants.HF_HUB_ETAG_TIMEOUT
    folder, names = next(iter(FOLDERS[part.name].items()))
    first = f"{folder}/{names[0]}".lstrip("/")
    with explained(part.model, part.revision):
        # The list of files is public even if the files are not: only a request for a file shows whether we may have it.
        get_hf_file_metadata(hf_hub_url(part.model, first, revision=part.revision), timeout=seconds)
        info = HfApi().model_info(part.model, revision=part.revision, files_metadata=True, timeout=seconds)
    files = {file.rfilename: (file.size, file.lfs and file.lfs.sha256) for file in info.siblings}
    return Snapshot(info.sha, {path: files[path] for path in needed(part, files)})


def available(part: Part) -> Snapshot:
    """The part from the cache if it is there, else from the hub.

    For a branch, which may have moved, the hub is always asked, unless HF_HUB_OFFLINE is set; the cache will do if it has the
    part and the hub does not any more.

    Raises: as `on_hub`.
    """
    cached = in_cache(part)
    if cached is not None and (COMMIT.fullmatch(part.revision) or constants.HF_HUB_OFFLINE):
        return cached
    try:
        return on_hub(part)
    except OSError as error:
        if cached is not None and is_gone(error):
            return cached
        raise


def missing_bytes(part: Part, snapshot: Snapshot) -> int:
    """The bytes of a part that are still to be fetched."""
    folder = repository(part.model) / "snapshots" / snapshot.commit
    return sum(size for path, (size, _) in snapshot.files.items() if not (folder / path).is_file())


def check_disk(part_bytes: int) -> None:
    """Raise OSError if the disk of the hub cache has fewer than `part_bytes` free."""
    cache = folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < part_bytes:
        raise OSError(
            f"{in_gb(part_bytes)} must be fetched into {cache}, where only {in_gb(free)} are free: free some space, or set "
            "HF_HOME to a folder on a larger disk"
        )


def fetch_or_note(part: Part, progress: Callable[[list, str], Iterable]) -> dict:
    """Like `fetch`, but an optional part that is no longer on the hub is noted: {"gone": why}."""
    try:
        return fetch(part, progress)
    except OSError as error:
        if part.name in OPTIONAL and is_gone(error):
            return {"gone": str(error)}
        raise


def fetch(part: Part, progress: Callable[[list, str], Iterable]) -> dict:
    """Fetch the missing files of a part into the local hub cache, and check the SHA-256 of all of them.

    Returns:
        What the cache has now: {"model", "revision" (as requested), "commit", "files": {path: bytes}}.

    Raises:
        OSError, ValueError: as `on_hub`; OSError also if a file is damaged (it is removed, so that it is fetched again).
    """
    snapshot = available(part)
    check_disk(missing_bytes(part, snapshot))
    for path in progress(list(snapshot.files), f"{part.name} of {part.model}"):
        with explained(part.model, part.revision):
            file = Path(hf_hub_download(part.model, path, revision=snapshot.commit))
        size, expected = snapshot.files[path]
        expected = expected or _blob_sum(file)
        if file.stat().st_size != size or (expected and _sum(file) != expected):
            _remove(file)
            raise OSError(
                f"{part}: {path} was damaged in transit or on disk, and has been removed: start again to fetch it again"
            )
    files = {path: size for path, (size, _) in snapshot.files.items()}
    return {"model": part.model, "revision": part.revision, "commit": snapshot.commit, "files": files}


def _blob_sum(file):
    """The SHA-256 that a cached file must have: the name of the file it links to. None if that name is something else (for
    small files it is git's own hash)."""
    name = file.readlink().name if file.is_symlink() else ""
    return name if SHA256.fullmatch(name) else None


def _sum(file):
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _remove(file):
    """Delete a file of the cache and the file it links to."""
    for path in {file.resolve(), file.parent / file.readlink() if file.is_symlink() else file, file}:
        path.unlink(missing_ok=True)
