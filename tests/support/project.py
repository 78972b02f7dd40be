"""Copies of the project, in which the tests run Snakemake."""

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import yaml

PROJECT = Path(__file__).parents[2]
SUPPORT = PROJECT / "tests/support"
SMALL = """
cascade: tiny
cascades:
  tiny:
    text_encoder: {model: tiny/stage_1}
    stage_1: {model: tiny/stage_1}
    stage_2: {model: tiny/stage_2}
sampling:
  stage_1: {steps: 3, spacing: trailing}
  stage_2: {steps: 2, spacing: trailing}
mnist:
  models:
    class_conditioned: {network: small, width: 16, class_conditioned: true}
  predictions: null
  epochs: 3
  images_per_epoch: 100
  classifier_epochs: 1
  sampling: {epochs: [], num_images: 100, num_images_early: 100, num_steps: 2}
"""
SMALL_EXPERIMENTS = """
prompts:
  task: text_to_image
  prompts: [a red one]
  upsample: []
noised:
  task: image_to_image
  image: picture.png
  prompt: a blue five
  starts: [390]
"""


class Workflow:
    """A copy of the project, in which Snakemake runs."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @classmethod
    def copied(cls, folder: Path, mnist: dict[str, str] | None = None):
        """A new copy of what is under version control, or would be: no results and the like.

        mnist: the SHA-256 of the files that take MNIST's place there, by name; None for the real ones.
        """
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        for name in listed.stdout.split("\0"):
            if name and (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name)
        if mnist:
            (module,) = folder.glob("scripts/**/mnist.py")
            text = module.read_text()
            for name, digest in real_sums().items():
                assert digest in text
                text = text.replace(digest, mnist[name])
            module.write_text(text)
        return cls(folder)

    def configure(self, config):
        """Replace config.yaml."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def command(self, *arguments):
        """The command line of a separate Snakemake, for tests that stop it or change its surroundings."""
        return [sys.executable, "-m", "snakemake", "--nocolor", *map(str, arguments)]

    def run(self, *arguments, check=True):
        """Run Snakemake to its end; its output is in `.stdout`, both streams together."""
        done = server().run(self.folder, "--nocolor", *map(str, arguments))
        assert not check or done.returncode == 0, f"{done.stdout}\n{self.logs()}"
        return done

    def planned(self, *arguments):
        """The jobs that a dry run plans, as {rule: number of jobs}."""
        lines = self.run("-n", "--quiet", "host", *arguments).stdout.splitlines()
        if "Job stats:" not in lines:
            return {}
        table = lines[lines.index("Job stats:") + 3 :]
        rows = [line.split() for line in table[: table.index("") if "" in table else None]]
        return {rule: int(count) for rule, count in rows if rule not in ("total", "all")}

    def logs(self):
        """The end of each log file, for the message of a failed test."""
        return "\n".join(f"--- {p}\n{p.read_text()[-1500:]}" for p in sorted(self.folder.glob("results/logs/**/*.log")))


class Server:
    """Snakemake in forks of one process that has imported it, because the import is half the time of a dry run."""

    def __init__(self):
        command = [sys.executable, SUPPORT / "snakemake_server.py"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)

    def run(self, folder, *arguments):
        """`snakemake ARGUMENTS` in a folder, with the environment as it is now."""
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        print(json.dumps([str(folder), arguments, environment]), file=self.process.stdin, flush=True)
        status, output = json.loads(self.process.stdout.readline())
        return subprocess.CompletedProcess(["snakemake", *arguments], status, output)


server = cache(Server)


def digests(folder):
    """SHA-256 of everything the workflow made, except logs and timings."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "results").rglob("*"))
        if path.is_file() and not {"logs", "benchmarks"} & set(path.relative_to(folder).parts)
    }


def sentence(done):
    """The last line that a refused run prints."""
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    return done.stdout.strip().splitlines()[-1]


def real_sums():
    """The SHA-256 of MNIST's own files, by name."""
    from fun.data.mnist import FILES

    return FILES


def shorten_mnist(source: Path, folder: Path, train: int = 1000, test: int = 500) -> dict[str, str]:
    """Write the first digits of MNIST's files in `source` as files of the same format; return their SHA-256 by name."""
    folder.mkdir(parents=True)
    for name in real_sums():
        content, n = (source / name).read_bytes(), train if name.startswith("train") else test
        head, item = (16, 28 * 28) if "images" in name else (8, 1)
        short = content[:4] + np.array(n, ">u4").tobytes() + content[8 : head + n * item]
        (folder / name).write_bytes(short)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
