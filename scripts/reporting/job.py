"""What a running job tells: a log file, a progress bar where a terminal is attached, one sentence when it fails."""

import contextlib
import fcntl
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm


def log_to(path: str) -> Callable[..., Iterator]:
    """Send all output of this process to the file `path`.

    An uncaught exception goes to the log with its traceback, and to the terminal as one sentence.

    The log is locked as long as the job runs: a job that outlived a killed Snakemake is waited for by the one that is
    to do its work again, so that two never write the same files.

    Returns:
        progress(iterable, description, total=None): iterates and shows how far it is, as a bar on the terminal if there
        is one, else as a line in the log at every tenth; and a line that tells how long the job took to get to work.
    """
    began = time.perf_counter() - time.process_time()  # what came before was imports
    terminal = sys.stderr
    log = open(path, "a", buffering=1)  # noqa: SIM115 (open as long as the job runs)
    lock(log, terminal)
    log.truncate(0)
    sys.stdout = sys.stderr = log

    def report(kind, error, trace):
        print(f"{Path(path).stem}: {sentence(error)} (details: {path})", file=terminal)
        with contextlib.suppress(OSError):  # the log may be on the full disk that the error is about
            traceback.print_exception(kind, error, trace, file=log)

    sys.excepthook = report

    def progress(iterable: Iterable, description: str, total: int | None = None) -> Iterator:
        total = len(iterable) if total is None else total
        if terminal.isatty():
            yield from tqdm(iterable, description, total, file=terminal, leave=False)
            return
        for i, item in enumerate(iterable, 1):
            if i == 1:
                print(f"{description}: the first after {time.perf_counter() - began:.2f} s", file=log)
            yield item
            if i * 10 // total > (i - 1) * 10 // total:
                print(f"{description}: {i} of {total}", file=log)

    return progress


def lock(log, terminal) -> None:
    """Wait until no other process has the log open as its own; at once where the file system knows no locks."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{log.name}: a job of an earlier run still writes it; waiting for its end", file=terminal, flush=True)
        with contextlib.suppress(OSError):
            fcntl.flock(log, fcntl.LOCK_EX)
    except OSError:
        pass


def sentence(error: BaseException) -> str:
    """What is wrong. The system's own errors do not always say where: a write to a full disk names no file."""
    if isinstance(error, OSError) and error.errno and not error.filename:
        return f"{error.strerror}, while writing below {Path('results').resolve()}"
    return str(error) or type(error).__name__
