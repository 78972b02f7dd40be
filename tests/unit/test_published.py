"""Our anagrams and hybrids against the published loop, on the miniature: Visual Anagrams (Geng et al. 2024,
https://arxiv.org/abs/2311.17919) and Factorized Diffusion (https://arxiv.org/abs/2404.11615), written here from the papers, with
diffusers' scheduler taking the steps."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel

from fun.diffusion.cascade import load_stage
from fun.diffusion.experiments import colour_hybrid, hybrid_image, motion_hybrid, text_to_image, visual_anagram
from fun.diffusion.filters import gaussian_blur, grey, motion_blur
from fun.diffusion.sampler import Sampler
from fun.diffusion.text_encoder import load_text_encoder
from project import PROJECT

MINIATURE = PROJECT / "resources/miniature"
CPU = torch.device("cpu")
STEPS, SEEDS, NOISE_LEVEL = 8, (180, 7), 50
SETTINGS = {"grid": 16, "sampler": "ddpm", "steps": STEPS, "variance": "learned", "thresholding": True}
SAMPLES = [{"seed": seed} for seed in SEEDS]
PROMPTS = ("a red six on a white background", "a blue nine on a yellow background", "a green two on a black background")
# (view, its inverse, its inverse for the variance, which has no sign)
VIEWS = {
    "identity": (lambda x: x,) * 3,
    "flip_vertical": (lambda x: x.flip(-2),) * 3,
    "rotate_180": (lambda x: x.rot90(2, (-2, -1)),) * 3,
    "rotate_90_cw": (lambda x: x.rot90(-1, (-2, -1)), *(lambda x: x.rot90(1, (-2, -1)),) * 2),
    "negate": (lambda x: -x, lambda x: -x, lambda x: x),
}


@pytest.fixture(scope="module")
def embeds():
    encoder = load_text_encoder(MINIATURE / "stage_1", 77, None, torch.float32, CPU)
    return {prompt: encoder.encode(prompt) for prompt in ("", *PROMPTS)}


@pytest.fixture(scope="module", params=["stage_1", "stage_2"])
def stage(request):
    """(name, our stage, the small pictures that it enlarges, if any)."""
    low = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1
    first = request.param == "stage_1"
    ours = load_stage(MINIATURE / request.param, None if first else NOISE_LEVEL, None, torch.float32, CPU)
    return request.param, ours, None if first else low


def published(name, embeds, branches, combine, guidance, low=None, given=None):
    """The papers' sampler. branches: (name of a view, prompt) of each; combine: the noises of all branches -> one; given: a
    picture, and the filter whose part of it is put into x before each call of the network (inverse hybrids)."""
    unet = UNet2DConditionModel.from_pretrained(MINIATURE / name / "unet", dtype=torch.float32).eval()
    scheduler = DDPMScheduler.from_pretrained(MINIATURE / name, subfolder="scheduler")
    scheduler.set_timesteps(STEPS)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    size = unet.config.sample_size

    def draw():
        return torch.stack([torch.randn(3, size, size, generator=generator) for generator in generators])

    x, beside, level = draw(), [], None
    if low is not None:
        enlarged = F.interpolate(low, (size, size), mode="bilinear", align_corners=True)
        noising = DDPMScheduler.from_pretrained(MINIATURE / name, subfolder="image_noising_scheduler")
        beside = [noising.add_noise(enlarged, draw(), torch.tensor([NOISE_LEVEL]))]
        level = torch.full((2 * len(SEEDS),), NOISE_LEVEL)
    for t in scheduler.timesteps:
        if given is not None:
            picture, part = given
            x = part(scheduler.add_noise(picture.expand_as(x), draw(), t[None])) + x - part(x)
        noises, variances = [], []
        for view_name, prompt in branches:
            view, inverse, inverse_variance = VIEWS[view_name]
            seen = view(torch.cat([x, *beside], 1))
            cond = torch.stack([embeds[""]] * len(SEEDS) + [embeds[prompt]] * len(SEEDS))
            with torch.no_grad():
                output = unet(torch.cat([seen, seen]), t, cond, class_labels=level, return_dict=False)[0]
            (noise_u, noise_c), variance = output[:, :3].chunk(2), output.chunk(2)[1][:, 3:]
            noises.append(inverse(noise_u + guidance * (noise_c - noise_u)))
            variances.append(inverse_variance(variance))
        estimate = torch.cat([combine(noises), torch.stack(variances).mean(0)], 1)
        x = scheduler.step(estimate, t, x, generator=generators, return_dict=False)[0]
    return x


def mean(noises):
    return torch.stack(noises).mean(0)


def sampler(stage, embeds, guidance):
    return Sampler(stage, embeds, **SETTINGS, spacing="leading", guidance_scale=guidance)


@pytest.mark.parametrize(
    "views",
    [
        ("identity", "flip_vertical"),
        ("identity", "rotate_180"),
        ("identity", "rotate_90_cw"),
        ("identity", "negate"),
        ("identity", "rotate_180", "negate"),
    ],
    ids="-".join,
)
def test_an_anagram_is_the_papers(stage, embeds, views):
    name, ours, low = stage
    branches = list(zip(views, PROMPTS, strict=False))
    theirs = published(name, embeds, branches, mean, 3.0, low)
    entries = [{"view": view, "prompt": prompt, "seed": 0} for view, prompt in branches]
    drawn = visual_anagram(sampler(ours, embeds, 3.0), SAMPLES, low, views=entries, away=0)["x_0"]
    assert theirs.std() > 0.1 and (drawn - theirs).abs().max() < 1e-4


def hybrid(kind, size, **more):
    """The filter of each kind of hybrid with two parts, the function that draws it, and the entries of that."""
    pixel = size // 16  # one of stage I
    kinds = {
        "frequency": (partial(gaussian_blur, sigma=pixel), hybrid_image, {"sigmas": [1.0], "kernel_size": None}),
        "colour": (grey, colour_hybrid, {}),
        "motion": (partial(motion_blur, length=4 * pixel, angle=45), motion_hybrid, {"length": 4, "angle": 45}),
    }
    first, draw, entries = kinds[kind]
    return first, partial(draw, **entries, **more)


@pytest.mark.parametrize("kind", ["frequency", "colour", "motion"])
def test_a_hybrid_is_the_papers(stage, embeds, kind):
    name, ours, low = stage
    first, draw = hybrid(kind, ours.size, prompts=list(PROMPTS[:2]), image=None)

    def combined(noises):
        return first(noises[0]) + noises[1] - first(noises[1])

    theirs = published(name, embeds, [("identity", prompt) for prompt in PROMPTS[:2]], combined, 3.0, low)
    drawn = draw(sampler(ours, embeds, 3.0), SAMPLES, low)["x_0"]
    assert theirs.std() > 0.1 and (drawn - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["frequency", "colour", "motion"])
def test_an_inverse_hybrid_is_the_papers_and_has_the_picture_in_the_end(stage, embeds, kind):
    """The paper's code puts the picture's part back before each call, ours after the last one, too."""
    name, ours, low = stage
    path = str(PROJECT / "resources/images/three.png")
    first, draw = hybrid(kind, ours.size, prompts=[PROMPTS[1]], image=path)
    picture = sampler(ours, embeds, 3.0).image(path)
    theirs = published(name, embeds, [("identity", PROMPTS[1])], mean, 3.0, low, given=(picture, first))
    drawn = draw(sampler(ours, embeds, 3.0), SAMPLES, low)["x_0"]
    assert theirs.std() > 0.1 and (drawn - (theirs + first(picture - theirs))).abs().max() < 1e-4
    if kind == "colour":
        assert (grey(drawn) - grey(picture)).abs().max() < 1e-5  # grey once is grey for ever; a blur is not


@pytest.mark.parametrize("guidance", [1.0, 3.0, 7.0])
def test_an_anagram_of_equal_views_is_the_picture_of_its_prompt(stage, embeds, guidance):
    _, ours, low = stage
    entries = [{"view": "identity", "prompt": PROMPTS[0], "seed": 0}] * 2
    anagram = visual_anagram(sampler(ours, embeds, guidance), SAMPLES, low, views=entries, away=0)["x_0"]
    samples = [sample | {"prompt": PROMPTS[0]} for sample in SAMPLES]
    picture = text_to_image(sampler(ours, embeds, guidance), samples, low)["x_0"]
    # Another batch rounds otherwise, and guidance multiplies that.
    assert (anagram - picture).abs().max() < 1e-5 * guidance
