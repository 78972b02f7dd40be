"""Killed, cut off, damaged, out of space, run twice: the workflow says so, and still ends in the same bits."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from project import Workflow, digests

CHECKPOINT = "results/mnist/class_conditioned/epoch_{}/checkpoint.safetensors"
FIGURES = ("results/tiny/prompts/figure.json", "results/tiny/noised/figure.json")
SAMPLES = "results/mnist/class_conditioned/epoch_3/samples.safetensors"
SCHEDULES = "results/mnist/schedules/figure.json"
STAGE_1 = "results/tiny/noised/stage_1.safetensors"
STAGE_2 = "results/tiny/noised/stage_2.safetensors"
EVERYTHING = (SAMPLES, SCHEDULES, *FIGURES)
KILLS = 10


@pytest.fixture(scope="module")
def undisturbed(small_workflow):
    """Three epochs and two experiments, made without a fault."""
    workflow = small_workflow()
    began = time.time()
    workflow.run("--cores", 2, *EVERYTHING)
    workflow.seconds = time.time() - began
    workflow.made = digests(workflow.folder)
    return workflow


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of the undisturbed workflow, to be damaged."""
    shutil.copytree(undisturbed.folder, tmp_path / "project")
    return Workflow(tmp_path / "project")


def start(workflow, *arguments):
    return subprocess.Popen(
        workflow.command("--cores", 2, *arguments),
        cwd=workflow.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(run, who):
    """kill -9. Returns whether there was anything to kill."""
    scripts = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        if who == "all":
            os.killpg(run.pid, signal.SIGKILL)
        elif who == "snakemake":  # its jobs still run, and meet those of the next run
            os.kill(run.pid, signal.SIGKILL)
        else:
            for script in scripts:
                script.kill()
    if who == "jobs":
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=1)  # with no job left it stops by itself, or continues with others
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return bool(scripts)


def test_killed_at_ten_random_moments_it_ends_in_the_same_bits(undisturbed, small_workflow):
    """Snakemake, its jobs, or both are killed; each time unlocked and started again, from scratch if it had finished."""
    chance = random.Random(180)
    workflow, kills = small_workflow(), 0
    while kills < KILLS:
        run = start(workflow, *EVERYTHING)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=chance.uniform(0.05, 0.4) * undisturbed.seconds)
        kills += kill(run, chance.choice(["all", "snakemake", "jobs"]))
        workflow.run("--unlock")
        if all((workflow.folder / path).exists() for path in EVERYTHING):
            workflow.run("--cores", 2, *EVERYTHING)
            assert digests(workflow.folder) == undisturbed.made
            shutil.rmtree(workflow.folder / "results")
    workflow.run("--cores", 2, *EVERYTHING)
    assert digests(workflow.folder) == undisturbed.made


def flip(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("file", "damage", "rule", "target"),
    [
        ("results/mnist/data/t10k-images-idx3-ubyte", flip, "mnist_schedules", SCHEDULES),
        (CHECKPOINT.format(2), flip, "train_epoch", CHECKPOINT.format(3)),
        (CHECKPOINT.format(3), truncate, "sample_epoch", SAMPLES),
        ("results/tiny/prompt_embeds/*.safetensors", flip, "stage_1", STAGE_1),
        (STAGE_1, truncate, "stage_2", STAGE_2),
        ("tiny/stage_1/unet/diffusion_pytorch_model.safetensors", flip, "stage_1", STAGE_1),
        ("tiny/stage_1/text_encoder/model.safetensors", flip, "encode_prompts", STAGE_1),
    ],
)
def test_a_damaged_file_is_named(finished, file, damage, rule, target):
    for path in finished.folder.glob(file):
        damage(path)
    (finished.folder / target).unlink()  # made again, from what is now damaged
    done = finished.run("--cores", 1, target, check=False)
    assert done.returncode != 0
    name = file.partition("*")[0]
    assert re.search(rf"^\w+: .*{name}.*\(details: results/logs/{rule}", done.stdout, re.MULTILINE), done.stdout[-3000:]
    assert not (finished.folder / target).exists()


def test_a_vanished_picture_is_named_before_any_work(finished):
    (finished.folder / "picture.png").unlink()
    done = finished.run("-n", *FIGURES, check=False)
    assert done.returncode != 0
    assert done.stdout.strip().splitlines()[-1] == (
        "experiments/tiny.yaml: noised/image must be a picture: there is no file picture.png"
    )


def test_a_second_run_in_the_same_folder_is_refused(small_workflow):
    workflow = small_workflow()
    run = start(workflow, CHECKPOINT.format(1))
    while not (workflow.folder / "results/logs").exists():
        assert run.poll() is None
        time.sleep(0.05)
    second = workflow.run("--cores", 1, CHECKPOINT.format(1), check=False)
    assert second.returncode != 0 and "cannot be locked" in second.stdout
    assert run.wait() == 0
    assert (workflow.folder / CHECKPOINT.format(1)).exists()


@pytest.fixture
def results(finished):
    """Mounts something on the results of a finished workflow."""
    if os.geteuid() != 0:
        assert "CI" not in os.environ, "only root can mount"
        pytest.skip("only root can mount a small disk")
    folder, mounted = finished.folder / "results", []

    def mount(*arguments):
        subprocess.run(["mount", *arguments, folder], check=True)
        mounted.append(folder)

    yield mount
    for _ in mounted:
        subprocess.run(["umount", folder], check=True)


def test_results_that_cannot_be_written_are_named(finished, results):
    for path in FIGURES:
        (finished.folder / path).unlink()
    results("--bind", finished.folder / "results")
    subprocess.run(["mount", "-o", "remount,ro,bind", finished.folder / "results"], check=True)
    done = finished.run("--cores", 1, *FIGURES, check=False)
    assert done.returncode != 0
    assert "Write-protected output files" in done.stdout and "results/tiny/prompts/figure" in done.stdout


def test_a_full_disk_is_named_and_what_was_made_is_whole(undisturbed, finished, results):
    """Space for nothing, then for the embeddings, then for everything."""
    shutil.rmtree(finished.folder / "results")
    (finished.folder / "results").mkdir()
    results("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    filler = finished.folder / "results/filler"
    expected = {path: made for path, made in undisturbed.made.items() if path.startswith("results/tiny")}
    # In the second round Snakemake itself may find the disk full first, when writing its benchmarks; it names no file.
    for free, said in ((0, r"No space left on device.*results"), (60_000, r"No space left on device")):
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        os.truncate(filler, filler.stat().st_size - free)
        done = finished.run("--cores", 1, *FIGURES, check=False)
        assert done.returncode != 0
        assert re.search(said, done.stdout), done.stdout[-3000:]
        filler.unlink()
    finished.run("--cores", 1, *FIGURES)
    assert {p: made for p, made in digests(finished.folder).items() if p.startswith("results/tiny")} == expected
