"""Which files of a repository a part of the cascade needs, and whether they fit on the disk."""

import httpx2
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from fun.weights.hub import Part, check_disk, in_cache, needed
from fun.weights.hub_errors import explained, is_gone, reason

XL = "DeepFloyd/IF-I-XL-v1.0"
STAGE_1 = Part("stage_1", XL, "main", "fp16")
UNET = ["unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors", "scheduler/scheduler_config.json"]
T5 = ["text_encoder/config.json", "tokenizer/spiece.model", "tokenizer/tokenizer_config.json"]
SHARDS = [f"text_encoder/model{{}}-0000{i}-of-00002.safetensors" for i in (1, 2)]
INDEX = ["text_encoder/model.safetensors.index{}.json"]
CLIP = [
    "config.json",
    "merges.txt",
    "preprocessor_config.json",
    "pytorch_model.bin",
    "tokenizer_config.json",
    "vocab.json",
]


@pytest.mark.parametrize(
    ("part", "files", "beside"),
    [
        (STAGE_1, UNET, ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin", "IF.ckpt"]),
        (
            Part("text_encoder", XL, "main", "fp16"),
            T5 + [name.format(".fp16") for name in SHARDS + INDEX],
            [name.format("") for name in SHARDS + INDEX] + ["text_encoder/pytorch_model.bin.index.json"],
        ),
        (
            Part("text_encoder", XL, "main", None),
            T5 + [name.format("") for name in SHARDS + INDEX],
            [name.format(".fp16") for name in SHARDS + INDEX],
        ),
        (
            Part("clip_judge", "laion/clip", "main", None),
            [*CLIP[:1], *CLIP[2:5], "tokenizer.json"],
            ["open_clip_pytorch_model.bin.index.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"],
        ),
        (Part("clip_judge", "openai/clip", "main", None), CLIP, ["README.md", "flax_model.msgpack", "tf_model.h5"]),
    ],
)
def test_only_what_a_part_needs_is_chosen(part, files, beside):
    assert needed(part, [*beside, *files]) == sorted(files)


@pytest.mark.parametrize(
    ("part", "files", "message"),
    [
        (STAGE_1, UNET[:2], "has no scheduler/scheduler_config.json"),
        (STAGE_1, UNET[1:], "has no unet/config.json"),
        (
            STAGE_1,
            [UNET[0], UNET[2], "unet/diffusion_pytorch_model.fp16.bin"],
            "no safetensors of variant fp16 in unet",
        ),
        (STAGE_1, [UNET[0], UNET[2]], "there are no weights among config.json"),
        (
            Part("text_encoder", XL, "main", "fp16"),
            [*T5, SHARDS[0].format(".fp16")],
            "has 1 of the 2 weight files in text_encoder",
        ),
        (
            Part("text_encoder", XL, "main", "fp16"),
            [*T5, *(name.format(".fp16") for name in SHARDS), INDEX[0].format("")],
            "has no index of its 2 weight files in text_encoder",
        ),
        (
            Part("text_encoder", XL, "main", None),  # the second shard is one of another split
            [*T5, SHARDS[0].format(""), "text_encoder/model-00002-of-00003.safetensors", *INDEX],
            "has 1 of the 3 weight files in text_encoder",
        ),
        (
            Part("text_encoder", XL, "main", None),
            [T5[0], T5[2], "text_encoder/model.safetensors"],
            "has no tokenizer/spiece",
        ),
        (Part("clip_judge", "openai/clip", "main", None), [n for n in CLIP if n != "vocab.json"], "has no vocab.json"),
        (
            Part("clip_judge", "openai/clip", "main", None),
            [n for n in CLIP if n != "pytorch_model.bin"],
            "has no weights",
        ),
        (
            Part("clip_judge", "laion/clip", "main", None),  # what open_clip opens, transformers does not
            [*(n for n in CLIP if n != "pytorch_model.bin"), "open_clip_model.safetensors"],
            "has no weights",
        ),
        (
            Part("clip_judge", "laion/clip", "main", None),
            [
                *(n for n in CLIP if n != "pytorch_model.bin"),
                *(f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)),
                "open_clip_pytorch_model.bin.index.json",
            ],
            "has no index of its 2 weight files",
        ),
        (Part("safety_checker", XL, "main", None), ["safety_checker/config.json"], "has no weights in safety_checker"),
        (Part("stage_3", "x4", "main", None), ["unet/config.json"], "has no model_index.json"),
    ],
)
def test_a_repository_that_lacks_something_is_refused(part, files, message):
    with pytest.raises(ValueError, match=message):
        needed(part, files)


def snapshot(cache, commit, files):
    """Put empty files into a hub cache."""
    for name in files:
        path = cache / f"models--{XL.replace('/', '--')}/snapshots/{commit}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_branch_that_the_cache_does_not_know_is_the_only_whole_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert in_cache(STAGE_1) is None
    snapshot(tmp_path, "a" * 40, UNET)
    snapshot(tmp_path, "b" * 40, UNET[1:])
    assert in_cache(STAGE_1).commit == "a" * 40 and set(in_cache(STAGE_1).files) == set(UNET)
    snapshot(tmp_path, "b" * 40, UNET)
    assert in_cache(STAGE_1) is None  # which of the two?
    (tmp_path / f"models--{XL.replace('/', '--')}/refs").mkdir()
    (tmp_path / f"models--{XL.replace('/', '--')}/refs/main").write_text("b" * 40)
    assert in_cache(STAGE_1).commit == "b" * 40


@pytest.mark.parametrize(
    ("revision", "found"), [("main", True), ("aaaaaaa", True), ("bbbbbbb", False), ("v1.0", False)]
)
def test_another_name_of_a_version_is_not_guessed(tmp_path, monkeypatch, revision, found):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot(tmp_path, "a" * 40, UNET)
    assert (in_cache(Part("stage_1", XL, revision, "fp16")) is not None) == found


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (RepositoryNotFoundError, True),
        (RevisionNotFoundError, True),
        (RemoteEntryNotFoundError, True),
        (GatedRepoError, False),
        (HfHubHTTPError, False),
    ],
)
def test_gone_is_only_what_does_not_exist(error, gone):
    response = httpx2.Response(404, request=httpx2.Request("GET", "https://hub.example"))
    with pytest.raises(OSError) as raised, explained(XL, "main"):
        raise error("no", response=response)
    assert is_gone(raised.value) == gone


def test_a_disk_that_is_too_small_is_refused():
    check_disk(1)
    with pytest.raises(
        OSError, match=r"1000000.0 GB must be fetched into .*hub, where only .* GB are free: free some space, or set"
    ):
        check_disk(10**15)


def test_the_password_of_an_address_is_never_said(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://somebody:secret@hub.example:8080/api")
    request = httpx2.Request("GET", "https://hub.example")
    for status, error in (
        (401, GatedRepoError),
        (404, RepositoryNotFoundError),
        (404, RevisionNotFoundError),
        (403, HfHubHTTPError),
    ):
        said = reason(error("no", response=httpx2.Response(status, request=request)), XL, "main")
        assert "secret" not in said and "somebody" not in said and "hub.example:8080" in said
