"""What fits into a GPU, and what is said if it does not: the sizes of the real weights against common GPUs."""

import json
import shutil

import pytest
import torch

from fun.weights.folders import repository, save_fetched
from fun.weights.memory import check_fits, check_memory, machine_memory, memories, smaller, stored_bytes
from fun.weights.preflight import preflight
from fun.workflow.preflight import run_preflight
from tiny_options import make_clip, make_safety, make_upscaler

GB = 10**9
STAGE_1 = {"sample_size": 64, "block_out_channels": [704, 1408, 2112, 2816]}
STAGE_2 = {"sample_size": 256, "block_out_channels": [320, 640, 960, 1280]}
T5 = {"model": "DeepFloyd/IF-I-XL-v1.0", "variant": "fp16", "dtype": "float16", "load_in_8bit": False}
XL = {"model": "DeepFloyd/IF-I-XL-v1.0", "variant": "fp16", "dtype": "float16", "max_batch": 16, "offload": False}
II = {"model": "DeepFloyd/IF-II-L-v1.0", "variant": "fp16", "dtype": "float16", "max_batch": 4, "offload": False}
PARTS = [("text_encoder", T5, 11 * GB, None), ("stage_1", XL, 8.6 * GB, STAGE_1), ("stage_2", II, 2.4 * GB, STAGE_2)]


@pytest.mark.parametrize("part", PARTS, ids=[part[0] for part in PARTS])
def test_the_shipped_cascade_fits_into_a_free_gpu_of_16_gb(part):
    check_memory(*part, 14.6 * GB, "the GPU")


@pytest.mark.parametrize(
    ("part", "changes", "free", "message"),
    [
        (0, {}, 8.5, "11.0 GB of memory, and the GPU has 8.5 GB free: load_in_8bit: true or prompt_embeds"),
        (0, {}, 6, "the GPU has 6.0 GB free: prompt_embeds .embeddings made elsewhere. would fit"),
        (0, {"dtype": "float32"}, 14.6, "in float32 needs about 22.0 GB .*dtype: float16 would fit"),
        (
            1,
            {"max_batch": 256},
            14.6,
            r"\(8.6 GB of weights, 20.7 GB for max_batch 256\), .* free: max_batch: 74 would",
        ),
        (1, {}, 8, "free: model: DeepFloyd/IF-I-L-v1.0 or model: DeepFloyd/IF-I-M-v1.0 or offload: true"),
        (1, {}, 1.2, "free: model: DeepFloyd/IF-I-M-v1.0 or offload: true"),
        (
            1,
            {"dtype": "float32"},
            14.6,
            r"free: dtype: float16 \(max_batch: 1\) or model: .*-L-v1.0 or .*-M-v1.0 or off",
        ),
        (1, {"offload": True}, 0.5, "needs about 1.3 GB .* free: max_batch: 6 would fit"),
        (2, {}, 3.5, "free: max_batch: 1 would fit"),
        (2, {}, 0.3, "no smaller choice would fit"),
    ],
)
def test_too_little_memory_names_the_choices_that_would_fit(part, changes, free, message):
    name, model, stored, unet = PARTS[part]
    with pytest.raises(ValueError, match=f"{name}: DeepFloyd.*{message}"):
        check_memory(name, model | changes, stored, unet, free * GB, "the GPU")


@pytest.mark.parametrize("free", [0.7, 1.2, 3, 6, 8, 10])
@pytest.mark.parametrize("part", PARTS, ids=[part[0] for part in PARTS])
def test_every_choice_that_is_named_fits(part, free):
    name, model, stored, unet = part
    for choice in smaller(model, stored, unet, free * GB):
        key, _, value = choice.partition(": ")
        if key in ("max_batch", "load_in_8bit"):
            check_memory(name, model | {key: json.loads(value)}, stored, unet, free * GB, "the GPU")
        elif key == "offload":
            check_memory(name, model | {key: True, "max_batch": 1}, stored, unet, free * GB, "the GPU")


def test_a_part_that_is_about_to_be_loaded_is_measured_in_its_folder(tiny_cascade):
    model = XL | {"variant": None, "dtype": "float32", "model": "tiny"}
    check_fits("stage_1", tiny_cascade / "stage_1", model, torch.device("cpu"))
    with pytest.raises(ValueError, match="stage_1: tiny in float32 needs about .* this machine has .* max_batch: "):
        check_fits("stage_1", tiny_cascade / "stage_1", model | {"max_batch": 10**8}, torch.device("cpu"))


@pytest.mark.parametrize(
    ("part", "changes", "allowed"),
    [("text_encoder", {}, False), ("text_encoder", {"load_in_8bit": True}, True), ("stage_1", {}, True)],
)
def test_a_text_encoder_goes_through_the_machines_memory(monkeypatch, part, changes, allowed):
    monkeypatch.setattr("fun.weights.memory.machine_memory", lambda: 4.5 * GB)
    monkeypatch.setattr("fun.weights.memory.free_memory", lambda device: (40 * GB, "the GPU"))
    for free, where, share in memories(part, T5 | changes, torch.device("cuda")):
        if allowed or where == "the GPU":
            check_memory(part, T5 | changes, share * 11 * GB, None, free, where)
        else:
            with pytest.raises(
                ValueError, match="5.5 GB of memory, and this machine, .*, has 4.5 GB free: load_in_8bit"
            ):
                check_memory(part, T5 | changes, share * 11 * GB, None, free, where)
    assert len(memories(part, T5 | changes, torch.device("cuda"))) == (1 if allowed else 2)


def test_parts_that_can_be_left_out_say_so(tmp_path):
    """Stage III, CLIP and the safety checker: their weights alone are counted."""
    made = {"stage_3": make_upscaler(tmp_path / "x4"), "clip_judge": make_clip(tmp_path / "clip")}
    made["safety_checker"] = make_safety(tmp_path / "safety")
    said = {
        "stage_3": "stage_3: null or offload: true",
        "clip_judge": "clip_judge: null",
        "safety_checker": "device: cpu",
    }
    for part, folder in made.items():
        variant = "fp16" if part == "stage_3" else None
        stored = stored_bytes(folder, part, variant)
        weights = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin")]
        assert stored == sum(path.stat().st_size for path in weights if path.parent.name != "watermarker") > 1000
        model = {"model": part, "variant": variant, "dtype": "float16" if variant else "float32"}
        check_memory(part, model, stored, None, stored, "the GPU")
        with pytest.raises(ValueError, match=f"^{part}: .* free: {said[part]} would fit"):
            check_memory(part, model, stored, None, stored - 1, "the GPU")


def test_the_machine_says_how_much_it_has():
    assert 10**8 < machine_memory() < 10**14


def test_without_a_gpu_large_weights_are_warned_of(tiny_cascade, tmp_path):
    """As before a run; the weights are a sparse file."""
    folder = tmp_path / "stage_1/unet"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes((tiny_cascade / "stage_1/unet/config.json").read_bytes())
    shutil.copytree(tiny_cascade / "stage_1/scheduler", tmp_path / "stage_1/scheduler")
    with open(folder / "diffusion_pytorch_model.safetensors", "wb") as file:
        file.truncate(3 * GB)
    model = XL | {"variant": None, "model": "large"}
    plan = {"fetch": [], "fetched": [], "load": {"stage_1": (model, str(tmp_path / "stage_1"))}}
    plan |= {"device": "cpu", "here": True, "embeds": None, "prompts": {}}
    assert run_preflight(plan) == ["stage_1: without a GPU large takes minutes per step, hours per picture"]
    with pytest.raises(ValueError, match="nowhere/stage_1/unet/config.json"):
        run_preflight(plan | {"load": {"stage_1": (model, "nowhere/stage_1")}})


NOTHING = {"fetch": [], "fetched": [], "load": {}, "device": "cpu", "here": False, "embeds": None, "prompts": {}}


def test_a_part_that_was_gone_is_told_again_in_any_locale(tmp_path, monkeypatch):
    path = tmp_path / "stage_3_1.json"
    save_fetched(path, {"stage_3": {"gone": "there is no repository 日本/x4"}})
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    said = f"stage_3 is left out: there is no repository 日本/x4 (delete {path} to ask the hub again)"
    assert run_preflight(NOTHING | {"fetched": [str(path)], "load": {"stage_3": (XL, None)}}) == [said]


@pytest.mark.parametrize("vocabulary", ["spiece.model", "tokenizer.json"])
def test_prompts_are_counted_if_there_is_a_vocabulary_to_count_with(tiny_cascade, tmp_path, monkeypatch, vocabulary):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = repository(T5["model"]) / "snapshots" / ("a" * 40) / "tokenizer"
    shutil.copytree(tiny_cascade / "stage_1/tokenizer", folder)
    (folder / "spiece.model").rename(folder / vocabulary)
    entry = {"model": T5["model"], "revision": "main", "commit": "a" * 40, "files": {}}
    save_fetched(tmp_path / "text_encoder_1.json", {"text_encoder": entry})
    plan = {"fetched": [tmp_path / "text_encoder_1.json"], "prompts": {"long": ["red " * 9]}}
    plan |= {"load": {"text_encoder": (T5 | {"truncate": False, "max_length": 4}, None)}}
    assert len(preflight(**NOTHING | plan)) == (vocabulary == "spiece.model")
