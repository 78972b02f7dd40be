"""What the terminal shows while jobs run, and what a run says at its end."""

import io
import logging
import os
import pty
import select
import subprocess
import sys
import time

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from fun.workflow.display import CLEAR, Display, line, running
from fun.workflow.log import FOLDER, tell
from fun.workflow.summary import clock, job_seconds, next_commands, run_summary


def test_a_line_has_a_bar_the_rate_and_the_time_left_in_any_width():
    told = ("train_epoch class_conditioned_3", "epoch 3", 40, 157, 100.0)
    for width in (30, 60, 79, 200):
        assert len(line(*told, now=110.0, width=width)) <= width
    shown = line(*told, now=110.0, width=79)
    assert shown.startswith("train_epoch") and " 25%|" in shown and "4.00it/s" in shown and "00:29" in shown
    assert line(*told, now=110.0, width=60).startswith("train_epoch class_conditioned_3:")
    assert line("figure miniature_guidance", "", 0, 0, 0.0, 110.0, 79) == "figure miniature_guidance"


def test_who_has_ended_is_shown_no_more(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    tell("one", "step", 1, 2, 3.0)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / str(ended.pid)).write_text('["two", "", 0, 0, 0]')
    assert running(tmp_path) == [["one", "step", 1, 2, 3.0]]
    assert not (tmp_path / str(ended.pid)).exists()


def test_nobody_is_told_where_no_terminal_looks_on(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    tell("one")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def terminal():
    """(what a program writes to, a function that reads what has come)."""
    master, slave = pty.openpty()

    def read():
        text = b""
        while select.select([master], [], [], 0.2)[0]:
            text += os.read(master, 65536)
        return text.decode()

    with open(slave, "w") as out:
        yield out, read
    os.close(master)


def test_lines_make_way_for_messages_and_nothing_is_left(tmp_path, monkeypatch, terminal):
    out, read = terminal
    monkeypatch.setenv(FOLDER, str(tmp_path))
    tell("stage_1 miniature_prompts", "stage I", 3, 10, time.time() - 3)
    display = Display(tmp_path, out)
    display.draw()
    assert "\nstage_1 miniature_prompts: stage I:  30%|" in read().replace("\r", "")
    assert display.filter(logging.makeLogRecord({"msg": "a message"}))
    assert read() == CLEAR
    for event in ("JOB_INFO", "PROGRESS"):
        said = {"msg": None, "event": LogEvent[event], "done": 3, "total": 55}
        assert not display.filter(logging.makeLogRecord(said))
    display.draw()
    assert read().startswith(CLEAR + "3 of 55 jobs done")
    assert display.filter(logging.makeLogRecord({"msg": None, "event": LogEvent.JOB_ERROR}))
    assert read() == CLEAR
    display.silent_until = 0.0
    display.start()
    time.sleep(1.2)
    display.stop()
    assert read().endswith(CLEAR)


def test_a_notebook_has_one_line(tmp_path, monkeypatch, terminal):
    out, read = terminal
    monkeypatch.setenv(FOLDER, str(tmp_path))
    tell("stage_1 miniature_prompts", "stage I", 3, 10, time.time() - 3)
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    display = Display(tmp_path, out)
    display.draw()
    drawn = read()
    assert drawn.split(" ", 1)[0] == "\r0" and drawn.strip() == "0 jobs done; stage_1 miniature_prompts 30 %"
    assert len(drawn) == 80  # over whatever stood there
    display.clear()
    assert read().strip() == "" and "\x1b" not in drawn


def test_a_terminal_that_is_gone_stops_nothing(tmp_path):
    closed = io.StringIO()
    closed.close()
    Display(tmp_path, closed).clear()


def test_seconds_of_the_jobs_of_this_run(tmp_path):
    for name, seconds in (
        ("train_epoch/a_1.tsv", 10.5),
        ("train_epoch/a_2.tsv", 9.5),
        ("report.tsv", 2),
        ("old.tsv", 99),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"s\th:m:s\n{seconds}\t0:00:10\n")
    os.utime(tmp_path / "old.tsv", (0, 0))
    assert job_seconds(tmp_path, since=1) == {"train_epoch": (2, 20.0), "report": (1, 2.0)}


def test_the_last_words_of_a_run():
    jobs = {f"rule_{i}": (i, 100.0 - i) for i in range(1, 12)}
    said = run_summary(65.4, jobs, "results/report.html", {"ten sevens:": "snakemake --cores 1 x"}).splitlines()
    assert said[0].startswith("Finished after 1:05.") and said[1].split() == ["rule_1", "1:39", "1", "job"]
    assert "  others" in said[9] and said[9].endswith("30 jobs")
    assert "The report: results/report.html" in said and said[-1] == "    snakemake --cores 1 x"
    assert max(map(len, said)) <= 80
    assert run_summary(1, {}, None, {}) == "" and clock(3599.6) == "60:00"


def test_what_to_try_next():
    digits = {"name": "mine", "epochs": [1, 5, 20]}
    tries = next_commands("experiments/a.yaml", digits, "--config cascade=a")
    assert list(tries.values()) == [
        "snakemake --cores 1 all --config cascade=a",
        "snakemake --cores 1 results/mnist/mine/epoch_20/7777777777_seed_5 --config cascade=a",
    ]
    assert "edit experiments/a.yaml" in next(iter(tries)) and next_commands(None, None, "") == {}
