"""What the page draws with by itself: the weights of the networks, as text, and what its script has to know of them.

Needs no torch: arrays are numpy's. resources/report/engine.js computes with them, resources/report/play.js asks for what to draw.
"""

import base64
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sentencepiece import SentencePieceProcessor

from fun.data.tensors import load_arrays

# The miniature's words, in its order (fun.miniature.pictures, which needs torch).
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COLOURS = ["black", "blue", "green", "cyan", "red", "magenta", "yellow", "white"]
PLAYS = {  # {section: (play, its title)}
    "denoising": ("number", "The same with a single number"),
    "sampling": ("colours", "Draw one yourself"),
    "guidance": ("inside", "Look inside one step"),
    "image_to_image": ("drawing", "From your own drawing"),
    "inpainting": ("hole", "Fill a hole of your own"),
    "visual_anagram": ("anagram", "An anagram of your own"),
    "training": ("digits", "Draw one yourself, after each epoch"),
}
# The others need a network of MNIST's digits, one of them both networks.
WITHOUT_DIGITS = ("colours", "anagram", "number")
AVERAGE = "average.module."  # the averaged weights in a Trainer's state


def pack(arrays: dict[str, np.ndarray], eight_bits: bool = False) -> tuple[str, dict]:
    """Arrays as base64 of float16, and {name: {"offset": in bytes, "shape": ...}}. Counters, which no network computes with, are left out.

    eight_bits: matrices and convolutions as int8, with a "scale" for each row (docs/playing.md).
    """
    header, parts, offset = {}, [], 0
    for name, array in sorted(arrays.items()):
        if array.dtype.kind != "f":
            continue
        header[name] = {"offset": offset, "shape": list(array.shape)}
        if eight_bits and array.ndim > 1:
            rows = array.reshape(len(array), -1).astype(np.float32)
            scale = np.maximum(np.abs(rows).max(1), 1e-12) / 127
            header[name]["scale"] = [float(f"{one:.6g}") for one in scale]
            part = np.rint(rows / scale[:, None]).astype(np.int8).tobytes()
        else:
            part = np.ascontiguousarray(array, "<f2").tobytes()
        parts.append(part)
        offset += len(part)
    return base64.b64encode(b"".join(parts)).decode(), header


def averaged(checkpoint: str | Path) -> dict[str, np.ndarray]:
    """The weights to draw with in a checkpoint of an MNIST network."""
    arrays = load_arrays(checkpoint)[0]
    return {name.removeprefix(AVERAGE): array for name, array in arrays.items() if name.startswith(AVERAGE)}


def playground(classes: list[str], digits: dict | None, classifier: str | None, miniature: str | Path) -> dict:
    """Everything that the page needs to draw: {"about": what play.js reads, "weights": {name: base64}}.

    Args:
        classes: the names of the data set's ten classes.
        digits: a network of MNIST digits: "name", "T", "guidance_interval", and "checkpoints", {epoch: path}; None for none.
        classifier: the weights of the classifier that reads these digits.
        miniature: the folder of the miniature.
    """
    folder = Path(miniature)
    arrays = {
        "colours": load_file(folder / "stage_1/unet/diffusion_pytorch_model.safetensors"),
        "text": load_file(folder / "stage_1/text_encoder/model.safetensors"),
        "colour-reader": load_arrays(folder / "judge/weights.safetensors")[0],
    }

    def config(path):
        return json.loads((folder / "stage_1" / path).read_text(encoding="utf-8"))

    about = {
        "names": classes,
        "colours": {
            "unet": config("unet/config.json"),
            "scheduler": config("scheduler/scheduler_config.json"),
            "text": config("text_encoder/config.json"),
            "vocabulary": _vocabulary(folder / "stage_1/tokenizer/spiece.model"),
            "names": COLOURS,
            "digits": DIGITS,
        },
    }
    if digits is not None:
        arrays |= {f"digits-{epoch}": averaged(path) for epoch, path in digits["checkpoints"].items()}
        arrays["digit-reader"] = load_arrays(classifier)[0]
        about["digits"] = {key: digits[key] for key in ("name", "T", "guidance_interval")}
        about["digits"]["epochs"] = sorted(digits["checkpoints"])
    packed = {name: pack(tensors, eight_bits=name == "colours") for name, tensors in arrays.items()}
    about["weights"] = {name: header for name, (_, header) in packed.items()}
    plays = {
        section: {"name": play, "title": title}
        for section, (play, title) in PLAYS.items()
        if digits is not None or play in WITHOUT_DIGITS
    }
    return {"about": about, "weights": {name: text for name, (text, _) in packed.items()}, "plays": plays}


def _vocabulary(path):
    """{piece: id} of a tokenizer."""
    tokenizer = SentencePieceProcessor(model_file=str(path))
    return {tokenizer.id_to_piece(i): i for i in range(tokenizer.vocab_size())}
