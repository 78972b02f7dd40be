"""The measurement of full-size networks, on small ones."""

import json
from functools import partial

import pytest
import torch
import yaml

from fun.benchmarking import gpu
from fun.benchmarking.full_size import LOOPS, NETWORKS, build, measure
from fun.benchmarking.sizes import unet_size
from project import PROJECT

CPU = torch.device("cpu")
ABOUT = {"GPU": "none", "torch": "2"}
SMALL = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
    "encoder_hid_dim": 16,
    "addition_embed_type_num_heads": 4,
}


@pytest.mark.parametrize(("name", "millions"), list(zip(NETWORKS, (4304.7, 371.6, 1179.1), strict=True)))
def test_the_networks_are_as_large_as_they_say(name, millions):
    assert unet_size(NETWORKS[name])[0] / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("name", ["stage I, as IF-I-XL", "stage II, about IF-II-L"])
def test_both_loops_draw_the_same_pictures_and_are_timed(name):
    config = NETWORKS[name] | SMALL
    networks = build(config, torch.float32, CPU)
    embeds = {prompt: torch.randn(77, 16) for prompt in ("", "a prompt")}
    low = torch.rand(2, 3, 8, 8) * 2 - 1 if "II" in name.split(",")[0] else None
    ours, theirs = (
        draw(network, embeds, low, batch=2, steps=3) for draw, network in zip(LOOPS.values(), networks, strict=True)
    )
    assert ours.shape == (2, 3, 16, 16) and (ours - theirs).abs().max() < 1e-3 and theirs.std() > 0.1

    rows = list(measure(name, config, torch.float32, CPU, batch=2, steps=2, rounds=2))
    assert [row["loop"] for row in rows] == ["this project", "diffusers"]
    assert all(0 < row["least"] <= row["seconds a step"] <= row["most"] for row in rows)


# --- what is measured on a GPU, here on the processor ---


@pytest.fixture
def small_parts():
    networks = {name: NETWORKS[name] | SMALL for name in ("stage I, as IF-I-XL", "stage II, about IF-II-L")}
    t5 = {
        "vocab_size": 100,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
    }
    found = gpu.parts(CPU, networks, t5, steps=2, rounds=1)
    chosen = ["correct", "text_encoder", *(name for name in found if name.startswith("fits")), "anagram"]
    config = networks["stage I, as IF-I-XL"]
    return {name: found[name] for name in chosen} | {
        "compiled": lambda: gpu.prepared(partial(torch.compile, backend="eager"), config, CPU, calls=2),
        "digits": lambda: gpu.digits(CPU, n=64),
    }


def test_what_matters_most_is_measured_first(tmp_path):
    assert list(gpu.parts(CPU))[:3] == ["correct", "text_encoder", "fits: stage I, as IF-I-XL"]
    assert len(gpu.parts(CPU)) == 2 + 3 * 3 + 4
    assert list(gpu.parts(CPU, mnist=tmp_path)) == [*gpu.parts(CPU), "good digits"]


def test_digits_are_measured_with_the_default_recipe():
    schema = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text())
    entries = schema["properties"]["mnist"]["properties"]["training"]["properties"]
    assert {name: entries[name]["default"] for name in gpu.RECIPE} == gpu.RECIPE


def test_digits_are_judged_after_seconds_and_at_the_end(short_mnist, monkeypatch):
    monkeypatch.setattr(gpu, "KEPT_AT", (0.0, 60.0))
    rows = gpu.good_digits(CPU, short_mnist[0], images_per_epoch=512, epochs=2, n=20)
    assert [(row["batch"], row["images"]) for row in rows] == [
        (batch, images) for batch in (32, 128, 512) for images in (batch, 1024)
    ]
    assert all(row["n"] == 20 and 0 <= row["class_accuracy"] <= 1 and row["seconds"] > 0 for row in rows)


def test_every_part_is_measured_once_and_a_failed_one_again(small_parts, tmp_path):
    def broken():
        raise RuntimeError("out of memory")

    begun = list(gpu.measure_parts(tmp_path, small_parts | {"text_encoder": broken}, ABOUT, minutes=5))
    assert begun == list(small_parts)
    kept = {part["part"]: part for part in json.loads((tmp_path / "gpu.json").read_text())}
    assert kept.keys() == small_parts.keys() and kept["text_encoder"]["error"] == "RuntimeError: out of memory"
    assert kept["correct"]["rows"][0] == {"stage": "stage_1", "dtype": "float32", "largest": 0, "mean": 0}
    assert kept["compiled"]["rows"][0]["seconds a call, prepared"] > 0
    table = (tmp_path / "gpu.md").read_text()
    assert "Failed: RuntimeError: out of memory" in table and "| stage | dtype | largest | mean |" in table
    assert kept["anagram"]["rows"][0]["seconds a step"] > 0 and kept["digits"]["rows"][2]["images a second"] > 0
    for expected in (["text_encoder"], []):
        assert list(gpu.measure_parts(tmp_path, small_parts, ABOUT, minutes=5)) == expected
    one = {"text_encoder": small_parts["text_encoder"]}
    assert list(gpu.measure_parts(tmp_path, one, ABOUT | {"GPU": "another"}, minutes=5)) == ["text_encoder"]
    assert "error" not in json.dumps(json.loads((tmp_path / "gpu.json").read_text()))


def test_the_time_of_deepfloyds_experiments_follows():
    said = (PROJECT / "experiments/deepfloyd.yaml").read_text().replace(",", "").replace("\n#", "")
    assert all(f"computes {count} noise" in said or f"II {count}." in said for count in gpu.ESTIMATES.values())
    row = {"loop": "this project", "batch": 8, "seconds a step": 0.8}
    part = {"part": "float16: stage I, as IF-I-XL", "seconds": 1.0, "rows": [row, row | {"loop": "diffusers"}]} | ABOUT
    *_, last, end = gpu.markdown([part]).split("\n")
    assert last == "- stage I, as IF-I-XL, at batches of 8: 18.2 minutes for experiments/deepfloyd.yaml" and end == ""


def test_no_part_is_begun_after_its_time(tmp_path):
    assert list(gpu.measure_parts(tmp_path, {"one": list}, {}, minutes=-1)) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    with pytest.raises(ValueError, match="no GPU that torch can use"):
        gpu.main([str(tmp_path)])
