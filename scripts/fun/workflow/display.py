"""How far the running jobs are, on the terminal: a line for each, below what Snakemake says.

A job tells it in a file of its own (`fun.workflow.log.tell`); the process that runs the workflow shows the files of those that live (`Display`).
Nothing of it gets into a log, and there is none of it where no terminal looks on, as on a cluster.
"""

import contextlib
import json
import logging
import os
import threading
import time
from pathlib import Path

from tqdm import tqdm

from fun.workflow.log import CLEAR, EVERY


def running(folder: Path) -> list[list]:
    """What each process that still runs has told, in the order in which they began."""
    told = []
    for file in sorted(folder.glob("[0-9]*[0-9]"), key=lambda file: int(file.name)):
        try:
            os.kill(int(file.name), 0)
            told.append(json.loads(file.read_text()))
        except (OSError, ValueError):  # it has ended
            file.unlink(missing_ok=True)
    return told


def line(job: str, description: str, done: int, total: int, began: float, now: float, width: int) -> str:
    """How far a job is, at most `width` characters: a bar, the rate and the time left."""
    if not done:
        return job[:width]
    name = f"{job}: {description}"
    name = name if len(name) <= width // 2 else job[: width * 2 // 3]
    return tqdm.format_meter(done, total, max(now - began, 1e-3), ncols=width, prefix=name)[:width]


def brief(job: str, description: str, done: int, total: int, began: float) -> str:
    """The same in a few words."""
    return f"{job} {100 * done // total} %" if done else job


# Of Snakemake's LogEvent: what it says of each job.
ROUTINE = {"JOB_INFO", "GROUP_INFO", "JOB_STARTED", "JOB_FINISHED", "PROGRESS", "RESOURCES_INFO"}


NOTEBOOK = {"JPY_PARENT_PID", "COLAB_RELEASE_TAG"}  # one of them is in the environment of a notebook's cell


class Display(threading.Thread):
    """Draws these lines twice a second, under how many jobs are done, until `stop`. As a filter of Snakemake's handler for the
    terminal it hides the messages about single jobs, for which these lines stand, and clears the lines before any other message.
    Snakemake's own log file has everything."""

    def __init__(self, folder: Path, terminal):
        super().__init__(daemon=True)
        self.folder, self.terminal = folder, terminal
        self.in_notebook = bool(NOTEBOOK & os.environ.keys())  # everything on one line: it knows no way back up
        self.lock, self.stopped, self.done = threading.Lock(), threading.Event(), "0 jobs done"
        self.silent_until = 0.0

    def run(self) -> None:
        while not self.stopped.wait(EVERY):
            if time.monotonic() >= self.silent_until:
                self.draw()
        self.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(getattr(record, "event", None), "name", "")
        if event == "PROGRESS":
            self.done = f"{record.done} of {record.total} jobs done"
        if event in ROUTINE or record.getMessage() == "Select jobs to execute...":
            return False
        self.silent_until = time.monotonic() + EVERY  # the message is written when this has returned
        self.clear()
        return True

    def draw(self) -> None:
        """Draw the lines, and leave the cursor where they begin: whoever writes next writes over them."""
        try:
            columns, rows = os.get_terminal_size(self.terminal.fileno())
        except (OSError, ValueError):  # the terminal is gone
            return
        width, height = (columns or 80) - 1, (rows or 24) - 1
        told, now = running(self.folder), time.time()
        with self.lock:
            if self.in_notebook:
                words = "; ".join([self.done, *(brief(*one) for one in told)])
                self._write(f"\r{words[:width]:{width}}")
            else:
                lines = [self.done, *(line(*one, now, width) for one in told)][:height]
                self._write(CLEAR + "\n".join(lines) + f"\x1b[{len(lines) - 1}A" * (len(lines) > 1) + "\r")

    def clear(self) -> None:
        with self.lock:
            self._write(f"\r{'':79}\r" if self.in_notebook else CLEAR)

    def stop(self) -> None:
        """End the thread, and leave nothing on the terminal."""
        self.stopped.set()
        self.join()

    def _write(self, text):
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            self.terminal.write(text)
            self.terminal.flush()
