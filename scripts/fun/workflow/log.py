"""What a running job reports: a log file, how far it is, one sentence when it fails."""

import contextlib
import fcntl
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

FOLDER = "FUN_PROGRESS"  # the environment variable that names the folder in which jobs tell how far they are
EVERY = 0.5  # seconds
CLEAR = "\r\x1b[J"  # a terminal, from the cursor's line to the end of the screen


def log_to(path: str) -> Callable[..., Iterator]:
    """Send all output of this process to the file `path`.

    An uncaught exception goes to the log with its traceback, and to the terminal as one sentence.

    The log is locked while the job runs: if a job outlives a killed Snakemake, the job that repeats its work waits for
    it, so that two jobs never write the same files.

    Returns:
        progress(iterable, description, total=None): iterates and says how far it is: on the terminal, if one looks on, and in
        the log, a line at every tenth, and one that says how long the job took to get to its first step.
    """
    began = time.perf_counter() - time.process_time()  # the process's start: until now it only imported
    terminal = sys.stderr
    log = open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 (open as long as the job runs)
    lock(log, terminal)
    log.truncate(0)
    sys.stdout = sys.stderr = log
    job = " ".join(Path(path).with_suffix("").parts[-2:]).removeprefix("logs ")
    tell(job)

    def report(kind, error, trace):
        print(
            f"{CLEAR if terminal.isatty() else ''}{Path(path).stem}: {sentence(error)} (details: {path})", file=terminal
        )
        with contextlib.suppress(OSError):  # the log may be on the full disk that the error is about
            traceback.print_exception(kind, error, trace, file=log)

    sys.excepthook = report

    def progress(iterable: Iterable, description: str, total: int | None = None) -> Iterator:
        total = len(iterable) if total is None else total
        first, told = time.time(), 0.0
        for i, item in enumerate(iterable, 1):
            if i == 1:
                print(f"{description}: the first after {time.perf_counter() - began:.2f} s", file=log)
            yield item
            if i * 10 // total > (i - 1) * 10 // total:
                print(f"{description}: {i} of {total}", file=log)
            if time.time() >= told + EVERY:
                told = time.time()
                tell(job, description, i, total, first)

    return progress


def tell(job: str, description: str = "", done: int = 0, total: int = 0, began: float = 0) -> None:
    """Say how far this process is, if a terminal looks on (`fun.workflow.display`). began: when its first step began, in seconds
    since the epoch."""
    folder = os.environ.get(FOLDER)
    if folder:
        file = Path(folder) / str(os.getpid())
        with contextlib.suppress(OSError):  # the folder is gone: nobody looks on any more
            file.with_suffix(".new").write_text(json.dumps([job, description, done, total, began]))
            file.with_suffix(".new").replace(file)


def lock(log, terminal) -> None:
    """Wait until no other process holds the lock of the log; do not wait if the file system has no locks."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(
            f"{log.name}: a job of an earlier run still writes to it; waiting for it to end", file=terminal, flush=True
        )
        with contextlib.suppress(OSError):
            fcntl.flock(log, fcntl.LOCK_EX)
    except OSError:
        pass


def sentence(error: BaseException) -> str:
    """What is wrong, in a sentence. The system's errors do not always say where: a write to a full disk names no file."""
    if isinstance(error, OSError) and error.errno and not error.filename:
        return f"{error.strerror}, while writing below {Path('results').resolve()}"
    return str(error) or type(error).__name__
