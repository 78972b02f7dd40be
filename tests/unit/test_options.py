"""The optional parts of a cascade: stage III, IF's safety checker and watermark, CLIP as a judge, less memory."""

import itertools

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionUpscalePipeline
from diffusers.pipelines.deepfloyd_if import IFWatermarker
from PIL import Image
from transformers import CLIPModel

from fun.data.images import to_picture
from fun.data.layout import stored_as
from fun.diffusion.cascade import load_stage
from fun.diffusion.filters import gaussian_blur, grey, motion_blur
from fun.diffusion.text_encoder import load_text_encoder
from fun.judging.clip import load_clip
from fun.judging.clip_readings import alignment, concealment, judge_by_clip, rank_seeds
from fun.judging.readings import readings_of
from fun.weights.hub import Part, needed
from fun.weights.safety import black_out, mark, paste_watermark
from fun.weights.safety_checker import SafetyChecker, load_checker, load_watermark
from fun.weights.upscaler import load_upscaler, shown_prompt, upscale
from tiny_cascade import make_cascade
from tiny_options import make_clip, make_safety, make_upscaler

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    make_upscaler(folder / "upscaler")
    make_safety(folder / "safety")
    make_clip(folder / "clip")
    make_cascade(folder / "cascade")
    return folder


@pytest.fixture(scope="module")
def clip(folder):
    return load_clip(folder / "clip", None, CPU)


def pictures(n, size=32, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# --- which files are weights ---


@pytest.mark.parametrize(
    "names, variant, stored",
    [
        (["model.safetensors", "model.fp16.safetensors"], "fp16", ("fp16", True)),
        (["model.safetensors", "model.fp16.safetensors"], None, (None, True)),
        (["model.safetensors", "pytorch_model.fp16.bin"], "fp16", (None, True)),
        (["model.fp16-00001-of-00002.safetensors", "config.json"], "fp16", ("fp16", True)),
        (["model-00001-of-00002.fp16.safetensors"], "fp16", ("fp16", True)),
        (["pytorch_model.bin", "pytorch_model.fp16.bin"], "fp16", ("fp16", False)),
        (["pytorch_model.bin", "tf_model.h5"], "fp16", (None, False)),
        (["pytorch_model.bin", "open_clip_model.safetensors"], None, (None, False)),
    ],
)
def test_weights_are_taken_as_they_are_stored(names, variant, stored):
    assert tuple(stored_as(names, variant).values()) == stored


@pytest.mark.parametrize(
    "names",
    [[], ["config.json"], ["model.fp16.safetensors"], ["x4-upscaler-ema.ckpt"], ["open_clip_model.safetensors"]],
)
def test_files_without_weights_are_refused(names):
    with pytest.raises(ValueError, match="there are no weights among"):
        stored_as(names, "bf16")


LISTED = {
    "stage_3": """.gitattributes README.md model_index.json x4-upscaler-ema.ckpt x4-upscaler-ema.safetensors
        low_res_scheduler/scheduler_config.json scheduler/scheduler_config.json tokenizer/merges.txt tokenizer/vocab.json
        tokenizer/tokenizer_config.json text_encoder/config.json text_encoder/model.safetensors text_encoder/model.fp16.safetensors
        text_encoder/pytorch_model.bin unet/config.json unet/diffusion_pytorch_model.safetensors unet/diffusion_pytorch_model.bin
        unet/diffusion_pytorch_model.fp16.safetensors vae/config.json vae/diffusion_pytorch_model.fp16.safetensors""",
    "clip_judge": """.gitattributes README.md config.json flax_model.msgpack merges.txt preprocessor_config.json pytorch_model.bin
        tf_model.h5 tokenizer.json tokenizer_config.json vocab.json""",
    "safety_checker": """safety_checker/config.json safety_checker/model.safetensors safety_checker/pytorch_model.bin
        safety_checker/pytorch_model.fp16.bin feature_extractor/preprocessor_config.json unet/config.json
        unet/diffusion_pytorch_model.fp16.safetensors IF-I-XL-v1.0.ckpt""",
}
FETCHED = {
    "stage_3": {"text_encoder/model.fp16", "unet/diffusion_pytorch_model.fp16", "vae/diffusion_pytorch_model.fp16"},
    "clip_judge": {"pytorch_model"},
    "safety_checker": {"safety_checker/model"},
}


@pytest.mark.parametrize("part", LISTED)
def test_of_a_repository_only_what_is_loaded_is_fetched(part):
    listed = LISTED[part].split()
    chosen = needed(Part(part, "somebody/something", "main", "fp16"), listed)
    weights = {
        path.removesuffix(".safetensors").removesuffix(".bin")
        for path in chosen
        if path.endswith((".safetensors", ".bin"))
    }
    assert weights == FETCHED[part]
    small = {path for path in listed if path.endswith((".json", ".txt")) and path != "unet/config.json"}
    assert small <= set(chosen) and len(chosen) == len(set(chosen))
    assert set(chosen) - small <= {"unet/config.json", *(path for path in listed if path.startswith(tuple(weights)))}


# --- stage III ---


def test_stage_3_is_the_pipeline_of_diffusers_seeded(folder):
    picture, entries = pictures(1)[0], {"steps": 3, "guidance_scale": 9.0, "noise_level": 100}
    ours = upscale(load_upscaler(folder / "upscaler", "fp16", torch.float32, CPU), picture, "a dog", 5, **entries)
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(
        folder / "upscaler", variant="fp16", dtype=torch.float32, local_files_only=True
    )
    theirs = pipeline(
        "a dog", image=to_picture(picture.numpy()), num_inference_steps=3, guidance_scale=9.0, noise_level=100,
        generator=torch.Generator().manual_seed(5), output_type="pil",
    ).images[0]  # fmt: skip
    assert ours.shape == (3, 128, 128) and ours.dtype == torch.float32
    # theirs is rounded to 8 bits before and after
    assert np.abs(np.asarray(to_picture(ours.numpy()), dtype=int) - np.asarray(theirs, dtype=int)).mean() < 2


def test_stage_3_in_half_precision_depends_on_the_seed_alone(folder):
    pipeline = load_upscaler(folder / "upscaler", "fp16", torch.float16, CPU)
    entries = {"steps": 2, "guidance_scale": 1.0, "noise_level": 0}
    first, again, other = (upscale(pipeline, pictures(1)[0], "a dog", seed, **entries) for seed in (1, 1, 2))
    assert first.isfinite().all() and torch.equal(first, again) and not torch.equal(first, other)


def test_stage_3_is_told_the_first_view_or_the_finest_band():
    views = [{"view": "identity", "prompt": "a"}, {"view": "negate", "prompt": "b"}]
    assert shown_prompt({"seed": 0}, {"views": views}) == "a"
    assert shown_prompt({"seed": 0}, {"prompts": ["far", "near"], "sigmas": [2.0]}) == "near"
    assert shown_prompt({"seed": 0, "prompt": "mine"}, {"prompts": ["yours", "mine"]}) == "mine"


# --- safety checker and watermark ---


@pytest.mark.parametrize("objects_to", [0.0, 1.0])
def test_the_checker_says_what_it_would_black_out(tmp_path, objects_to):
    check = load_checker(make_safety(tmp_path, objects_to), "fp16", CPU)
    assert check(pictures(3, 64)).tolist() == [objects_to == 1] * 3
    assert check(pictures(0, 64)).tolist() == []


def test_the_checker_sees_a_few_pictures_at_a_time(tmp_path, monkeypatch):
    seen = []
    check = load_checker(make_safety(tmp_path, 1.0), "fp16", CPU)
    forward = SafetyChecker.forward
    monkeypatch.setattr(
        SafetyChecker, "forward", lambda self, **given: seen.append(len(given["images"])) or forward(self, **given)
    )
    assert check(pictures(40, 16)).tolist() == [True] * 40
    assert sum(seen) == 40 and max(seen) <= 16


def test_a_checker_without_all_its_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    path = make_safety(tmp_path) / "safety_checker/model.safetensors"
    weights = load_file(path)
    del weights["p_head.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="safety_checker lacks weights: p_head.weight"):
        load_checker(tmp_path, None, CPU)


def test_black_is_what_a_network_drew_of_the_flagged_samples_and_nothing_else():
    drawn = {name: pictures(3, 8, i).numpy() for i, name in enumerate(("x_0", "one_step", "noisy"))}
    drawn |= {"original": pictures(1, 8).numpy(), "states": pictures(5, 8).numpy(), "psnr_x_0": np.ones(3)}
    samples = [{"timestep": 250}, {"timestep": 750}, {"timestep": 750}]
    shown = black_out(drawn, samples, np.array([False, False, True]))
    for name in ("x_0", "one_step"):
        assert (shown[name][2] == -1).all() and np.array_equal(shown[name][:2], drawn[name][:2])
    for name in ("noisy", "original", "states", "psnr_x_0"):
        assert np.array_equal(shown[name], drawn[name])
    assert (black_out(drawn, samples, np.array([False, True, False]))["states"] == -1).all()  # the first at t = 750


@pytest.mark.parametrize(
    "samples",
    [[{"timestep": 0.25}, {"timestep": 0.75}], [{"prompt": "a"}, {"prompt": "b"}]],
    ids=["flow", "text_to_image"],
)
def test_the_steps_of_the_flagged_sample_are_black_too(samples):
    """On a flow the smaller time is the noisier; a picture from pure noise has its first sample's steps."""
    drawn = {"x_0": pictures(2, 8).numpy(), "states": pictures(5, 8).numpy(), "estimates": pictures(5, 8).numpy()}
    for flagged in ([True, False], [False, True]):
        shown = black_out(drawn, samples, np.array(flagged))
        assert all((shown[name] == -1).all() == flagged[0] for name in ("states", "estimates"))


@pytest.mark.parametrize("size", [64, 256, 300, 1024])
def test_the_watermark_is_that_of_diffusers(folder, size):
    theirs = IFWatermarker.from_pretrained(folder / "safety/watermarker")
    picture = Image.effect_mandelbrot((size, size), (-2, -1, 1, 1), 50).convert("RGB")
    marked = paste_watermark(picture, load_watermark(folder / "safety", None).numpy())
    expected = theirs.apply_watermark([picture.copy()], size)[0]
    assert marked.tobytes() == expected.tobytes() != picture.tobytes()


def test_finished_pictures_have_the_watermark_and_tiny_ones_do_not(folder):
    watermark = load_watermark(folder / "safety", "fp16").numpy()
    drawn = {
        "x_0": pictures(2, 64).numpy(),
        "one_step": pictures(2, 64, 1).numpy(),
        "states": pictures(3, 64, 2).numpy(),
        "original": pictures(1, 64).numpy(),
    }
    shown = mark(drawn, watermark)
    assert np.array_equal(shown["original"], drawn["original"])
    for name in ("x_0", "one_step", "states"):
        for before, after in zip(drawn[name], shown[name], strict=True):
            assert to_picture(after).tobytes() == paste_watermark(to_picture(before), watermark).tobytes()
    small = to_picture(pictures(1, 16)[0].numpy())
    assert paste_watermark(small, watermark).tobytes() == small.tobytes()


# --- CLIP ---


def test_cosines_are_those_of_clips_own_forward(folder, clip):
    model = CLIPModel.from_pretrained(folder / "clip").eval()
    tokens = clip.tokenizer(["a dog", "an old man"], padding=True, return_tensors="pt")
    seen = clip.extractor([to_picture(x.numpy()) for x in pictures(3, 64)], return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens, **seen).logits_per_image
    cosines = clip.embed_pictures(pictures(3, 64)) @ clip.embed_texts(["a dog", "an old man"]).T
    assert torch.allclose(cosines / clip.temperature, expected, atol=1e-4)


def test_alignment_and_concealment_by_hand():
    cosines, tau = torch.tensor([[[0.3, 0.1], [0.2, 0.25]]]), 0.07
    assert alignment(cosines).tolist() == pytest.approx([0.25])
    e = (cosines[0].double() / tau).exp()
    by_reading = (e[0, 0] / (e[0, 0] + e[0, 1]) + e[1, 1] / (e[1, 0] + e[1, 1])) / 2
    by_prompt = (e[0, 0] / (e[0, 0] + e[1, 0]) + e[1, 1] / (e[0, 1] + e[1, 1])) / 2
    assert concealment(cosines, tau).item() == pytest.approx((by_reading + by_prompt).item() / 2)


def test_readings_are_the_pictures_as_they_are_meant_to_be_seen():
    x_0, samples = pictures(2, 32), [{"seed": 0}, {"seed": 1}]
    views = [{"view": "identity", "prompt": "a", "seed": 0}, {"view": "rotate_180", "prompt": "b", "seed": 0}]
    plain, turned = readings_of({"task": "visual_anagram", "views": views}, x_0, samples, 16)
    assert torch.equal(plain.pictures, x_0) and torch.equal(turned.pictures, x_0.flip(2, 3))
    assert turned.prompts == ["b", "b"]
    hybrid = {"task": "hybrid_image", "prompts": ["far", "near"], "sigmas": [1.0]}
    far, near = readings_of(hybrid, x_0, samples, 16)
    assert torch.equal(near.pictures, x_0) and near.prompts == ["near"] * 2 and far.prompts == ["far"] * 2
    assert torch.equal(far.pictures, gaussian_blur(x_0, 2.0))  # two pixels of stage II are one of stage I
    colour = {"task": "colour_hybrid", "prompts": ["grey", "coloured"]}
    without, coloured = readings_of(colour, x_0, samples, 16)
    assert torch.equal(without.pictures, grey(x_0)) and torch.equal(coloured.pictures, x_0)
    motion = {"task": "motion_hybrid", "prompts": ["moved", "still"], "length": 3, "angle": 90}
    moved, still = readings_of(motion, x_0, samples, 16)
    assert torch.equal(moved.pictures, motion_blur(x_0, 6, 90)) and torch.equal(still.pictures, x_0)
    for inverse in (hybrid | {"prompts": ["b"]}, colour | {"prompts": ["b"]}, motion | {"prompts": ["b"]}):
        (whole,) = readings_of(inverse, x_0, samples, 16)  # the other part shows the user's picture
        assert torch.equal(whole.pictures, x_0) and whole.prompts == ["b", "b"]
    pairs = {"task": "prompt_pairs", "view": "rotate_180", "view_seed": 0}
    first, second = readings_of(pairs, x_0, [{"pair": ["a", "b"]}, {"pair": ["c", "d"]}], 16)
    assert torch.equal(second.pictures, x_0.flip(2, 3)) and (first.prompts, second.prompts) == (["a", "c"], ["b", "d"])


def test_a_sample_succeeds_when_each_reading_is_nearest_to_its_own_prompt(clip):
    prompts, x_0 = ["a dog", "an old man"], pictures(8, 64)
    samples = [{"prompt": prompt, "seed": seed} for prompt in prompts for seed in range(4)]
    judged = judge_by_clip(clip, {"task": "text_to_image", "prompts": prompts}, x_0, samples, 64)
    cosines = clip.embed_pictures(x_0) @ clip.embed_texts(prompts).T
    own = torch.tensor([0] * 4 + [1] * 4)
    assert judged["success"] == (cosines.argmax(1) == own).tolist() and len(set(judged["success"])) == 2
    rate, score = judged["metrics"]
    assert rate["value"] == sum(judged["success"]) / 8 and rate["n"] == 8
    assert score["value"] == pytest.approx(cosines[range(8), own].mean().item())


def test_clip_tells_what_it_reads_under_each_view(clip):
    views = [{"view": "identity", "prompt": "a dog", "seed": 0}, {"view": "negate", "prompt": "an old man", "seed": 0}]
    x_0, samples = pictures(8, 64), [{"seed": seed} for seed in range(8)]
    judged = judge_by_clip(clip, {"views": views}, x_0, samples, 64)
    for view, reading, picture in zip(views, judged["readings"], (x_0, -x_0), strict=True):
        nearest = (clip.embed_pictures(picture) @ clip.embed_texts(["a dog", "an old man"]).T).argmax(1)
        assert reading["reads"] == [["a dog", "an old man"][place] for place in nearest]
        assert reading["right"] == [read == view["prompt"] for read in reading["reads"]]
    both = [all(rights) for rights in zip(*(reading["right"] for reading in judged["readings"]), strict=True)]
    assert judged["success"] == both
    shown = [metric["outcome"] for metric in judged["metrics"] if "outcome" in metric]
    assert shown == ["both", "only “a dog”", "only “an old man”", "neither"]


def test_one_prompt_alone_is_scored_but_neither_right_nor_wrong(clip):
    samples = [{"prompt": "a dog", "seed": 0, "start": start} for start in (960, 390)]
    judged = judge_by_clip(clip, {"task": "image_to_image", "prompt": "a dog"}, pictures(2), samples, 32)
    assert judged["success"] == [None, None] and judged["ranks"] == [None, None]
    assert [metric["name"] for metric in judged["metrics"]] == ["CLIP score, start 960", "CLIP score, start 390"]


def test_ranks_are_among_the_seeds_of_one_thing():
    samples = [{"prompt": p, "seed": s} for p, s in itertools.product("ab", range(2))]
    assert rank_seeds(samples, torch.tensor([0.1, 0.2, 0.4, 0.3])) == [
        "rank 2 of 2",
        "rank 1 of 2",
        "rank 1 of 2",
        "rank 2 of 2",
    ]


# --- less memory ---


@pytest.mark.parametrize("how", [{"attention": "sliced"}, {"offload": True}], ids=str)
def test_less_memory_draws_the_same(folder, how):
    x, cond = pictures(2, 16), torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(0))
    networks = [load_stage(folder / "cascade/stage_1", None, None, torch.float32, CPU, **h).network for h in ({}, how)]
    plain, sparing = (network(x, 500, cond) for network in networks)
    assert torch.allclose(plain.noise, sparing.noise, atol=1e-5) and torch.allclose(plain.v, sparing.v, atol=1e-5)


def test_8_bits_need_a_package_and_say_so(folder, monkeypatch):
    monkeypatch.setattr("fun.diffusion.text_encoder.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="load_in_8bit needs the package bitsandbytes: pip install bitsandbytes"):
        load_text_encoder(folder / "cascade/stage_1", 77, None, torch.float16, CPU, load_in_8bit=True)
