"""Which GPU a job would take, without any."""

import fcntl
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from fun.data import devices
from project import PROJECT

TAKE = "import sys, time; from pathlib import Path; from fun.data.devices import take_gpu; print(take_gpu(sys.argv[2].split(), Path(sys.argv[1])), flush=True); time.sleep(60)"


@pytest.fixture
def take(tmp_path):
    """Starts a job that takes one of the named GPUs: (the job, the index that it took)."""
    jobs = []

    def start(names="0 1"):
        command = [sys.executable, "-c", TAKE, str(tmp_path), names]
        job = subprocess.Popen(command, env={"PYTHONPATH": str(PROJECT / "scripts")}, stdout=subprocess.PIPE, text=True)
        jobs.append(job)
        return job, int(job.stdout.readline())

    yield start
    for job in jobs:
        job.kill()


def test_jobs_take_gpus_of_their_own_and_then_share_them_evenly(take):
    assert [take()[1] for _ in range(5)] == [0, 1, 0, 1, 0]


def test_a_gpu_is_free_again_when_its_job_ends_however_it_ends(take):
    (first, _), (_, index) = take(), take()
    assert index == 1
    first.kill()
    first.wait()
    assert take()[1] == 0


def test_gpus_are_told_apart_by_the_machines_names(take):
    """A job that sees the second GPU alone calls it 0."""
    assert take("1")[1] == 0
    assert [take("0 1")[1] for _ in range(2)] == [0, 0]  # the free one first, then the first again


def test_float32_is_float32_on_a_gpu_and_a_run_has_its_bits_again(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    monkeypatch.setattr(cudnn, "deterministic", False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    assert devices.pick_device("cpu") == torch.device("cpu") and cudnn.allow_tf32
    for name in ("cuda", "cuda:1"):
        cudnn.allow_tf32, cudnn.deterministic = True, False
        assert devices.pick_device(name) == torch.device(name)
        assert not cudnn.allow_tf32 and cudnn.deterministic


def test_of_several_gpus_a_job_takes_one_by_its_card(monkeypatch, tmp_path):
    """Cards are told apart by what they are, not by how a job counts them (CUDA_VISIBLE_DEVICES); torch's current one follows."""
    cards, chosen = ["aa", "bb"], []
    monkeypatch.setattr(devices, "_held", [])
    monkeypatch.setattr(devices, "LOCKS", tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=cards[index]))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    with open(tmp_path / "aa_0.lock", "a") as other:  # another job has the first
        fcntl.flock(other, fcntl.LOCK_EX)
        assert devices.pick_device("cuda") == torch.device("cuda", 1) == chosen[0]
    devices._held[0][1].close()


def test_a_process_takes_one_and_keeps_it(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_held", [])
    taken = [devices.take_gpu(["0", "1"], tmp_path) for _ in range(3)]
    devices._held[0][1].close()
    assert taken == [0, 0, 0]
