"""Files that are either complete or absent: written to a temporary file, then moved into place."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A context with a temporary path in the folder of `path`, which is created if needed.

    At the end the temporary file replaces `path`. If anything fails, it is deleted and `path` stays as it was.
    """
    temporary = _beside(Path(path))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Like `whole_file`, with a new folder that takes the place of `path`."""
    temporary = _beside(Path(path))
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path):
    """A free temporary path beside `path`. Those that killed jobs have left are removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{escape(path.name)}.*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}")


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write bytes, or text as UTF-8. Raises OSError, naming the file, if they could not be written; an existing file is then
    left as it was."""
    try:
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(f"{path} could not be written: {error}") from error


def read_json(path: str | Path):
    """What a file holds that `write_json` wrote. Raises ValueError, naming the file, if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file any more ({error}): delete it, and it is made again") from error


def write_json(path: str | Path, value: object) -> None:
    """Write what JSON can hold, as `write_whole` does."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
