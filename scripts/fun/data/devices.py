"""Where to compute: on the processor, or on a GPU; of several, on one that the fewest other jobs of this machine are using."""

import fcntl
import os
import tempfile
from pathlib import Path

LOCKS = Path(tempfile.gettempdir()) / f"fun_gpus_{os.getuid()}"
SLOTS = 32  # jobs that can be told apart on one GPU
_held = []  # [(index, file)]: the lock of this process; the system releases it when the process ends, however it ends


def pick_device(name: str):
    """The torch.device called `name`; "auto" is "cuda" if there is such a GPU, else "cpu".

    Where several GPUs are visible (CUDA_VISIBLE_DEVICES), "auto" and "cuda" are one that no other job has taken, or that the
    fewest have; this process has then taken it. A GPU becomes torch's current one. Its convolutions of float32 are then computed
    in float32, not in TF32 with its ten bits, and by algorithms that give the same bits in each run.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type != "cuda":
        return device
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    if name == "cuda" and (count := torch.cuda.device_count()) > 1:
        names = [
            str(torch.cuda.get_device_properties(index).uuid) for index in range(count)
        ]  # in every process the same
        device = torch.device("cuda", take_gpu(names, LOCKS))
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def take_gpu(names: list[str], folder: Path) -> int:
    """The index of the GPU that this process takes: the first with a free slot, all first slots before any second one. 0 where
    the file system has no locks."""
    if _held:
        return _held[0][0]
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(SLOTS):
        for index, name in enumerate(names):
            file = open(folder / f"{name}_{slot}.lock", "a")  # noqa: SIM115 (open as long as the process runs)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _held.append((index, file))
            return index
    return 0
