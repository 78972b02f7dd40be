"""Files that are either complete or absent: written to a temporary file, then moved into place."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A context with a temporary path in the folder of `path`, which is created if needed.

    At the end the temporary file replaces `path`. If anything fails, it is deleted and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{escape(path.name)}.*"):  # by a job that was killed while it wrote
        left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def write_json(path: str | Path, value: object) -> None:
    """Write what JSON can hold, as `write_whole` does."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
