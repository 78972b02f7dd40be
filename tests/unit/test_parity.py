"""Our stages against diffusers' pipelines, on a cascade of random weights, with the same noise."""

import pytest
import torch
from diffusers import IFImg2ImgPipeline, IFPipeline, IFSuperResolutionPipeline

from fun.diffusion.cascade import load_stage
from fun.diffusion.experiments import image_to_image, text_to_image
from fun.diffusion.sampler import Sampler
from fun.diffusion.text_encoder import load_text_encoder
from tiny_cascade import make_cascade

STEPS = 30
SEEDS = [180, 7, 3]
PROMPTS = ["A red one", "a blue five ", ""]
CPU = torch.device("cpu")
SETTINGS = {"grid": 16, "sampler": "ddpm", "steps": STEPS, "variance": "learned", "thresholding": True}


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def cascade(request, tmp_path_factory):
    return make_cascade(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def embeds(cascade):
    encoder = load_text_encoder(cascade / "stage_1", 77, None, torch.float32, CPU)
    return {prompt.lower().strip(): encoder.encode(prompt) for prompt in PROMPTS}


def pipeline_inputs(embeds, guidance_scale, samples, negative_prompt=""):
    """What diffusers' pipelines need to make the same samples."""
    return {
        "prompt_embeds": torch.stack([embeds[sample["prompt"].lower().strip()] for sample in samples]),
        "negative_prompt_embeds": torch.stack([embeds[negative_prompt]] * len(samples)),
        "generator": [torch.Generator().manual_seed(sample["seed"]) for sample in samples],
        "guidance_scale": guidance_scale,
        "output_type": "pt",
    }


def make_samples(**extra):
    return [{"prompt": prompt, "seed": seed} | extra for prompt, seed in zip(PROMPTS, SEEDS, strict=True)]


def load_pipeline(kind, folder):
    pipeline = kind.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def difference(ours, theirs):
    """The largest difference; also checks that both pictures are worth comparing."""
    assert ours.shape == theirs.shape and theirs.std() > 0.1
    return (ours - theirs).abs().max().item()


def test_embeddings(cascade, embeds):
    pipeline = load_pipeline(IFPipeline, cascade / "stage_1")
    theirs, empty = pipeline.encode_prompt(PROMPTS)
    for prompt, embed in zip(PROMPTS, theirs, strict=True):
        assert (embeds[prompt.lower().strip()] - embed).abs().max() < 1e-5
    assert (embeds[""] - empty[0]).abs().max() < 1e-5


@pytest.mark.parametrize("spacing", ["leading", "linspace"])
@pytest.mark.parametrize("guidance_scale", [1.0, 7.0])
def test_stage_1(cascade, embeds, guidance_scale, spacing):
    pipeline = load_pipeline(IFPipeline, cascade / "stage_1")
    pipeline.scheduler.register_to_config(timestep_spacing=spacing)
    inputs = pipeline_inputs(embeds, guidance_scale, make_samples())
    theirs = pipeline(**inputs, num_inference_steps=STEPS).images

    stage = load_stage(cascade / "stage_1", None, None, torch.float32, CPU)
    sampler = Sampler(stage, embeds, **SETTINGS, spacing=spacing, guidance_scale=guidance_scale)
    ours = text_to_image(sampler, make_samples(), None)["x_0"]
    assert difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("noise_level", [250, 0])
@pytest.mark.parametrize("guidance_scale", [1.0, 7.0])
def test_stage_2(cascade, embeds, guidance_scale, noise_level):
    low = torch.rand(3, 3, 16, 16) * 2 - 1
    pipeline = load_pipeline(IFSuperResolutionPipeline, cascade / "stage_2")
    inputs = pipeline_inputs(embeds, guidance_scale, make_samples())
    theirs = pipeline(**inputs, image=low, num_inference_steps=STEPS, noise_level=noise_level).images

    stage = load_stage(cascade / "stage_2", noise_level, None, torch.float32, CPU)
    sampler = Sampler(stage, embeds, **SETTINGS, spacing="leading", guidance_scale=guidance_scale)
    ours = text_to_image(sampler, make_samples(), low)["x_0"]
    assert difference(ours, theirs) < 1e-4


def test_negative_prompt(cascade, embeds):
    """In both stages: what guidance leads away from instead of the empty prompt."""
    for folder, kind, noise_level in (("stage_1", IFPipeline, None), ("stage_2", IFSuperResolutionPipeline, 250)):
        low = None if noise_level is None else torch.rand(3, 3, 16, 16) * 2 - 1
        pipeline = load_pipeline(kind, cascade / folder)
        inputs = pipeline_inputs(embeds, 7.0, make_samples(), "a blue five")
        inputs |= {} if low is None else {"image": low, "noise_level": noise_level}
        theirs = pipeline(**inputs, num_inference_steps=STEPS).images

        stage = load_stage(cascade / folder, noise_level, None, torch.float32, CPU)
        how = SETTINGS | {"spacing": "leading", "guidance_scale": 7.0}
        ours = text_to_image(Sampler(stage, embeds, **how, negative_prompt="A blue five"), make_samples(), low)["x_0"]
        assert difference(ours, theirs) < 1e-4
        assert difference(text_to_image(Sampler(stage, embeds, **how), make_samples(), low)["x_0"], theirs) > 1e-3


@pytest.mark.parametrize("guidance_scale", [1.0, 7.0])
def test_image_to_image(cascade, embeds, guidance_scale, tmp_path):
    pipeline = load_pipeline(IFImg2ImgPipeline, cascade / "stage_1")
    samples = make_samples(start=690)
    image = torch.rand(3, 16, 16) * 2 - 1
    inputs = pipeline_inputs(embeds, guidance_scale, samples)
    timesteps = list(range(690, -1, -30))
    theirs = pipeline(**inputs, image=image.expand(3, -1, -1, -1), timesteps=timesteps, strength=1.0).images

    stage = load_stage(cascade / "stage_1", None, None, torch.float32, CPU)
    settings = SETTINGS | {"steps": 33, "spacing": "stride", "guidance_scale": guidance_scale}

    class SamplerOfTensors(Sampler):
        def image(self, path):
            return path[None]

    ours = image_to_image(SamplerOfTensors(stage, embeds, **settings), samples, None, image=image, invert=False)["x_0"]
    assert difference(ours, theirs) < 1e-4
