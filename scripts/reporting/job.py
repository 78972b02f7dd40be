"""What a running job tells: a log file, a progress bar where a terminal is attached, one sentence when it fails."""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm


def log_to(path: str) -> Callable[..., Iterator]:
    """Send all output of this process to the file `path`.

    An uncaught exception goes to the log with its traceback, and to the terminal as one sentence.

    Returns:
        progress(iterable, description, total=None): iterates and shows how far it is, as a bar on the terminal if there
        is one, else as a line in the log at every tenth.
    """
    terminal = sys.stderr
    log = open(path, "w", buffering=1)  # noqa: SIM115 (open as long as the job runs)
    sys.stdout = sys.stderr = log

    def report(kind, error, trace):
        traceback.print_exception(kind, error, trace, file=log)
        print(f"{Path(path).stem}: {error or kind.__name__} (details: {path})", file=terminal)

    sys.excepthook = report

    def progress(iterable: Iterable, description: str, total: int | None = None) -> Iterator:
        total = len(iterable) if total is None else total
        if terminal.isatty():
            yield from tqdm(iterable, description, total, file=terminal, leave=False)
            return
        for i, item in enumerate(iterable, 1):
            yield item
            if i * 10 // total > (i - 1) * 10 // total:
                print(f"{description}: {i} of {total}", file=log)

    return progress
