"""What a job reports: a log of its own, and one sentence when it fails."""

import errno
import fcntl
import re
import subprocess
import sys
import time

from project import PROJECT

JOB = "from fun.workflow.log import log_to; progress = log_to('toy.log'); "


def start(folder, *lines, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", JOB + "; ".join(lines)],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT / "scripts")} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_failure_is_one_sentence_and_its_traceback_is_in_the_log(tmp_path):
    job = start(tmp_path, "raise ValueError('the picture is upside down')")
    said = job.communicate()[1]
    assert job.returncode == 1
    assert said == "toy: the picture is upside down (details: toy.log)\n"
    assert "Traceback" in (tmp_path / "toy.log").read_text()


def test_the_log_is_utf_8_whatever_the_locale(tmp_path):
    job = start(tmp_path, "print(chr(0x3B5))", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert job.wait(timeout=60) == 0
    assert (tmp_path / "toy.log").read_text(encoding="utf-8") == "ε\n"


def test_a_write_that_names_no_file_is_told_with_the_folder(tmp_path):
    job = start(tmp_path, f"raise OSError({errno.ENOSPC}, 'No space left on device')")
    said = job.communicate()[1]
    assert said == f"toy: No space left on device, while writing below {tmp_path}/results (details: toy.log)\n"


def test_a_job_waits_for_the_one_that_still_has_its_log(tmp_path):
    with open(tmp_path / "toy.log", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        job = start(tmp_path, "print('at work')")
        assert "waiting for it to end" in job.stderr.readline()
        time.sleep(0.3)
        assert job.poll() is None and (tmp_path / "toy.log").read_text() == ""
    assert job.wait(timeout=60) == 0
    assert (tmp_path / "toy.log").read_text() == "at work\n"


def test_the_log_tells_when_the_work_began_and_how_far_it_is(tmp_path):
    job = start(tmp_path, "import time", "[time.sleep(0.1) for _ in progress(range(20), 'steps')]")
    assert job.wait(timeout=60) == 0
    first, *tenths = (tmp_path / "toy.log").read_text().splitlines()
    assert re.fullmatch(r"steps: the first after 0\.\d\d s", first)
    assert tenths == [f"steps: {i} of 20" for i in range(2, 21, 2)]
