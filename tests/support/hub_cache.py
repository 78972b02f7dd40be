"""The hub's cache on a machine, as huggingface_hub lays it out, with DeepFloyd's repositories and tiny random weights.

`repositories` makes the files, in the same formats as DeepFloyd's own (the fp16 variant next to the full one, the text
encoder in two shards); `hub_cache` puts the files that a cascade needs where the hub's client would have put them.
"""

import hashlib
import re
import tempfile
from pathlib import Path

from transformers import T5EncoderModel

from tiny_cascade import make_cascade
from tiny_options import make_clip, make_safety, make_upscaler

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # the commit that a branch stands for
DECOYS = ("diffusion_pytorch_model.bin", "pytorch_model.bin")  # pickles, which must never be fetched


def repositories(cascade, decoys=False, sizes=(16, 32)):
    """{repository: {path: content}} of all parts of `cascade`, an entry of `cascades` in config.yaml.

    decoys: whether to add what else is in the real repositories: other variants, pickles, a licence.
    """
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        tiny = make_cascade(Path(folder) / "tiny", sizes=sizes)
        for part, folders in (
            ("text_encoder", ("text_encoder", "tokenizer")),
            ("stage_1", ("unet", "scheduler")),
            ("stage_2", ("unet", "scheduler", "image_noising_scheduler")),
        ):
            made = tiny / ("stage_2" if part == "stage_2" else "stage_1")
            for name in folders:
                repository = files.setdefault(cascade[part]["model"], {})
                repository |= {f"{name}/{path.name}": path.read_bytes() for path in in_variants(made / name, decoys)}
        for repository, made in options(Path(folder), cascade):
            paths = [path for path in made.rglob("*") if path.is_file()]
            files.setdefault(repository, {}).update({str(path.relative_to(made)): path.read_bytes() for path in paths})
    if decoys:
        for repository in files.values():
            repository |= {"README.md": b"# IF\n", "LICENSE": b"non-commercial\n", "IF-I-XL-v1.0.ckpt": b"pickle"}
    return files


def options(folder, cascade):
    """(repository, folder with its files) of each optional part of the cascade."""
    if cascade.get("stage_3"):
        yield cascade["stage_3"]["model"], make_upscaler(folder / "stage_3")
    if cascade.get("clip_judge"):
        yield cascade["clip_judge"]["model"], make_clip(folder / "clip")
    if cascade.get("safety_checker") or cascade.get("watermark"):
        yield cascade["stage_1"]["model"], make_safety(folder / "safety")


def in_variants(folder, decoys):
    """The files of a model's folder with the weights in fp16, the text encoder's in two shards."""
    for weights in list(folder.glob("*.safetensors")):
        module = load(folder).half()
        sharded = {"max_shard_size": size_of(module) // 2 + 1024} if folder.name == "text_encoder" else {}
        module.save_pretrained(folder, variant="fp16", safe_serialization=True, **sharded)
        if decoys:
            for name in DECOYS:
                (folder / name).write_bytes(b"pickle")
        else:
            weights.unlink()
    return sorted(path for path in folder.iterdir() if path.is_file())


def load(folder):
    """The model in a folder."""
    if folder.name == "text_encoder":
        return T5EncoderModel.from_pretrained(folder)
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder)


def size_of(module):
    """Bytes of a module's weights."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def is_large(path):
    """Whether the hub keeps a file in LFS, where its name is its SHA-256."""
    return path.endswith((".safetensors", ".bin", ".ckpt", ".model"))


def etag(path, content):
    """The name of a file's content: its SHA-256 in LFS, else git's SHA-1."""
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def commit_of(revision):
    """The commit that a revision stands for."""
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else COMMIT


def hub_cache(folder, cascade, sizes=(16, 32)):
    """Lay out `folder` as HF_HOME, with every part of `cascade` (an entry of `cascades` in config.yaml); return it."""
    made = repositories(cascade, sizes=sizes)
    for part in cascade.values():
        if isinstance(part, dict) and part.get("model") in made:
            store(folder, part["model"], part["revision"], made[part["model"]])
    return Path(folder)


def store(folder, repository, revision, files):
    """Put the files {path: content} of a repository into the cache below HF_HOME."""
    top = Path(folder) / "hub" / f"models--{repository.replace('/', '--')}"
    commit = commit_of(revision)
    if revision != commit:
        (top / "refs").mkdir(parents=True, exist_ok=True)
        (top / "refs" / revision).write_text(commit)
    for path, content in files.items():
        blob, pointer = top / "blobs" / etag(path, content), top / "snapshots" / commit / path
        blob.parent.mkdir(parents=True, exist_ok=True)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(Path(*[".."] * (len(Path(path).parts) + 1)) / "blobs" / blob.name)
