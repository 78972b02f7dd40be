"""Time our sampling loop against the bare network, against diffusers' pipelines, and against a call for each view."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

import pandas as pd
import torch
from diffusers import IFPipeline, IFSuperResolutionPipeline

from fun.benchmarking.pipelines import draw_with
from fun.benchmarking.rates import in_turn, pin_to_one_core
from fun.data.files import write_whole
from fun.diffusion.cascade import load_stage
from fun.diffusion.digits import generate
from fun.diffusion.experiments import make_samples, run
from fun.diffusion.sampler import Sampler
from fun.diffusion.schedule import NoiseSchedule
from fun.diffusion.text_encoder import load_text_encoder
from fun.networks.mnist_unets import SmallUNet

torch.set_num_threads(1)
pin_to_one_core()
params, folder, cpu = snakemake.params, Path(snakemake.params.folder), torch.device("cpu")
STEPS, SEEDS, PROMPT = params.steps, list(range(8)), "a red seven on a white background"
VIEWS = ["identity", "rotate_180", "flip_vertical", "negate"]
encoder = load_text_encoder(folder / "stage_1", 77, None, torch.float32, cpu)
embeds = {prompt: encoder.encode(prompt) for prompt in ("", PROMPT)}
rows = []


def record(what, against, seconds):
    """Add a row for each round: our seconds and the other's."""
    ours, other = seconds
    rows.extend(
        {"what": what, "against": against, "seconds": a, "other_seconds": b}
        for a, b in zip(seconds[ours], seconds[other], strict=True)
    )


def sampler(stage, guidance):
    how = {"sampler": "ddpm", "steps": STEPS, "spacing": "leading", "variance": "learned", "thresholding": True}
    return Sampler(stage, embeds, 16, guidance_scale=guidance, **how)


def text_to_image(sampler, low=None, seeds=SEEDS):
    experiment = {"task": "text_to_image", "prompts": [PROMPT], "seeds": seeds}
    return run("text_to_image", experiment, sampler, make_samples("text_to_image", experiment), low)["x_0"]


def anagram(sampler, views, seeds=SEEDS):
    views = [{"view": view, "prompt": PROMPT, "seed": 0} for view in views]
    return run("visual_anagram", {"views": views, "away": 0}, sampler, [{"seed": seed} for seed in seeds])["x_0"]


# --- denoise() against the network alone, on the same batch ---

stages = {"stage I": (folder / "stage_1", None, 3.0), "stage II": (folder / "stage_2", 50, 4.0)}
for name, (path, noise_level, guidance) in stages.items():
    stage = load_stage(path, noise_level, None, torch.float32, cpu)
    low = None if noise_level is None else torch.rand(len(SEEDS), 3, 16, 16) * 2 - 1
    unet, size = stage.network.unet, stage.size
    x = torch.randn(2 * len(SEEDS), unet.config.in_channels, size, size)
    halves = torch.arange(2).repeat_interleave(len(SEEDS))
    with torch.no_grad():
        prompts = unet.read_prompts(torch.stack([embeds[""], embeds[PROMPT]]), halves)

    def bare(unet=unet, x=x, prompts=prompts, level=noise_level):
        with torch.no_grad():
            for t in range(900, 0, -900 // STEPS):
                unet(x, t, prompts, level)

    ours = sampler(stage, guidance)
    works = {"ours": lambda ours=ours, low=low: text_to_image(ours, low), "bare": bare}
    record(f"a step of denoise(), {name}", "the network alone", in_turn(works, params.repeats))

digits = SmallUNet(NoiseSchedule.cosine(300), class_conditioned=True).eval()
x, t = torch.randn(200, 1, 28, 28), torch.arange(299, -1, -300 // STEPS)
labels = torch.arange(200) % 10


def draw_digits():
    for _ in generate(digits, labels[:100], range(100), "ddim", "trailing", STEPS, 2.0):
        pass


def bare_digits():
    with torch.no_grad():
        for step in t.tolist():
            digits.predict(x, step, labels)


record(
    "a step of denoise(), MNIST",
    "the network alone",
    in_turn({"ours": draw_digits, "bare": bare_digits}, params.repeats),
)

# --- against diffusers' pipelines: eight seeds, guided ---

low = torch.rand(len(SEEDS), 3, 16, 16) * 2 - 1
for kind, (path, noise_level, guidance) in zip((IFPipeline, IFSuperResolutionPipeline), stages.values(), strict=True):
    pipeline = kind.from_pretrained(path, torch_dtype=torch.float32, use_safetensors=True)
    ours = sampler(load_stage(path, noise_level, None, torch.float32, cpu), guidance)

    def theirs(seeds, pipeline=pipeline, noise_level=noise_level, guidance=guidance):
        image = {} if noise_level is None else {"image": low[seeds], "noise_level": noise_level}
        return draw_with(pipeline, embeds[PROMPT], embeds[""], seeds, STEPS, guidance_scale=guidance, **image)

    works = {
        "ours": lambda ours=ours, small=None if noise_level is None else low: text_to_image(ours, small),
        "together": lambda theirs=theirs: theirs(SEEDS),
        "alone": lambda theirs=theirs: [theirs([seed]) for seed in SEEDS],
    }
    seconds = in_turn(works, params.repeats)
    for way, words in (("together", "eight seeds in one call"), ("alone", "a call for each seed")):
        record(f"eight pictures, {kind.__name__}", words, {"ours": seconds["ours"], way: seconds[way]})

# --- anagrams against a call of the network for each view ---

stage = load_stage(*stages["stage I"][:2], None, torch.float32, cpu)
ours = sampler(stage, 3.0)
cond = {n: torch.stack([embeds[""]] * n + [embeds[PROMPT]] * n) for n in (1, len(SEEDS))}


def view_by_view(number_of_views, seeds):
    """The cost of the network when each view is a call of its own; the rest of a step is left out, in its favour."""
    x = torch.randn(2 * seeds, 3, 16, 16)
    for _ in range(STEPS * number_of_views):
        stage.network(x, 500, cond[seeds])


for n in (2, 4):
    works = {
        "ours": lambda n=n: anagram(ours, VIEWS[:n]),
        "together": lambda n=n: view_by_view(n, len(SEEDS)),
        "alone": lambda n=n: [view_by_view(n, 1) for _ in SEEDS],
    }
    seconds = in_turn(works, params.repeats)
    for way, words in (("together", "a call for each view"), ("alone", "a call for each view and seed")):
        record(f"eight anagrams of {n} views", words, {"ours": seconds["ours"], way: seconds[way]})

write_whole(snakemake.output[0], pd.DataFrame(rows).to_csv(index=False))
