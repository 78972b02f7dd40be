"""The miniature: its pictures and prompts, its training, its judge, and the weights that ship."""

import hashlib
import json
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from fun.data.mnist import load_mnist, to_uint8
from fun.data.tensors import load_tensors
from fun.data.timesteps import spaced_timesteps, timestep_pairs
from fun.diffusion.cascade import load_stage
from fun.diffusion.guidance import Branch, predict
from fun.diffusion.sampling import denoise, make_step, on_path
from fun.diffusion.schedule import Flow, NoiseSchedule
from fun.diffusion.text_encoder import load_text_encoder
from fun.miniature import pictures as miniature
from fun.miniature.judge import Judge, coloured_digits, compare, find_ink, paint_digits, read_pictures, train_judge
from fun.miniature.networks import UNETS, make_unet
from fun.miniature.pictures import BLACK, COLOURS, DIGITS, PROMPTS, UNNAMED, centred_digits, draw_batch
from fun.miniature.readings import judge_digits, named
from fun.miniature.training import CascadeTrainer, stage_1_pictures, variational_bound
from project import PROJECT

SHIPPED = PROJECT / "resources/miniature"


@pytest.fixture(scope="session")
def digits(mnist_folder):
    """The first 512 test digits, centred, and their labels."""
    images, labels = load_mnist(mnist_folder, "t10k")
    return centred_digits(to_uint8(images[:512])), labels[:512]


@pytest.fixture(scope="session")
def judge():
    judge = Judge().eval()
    judge.load_state_dict(load_tensors(SHIPPED / "judge/weights.safetensors")[0])
    return judge


# --- pictures and prompts ---


def test_digits_are_centred_and_of_one_size():
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    images[0, 2:22, 5:15] = 255  # upright, off the centre
    images[1, 10:20, 4:24] = 255  # lying on its side
    images[2, 20:24, 20:24] = 255  # a dot
    for image in centred_digits(images):
        rows, columns = (image > 127).any(1).nonzero()[:, 0], (image > 127).any(0).nonzero()[:, 0]
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert max(height, width) == 24
        assert abs(rows[0] + rows[-1] - 31) <= 1 and abs(columns[0] + columns[-1] - 31) <= 1


def test_every_prompt_says_what_it_names():
    assert len({prompt.text for prompt in PROMPTS}) == len(PROMPTS)
    assert PROMPTS[0] == ("", UNNAMED, UNNAMED, UNNAMED)
    for prompt in PROMPTS:
        found = named(prompt.text)
        if prompt[1:] == (UNNAMED,) * 3:
            assert found is None
            continue
        assert (found.digit, found.foreground) == (prompt.digit, prompt.foreground)
        # Only what the data mean by an unnamed background cannot be read from the words.
        assert found.background == prompt.background or (found.background == UNNAMED and prompt.background == BLACK)


def test_pictures_show_what_their_prompts_name(digits):
    batch = draw_batch(*digits, 200, torch.Generator().manual_seed(0))
    assert batch.pictures.shape == (200, 3, 32, 32) and batch.pictures.abs().max() <= 1
    assert (batch.foreground != batch.background).all()
    for index, digit, foreground, background in zip(*batch[1:], strict=True):
        prompt = PROMPTS[index]
        assert prompt.digit in (UNNAMED, digit)
        assert prompt.foreground in (UNNAMED, foreground)
        assert prompt.background in (UNNAMED, background)
    corner = batch.pictures[:, :, 0, 0]  # always background
    assert torch.equal((corner > 0).long() @ torch.tensor([4, 2, 1]), batch.background)


def test_the_negative_of_a_colour_is_the_colour_from_the_other_end():
    colours = torch.arange(len(COLOURS))
    assert torch.equal(-miniature.colour_values(colours), miniature.colour_values(7 - colours))


# --- training ---


def test_variational_bound_is_the_divergence_of_two_normals():
    """Compared with torch.distributions, with mean and variance from the schedule, timestep by timestep."""
    schedule, generator = NoiseSchedule.cosine(1000), torch.Generator().manual_seed(0)
    t = torch.tensor([0, 1, 300, 999])
    x_0, noise, v = (torch.randn(4, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    x_0, v = x_0.clamp(-1, 1), v.clamp(-1, 1)
    x_t = schedule.q_sample(x_0, t, noise)
    guess = noise + 0.1
    total = 0.0
    for i in range(1, 4):
        at = int(t[i])
        mean, low = schedule.q_posterior(x_0[i : i + 1], x_t[i : i + 1], at, at - 1)
        estimate = schedule.predict_x_start(x_t[i : i + 1], at, guess[i : i + 1]).clamp(-1, 1)
        mean_p, _ = schedule.q_posterior(estimate, x_t[i : i + 1], at, at - 1)
        share, high = (v[i : i + 1] + 1) / 2, schedule.stride(at, at - 1)[0]
        sigma_p = torch.exp((share * high.log() + (1 - share) * low.log()) / 2)
        q, p = torch.distributions.Normal(mean, low.sqrt()), torch.distributions.Normal(mean_p, sigma_p)
        total += torch.distributions.kl_divergence(q, p).mean() / math.log(2)
    assert torch.allclose(variational_bound(schedule, x_0, x_t, t, guess, v), total / 4, rtol=1e-9)


def test_the_variational_bound_is_finite_whatever_the_variance_where_no_noise_is_added():
    schedule, x = NoiseSchedule.cosine(1000), torch.randn(2, 3, 2, 2)
    v = torch.full((2, 3, 2, 2), -10.0).requires_grad_()
    bound = variational_bound(schedule, x, x, torch.tensor([0, 999]), x + 0.1, v)
    bound.backward()
    assert bound.isfinite() and v.grad.isfinite().all() and not v.grad[0].any()


@pytest.mark.parametrize("stage", [1, 2])
def test_training_resumes_in_the_same_bits(stage, digits):
    def trainer():
        torch.manual_seed(0)
        options = {"block_out_channels": (32,) * len(UNETS[stage]["block_out_channels"])}
        return CascadeTrainer(
            type(make_unet(stage))(**UNETS[stage] | options),
            torch.randn(len(PROMPTS), 5, 64, generator=torch.Generator().manual_seed(1)),
            bfloat16=False,
            seed=0,
            muon_lr=0.01,
            adamw_lr=2e-3,
            warm_up_steps=5,
            decay_per_epoch=0.9,
            ema=0.9,
        )

    def epoch(trainer, number):
        batch = draw_batch(*digits, 8, torch.Generator().manual_seed(number))
        pictures = stage_1_pictures(batch) if stage == 1 else batch.pictures
        return list(trainer.train_epoch(pictures, batch.prompt, 4))

    whole = trainer()
    losses = [epoch(whole, 1), epoch(whole, 2)]
    first = trainer()
    assert epoch(first, 1) == losses[0]
    second = trainer()
    second.load_state_dict(first.state_dict())
    assert epoch(second, 2) == losses[1]
    state = second.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.state_dict().items())


# --- the judge ---


def test_ink_is_the_digit_whatever_the_colours(digits):
    shown = coloured_digits(64, torch.Generator().manual_seed(0))
    pictures = paint_digits(digits[0][:64], shown, torch.Generator().manual_seed(1))
    ink, colours = find_ink(pictures)
    full = digits[0][:64].amax((1, 2), keepdim=True)  # a thin digit has no pixel of full ink
    assert torch.allclose(ink[:, 0], digits[0][:64] / full, atol=0.01)
    assert torch.equal((colours[:, :3] > 0).long() @ torch.tensor([4, 2, 1]), shown.background)


def test_the_judge_learns(digits):
    torch.manual_seed(0)
    judge = Judge(width=8)
    losses = list(train_judge(judge, *digits, steps=30, seed=0, batch_size=32))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_the_shipped_judge_reads_real_digits(judge, digits):
    asked = coloured_digits(512, torch.Generator().manual_seed(0))._replace(digit=digits[1])
    pictures = paint_digits(digits[0], asked, torch.Generator().manual_seed(1))
    for seen in (read_pictures(judge, pictures), read_pictures(judge, F.avg_pool2d(pictures, 2))):
        rates = compare(seen, asked)
        assert all(rates[what]["value"] > 0.97 for what in ("digit", "foreground", "background")), rates


def test_readings_count_what_is_seen(judge, digits):
    """Real digits in place of samples: every task counts the right ones and the wrong ones."""
    chosen = [int((digits[1] == digit).nonzero()[0]) for digit in (6, 9)]
    six, nine = (
        miniature.paint(digits[0][i : i + 1], *(miniature.colour_values(torch.tensor([c])) for c in (6, 1)))
        for i in chosen
    )
    x_0 = torch.cat([six, nine])
    six_prompt = "a yellow six on a blue background"
    made = judge_digits(
        judge,
        {"task": "text_to_image"},
        {"x_0": x_0},
        [{"prompt": six_prompt, "guidance_scale": g} for g in (1, 7)],
        16,
    )
    assert made["success"] == [True, False]
    assert made["reads"] == ["yellow six on blue", "yellow nine on blue"]
    assert [(m["name"], m["value"]) for m in made["metrics"]] == [
        ("prompt seen, guidance 1", 1.0),
        ("prompt seen, guidance 7", 0.0),
    ]
    views = [
        {"view": "identity", "prompt": six_prompt, "seed": 0},
        {"view": "negate", "prompt": "a blue six on a yellow background", "seed": 0},
    ]
    made = judge_digits(judge, {"task": "visual_anagram", "views": views}, {"x_0": x_0}, [{}, {}], 16)
    assert made["success"] == [True, False]
    assert [(m["name"], m["value"]) for m in made["metrics"][2:]] == [
        ("all readings at once", 0.5),
        (f"only “{six_prompt}”", 0.0),
        ("only “a blue six on a yellow background”", 0.0),
        ("no reading", 0.5),
    ]
    assert made["readings"] == [
        {"reads": ["yellow six on blue", "yellow nine on blue"], "right": [True, False]},
        {"reads": ["blue six on yellow", "blue nine on yellow"], "right": [True, False]},
    ]
    hybrid = {"task": "hybrid_image", "prompts": ["a six", "a nine"], "sigmas": [0.1]}
    made = judge_digits(judge, hybrid, {"x_0": x_0}, [{}, {}], 16)
    assert made["readings"] == [
        {"reads": ["six", "nine"], "right": [True, False]},  # from afar
        {"reads": ["six", "nine"], "right": [False, True]},
    ]
    assert {m["name"]: m["value"] for m in made["metrics"]}["only six from afar (σ = 0.1)"] == 0.5
    colour = {"task": "colour_hybrid", "prompts": ["a six", "a nine"]}
    made = judge_digits(judge, colour, {"x_0": x_0}, [{}, {}], 16)
    assert made["readings"][1]["right"] == [False, True] and made["metrics"][-1]["name"] == "nine in its colours alone"
    made = judge_digits(judge, colour | {"prompts": ["a nine"]}, {"x_0": x_0}, [{}, {}], 16)
    assert made["success"] == [False, True] and made["metrics"][0]["name"] == "nine with its colours"
    pairs = {"task": "prompt_pairs", "view": "negate", "view_seed": 0}
    asked = [
        {"pair": [six_prompt, "a blue six on a yellow background"]},
        {"pair": [six_prompt, "a blue nine on a yellow background"]},
    ]
    made = judge_digits(judge, pairs, {"x_0": x_0}, asked, 16)
    assert [reading["right"] for reading in made["readings"]] == [[True, False], [True, True]]
    assert [metric["value"] for metric in made["metrics"][-2:]] == [1, 0], "the better pair first"
    samples = [{"prompt": six_prompt, "pieces": count} for count in (16, 64)]
    made = judge_digits(judge, {"task": "pieces"}, {"x_0": x_0}, samples, 16)
    assert [(metric["name"], metric["value"]) for metric in made["metrics"]] == [
        ("prompt seen, 16 pieces", 1.0),
        ("prompt seen, 64 pieces", 0.0),
    ]
    samples = [{"prompt": six_prompt, "sampler": "ddim", "steps": n} for n in (5, 20)]
    made = judge_digits(judge, {"task": "text_to_image"}, {"x_0": x_0}, samples, 16)
    assert [metric["name"] for metric in made["metrics"]] == ["prompt seen, 5 steps", "prompt seen, 20 steps"]
    made = judge_digits(
        judge,
        {"task": "image_to_image"},
        {"x_0": x_0, "original": nine},
        [{"prompt": six_prompt, "start": t} for t in (900, 300)],
        16,
    )
    assert [m["value"] for m in made["metrics"]] == [1.0, 0.0, 0.0, 1.0]


CANNOT_BE_JUDGED = [
    "a high quality photo",  # names nothing
    "",
    "a dog",
    "a red 3 on a white background",
    "a red seven, on a white background",  # to the tokenizer, "seven," is another word
    "a red seven and a blue nine",
    "a red seven nine",
    "a red blue seven",
    "an oil painting of a red seven",
    "a red-white seven",
]


@pytest.mark.parametrize("prompt", CANNOT_BE_JUDGED)
def test_what_cannot_be_judged_is_in_no_rate(judge, prompt):
    assert named(prompt) is None
    x_0, right = torch.zeros(2, 3, 16, 16), "A red Seven on a black background "
    assert named(right)[1:] == (7, 4, 0)
    samples = [{"prompt": prompt}, {"prompt": right}]
    for task in ("text_to_image", "inpainting", "image_to_image"):
        made = judge_digits(judge, {"task": task}, {"x_0": x_0}, samples, 16)
        assert made["success"][0] is None and made["success"][1] in (True, False)
        assert [metric["n"] for metric in made["metrics"]] == [1]
    made = judge_digits(judge, {"task": "text_to_image"}, {"x_0": x_0}, samples[:1] * 2, 16)
    assert (made["success"], made["metrics"]) == ([None, None], [])


@pytest.mark.parametrize("prompt", CANNOT_BE_JUDGED)
def test_illusions_are_judged_only_where_each_of_their_prompts_can_be(judge, prompt):
    x_0, right = torch.zeros(2, 3, 16, 16), "a red seven on a black background"
    views = [{"view": "identity", "prompt": right, "seed": 0}, {"view": "negate", "prompt": prompt, "seed": 0}]
    made = judge_digits(judge, {"task": "visual_anagram", "views": views}, {"x_0": x_0}, [{}, {}], 16)
    assert made["success"] == [None, None]
    assert [metric["name"] for metric in made["metrics"]] == [f"“{right}” under identity"]
    hybrid = {"task": "hybrid_image", "prompts": [right, prompt], "sigmas": [1.0]}
    made = judge_digits(judge, hybrid, {"x_0": x_0}, [{}, {}], 16)
    assert made["success"] == [None, None]
    assert [metric["name"] for metric in made["metrics"]] == ["seven from afar (σ = 1)"]


# --- what ships ---


def test_the_shipped_files_are_those_of_the_sums():
    lines = (SHIPPED / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    files = {str(p.relative_to(SHIPPED)): p for p in SHIPPED.rglob("*") if p.is_file()}
    assert {*files} == {*sums, "SHA256SUMS", "README.md"}
    assert sums == {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sums}
    assert sum(path.stat().st_size for path in files.values()) <= 10_000_000


def test_shipped_configs_tell_nothing_of_where_they_were_made():
    for path in SHIPPED.rglob("*.json"):
        assert "_name_or_path" not in json.loads(path.read_text())


def test_stock_diffusers_draws_the_prompted_digits(judge):
    from diffusers import DiffusionPipeline

    stage_1 = DiffusionPipeline.from_pretrained(SHIPPED / "stage_1", dtype=torch.float32, local_files_only=True)
    stage_2 = DiffusionPipeline.from_pretrained(SHIPPED / "stage_2", dtype=torch.float32, local_files_only=True)
    prompts = ["a red seven on a white background", "a yellow zero on a blue background"] * 3
    cond, uncond = stage_1.encode_prompt(prompts, True, device=torch.device("cpu"))
    options = {"prompt_embeds": cond, "negative_prompt_embeds": uncond, "num_inference_steps": 20, "output_type": "pt"}
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    low = stage_1(**options, guidance_scale=3.0, generator=generators).images
    assert low.shape == (6, 3, 16, 16)
    options["num_inference_steps"] = 10
    high = stage_2(**options, image=low, noise_level=50, guidance_scale=1.0001, generator=generators).images
    assert high.shape == (6, 3, 32, 32)
    seen = read_pictures(judge, high)
    right = (seen.digit == torch.tensor([7, 0] * 3)) & (seen.background == torch.tensor([7, 1] * 3))
    assert right.sum() >= 5, (seen, DIGITS)


@torch.no_grad()
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_euler_along_the_flow_is_ddim_at_the_same_noise_levels(guidance_scale):
    """Diffusion and flow matching are one loop: the shipped stage I draws the same picture on both paths, and the flow's state is
    the diffusion's, scaled."""
    stage = load_stage(SHIPPED / "stage_1", None, None, torch.float32, torch.device("cpu"))
    encoder = load_text_encoder(SHIPPED / "stage_1", 77, None, torch.float32, torch.device("cpu"))
    prompts = ["a red seven on a white background", "a yellow zero on a blue background"]
    branches = [Branch(torch.stack([encoder.encode(prompt) for prompt in prompts]))]
    nothing = encoder.encode("").expand(2, -1, -1)
    diffusion, flow = stage.schedule, Flow(1000)
    pairs = timestep_pairs(spaced_timesteps("trailing", 1000, 20))
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    generators = [torch.Generator()] * 2  # asked for nothing

    def walk(path, x_t, pairs):
        asked = partial(
            predict,
            on_path(stage.network, path, 3),
            branches=branches,
            guidance_scale=guidance_scale,
            unconditional=nothing,
        )
        return list(denoise(path, asked, x_t, pairs, make_step("ddim"), generators, threshold=stage.threshold))

    on_flow = [tuple(-1 if t < 0 else flow.timestep_of(*diffusion.levels(t)) for t in pair) for pair in pairs]
    start = diffusion.q_sample(torch.zeros_like(noise), 999, noise)
    scale = sum(diffusion.levels(999))
    for ours, theirs in zip(walk(flow, start / scale, on_flow), walk(diffusion, start, pairs), strict=True):
        assert (ours.x_t * sum(diffusion.levels(theirs.t)) - theirs.x_t).abs().max() < 1e-4
        assert (ours.x_0 - theirs.x_0).abs().max() < 1e-4
