"""profiles/slurm on a real SLURM with one node and made-up GPUs: what it asks for, and a training job that is cancelled."""

import os
import re
import shutil
import subprocess
import tempfile
import time

import pytest
import yaml

from project import SUPPORT

CLUSTER = SUPPORT / "cluster.sh"
CHECKPOINT = "results/mnist/class_conditioned/epoch_{}/checkpoint.safetensors"
TRAINING_LOG = "results/logs/train_epoch/class_conditioned_{}.log"
# Seconds until the first check of a job, for the command line; the profile's value is for real queues.
PROFILE = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", 2, "--latency-wait", 10)


def slurm_is_missing():
    """Why SLURM cannot run here, or None."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in ("sbatch", "slurmctld", "slurmd", "munged") if shutil.which(name, path=path) is None]
    if missing:
        return f"{', '.join(missing)} not found: install slurm-wlm and munge"
    return None if os.geteuid() == 0 else "only root can start a SLURM of its own"


@pytest.fixture(scope="module")
def slurm():
    """Starts a SLURM; gives a function that runs one of its commands."""
    reason = slurm_is_missing()
    if reason:
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:  # short: a socket's path has 108 characters at most
        subprocess.run([CLUSTER, "start", folder], check=True)
        os.environ["SLURM_CONF"] = f"{folder}/etc/slurm.conf"
        try:
            yield lambda *command: subprocess.run(command, check=True, capture_output=True, text=True).stdout
        finally:
            subprocess.run([CLUSTER, "stop", folder], check=True)
            del os.environ["SLURM_CONF"]


def start(workflow, *arguments):
    """Snakemake with the profile, running beside the test."""
    log = open(workflow.folder / "snakemake.log", "w")  # noqa: SIM115 (the process uses it)
    return subprocess.Popen(
        workflow.command(*PROFILE, *arguments), cwd=workflow.folder, stdout=log, stderr=log, start_new_session=True
    )


def wait_until(condition, run, workflow, seconds=180):
    """Wait for a condition to become true while Snakemake runs, and return its value."""
    end = time.time() + seconds
    while not (value := condition()):
        said = (workflow.folder / "snakemake.log").read_text()
        assert run.poll() is None and time.time() < end, f"{said[-5000:]}\n{workflow.logs()}"
        time.sleep(0.1)
    return value


def jobs(slurm):
    """{job id: what `scontrol show job` tells about it} of all jobs that have not ended."""
    found = {}
    for block in slurm("scontrol", "show", "job", "--oneliner").splitlines():
        facts = dict(re.findall(r"(\S+?)=(\S*)", block))
        if facts.get("JobState") in ("PENDING", "RUNNING"):
            found[facts["JobId"]] = facts
    return found


def in_epoch_2(workflow):
    """Whether the second epoch is at work."""
    log = workflow.folder / TRAINING_LOG.format(2)
    return log.exists() and "epoch 2: " in log.read_text()


def test_a_cancelled_training_goes_on_where_it_was(slurm, small_workflow):
    config = {"images_per_epoch": 2000}
    local, cluster = small_workflow(**config), small_workflow(**config)
    local.run("--cores", 1, CHECKPOINT.format(3))

    run = start(cluster, CHECKPOINT.format(3))
    wait_until(lambda: in_epoch_2(cluster), run, cluster)
    (job,) = jobs(slurm).values()  # three epochs, one job of the queue; the download is not one
    assert job["TimeLimit"] == "00:06:00"  # two minutes for each epoch of 2,000 images
    assert job["MinMemoryNode"] == "4000M"
    slurm("scancel", job["JobId"])
    assert run.wait(timeout=180) != 0
    (log,) = (cluster.folder / ".snakemake/slurm_logs").glob(f"*/{job['JobId']}.log")
    assert "CANCELLED" in log.read_text()
    assert str(log) in (cluster.folder / "snakemake.log").read_text()

    first = cluster.folder / CHECKPOINT.format(1)
    assert first.read_bytes() == (local.folder / CHECKPOINT.format(1)).read_bytes()
    assert not (cluster.folder / CHECKPOINT.format(2)).exists()
    made = first.stat().st_mtime_ns

    cluster.run(*PROFILE, CHECKPOINT.format(3))
    assert first.stat().st_mtime_ns == made  # the first epoch was not trained again
    for epoch in (1, 2, 3):
        path = CHECKPOINT.format(epoch)
        assert (cluster.folder / path).read_bytes() == (local.folder / path).read_bytes()


def test_gpus_memory_and_time_are_asked_for_as_the_configuration_says(slurm, small_workflow):
    workflow = small_workflow()
    config = yaml.safe_load((workflow.folder / "config.yaml").read_text())
    config["cascades"]["tiny"]["text_encoder"]["resources"] = {"mem_mb": 6000, "runtime": 45}
    config["cascades"]["tiny"]["stage_1"]["resources"] = {"gpu": 1, "mem_mb": 3000, "runtime": 20}
    workflow.configure(config)
    run, seen = start(workflow, "results/tiny/prompts/stage_1.safetensors"), {}
    while run.poll() is None:
        for job in jobs(slurm).values():
            seen[job["Comment"].removesuffix("_wildcards_").split("_wildcards_")[0]] = job
        time.sleep(0.2)
    assert run.returncode == 0, (workflow.folder / "snakemake.log").read_text()[-3000:] + workflow.logs()
    encoder, stage_1 = seen["rule_encode_prompts"], seen["rule_stage_1"]
    assert encoder["MinMemoryNode"] == "6000M" and encoder["TimeLimit"] == "00:45:00"
    assert not any("gpu" in value for value in encoder.values())
    assert stage_1["MinMemoryNode"] == "3000M" and stage_1["TimeLimit"] == "00:20:00"
    assert stage_1["TresPerJob"] in ("gres:gpu:1", "gres/gpu:1")
