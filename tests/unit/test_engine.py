"""The page's own engine (resources/report/engine.js), in node, against the Python that it repeats."""

import base64
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import T5Tokenizer

from fun.data.tensors import load_tensors
from fun.data.timesteps import spaced_timesteps, timestep_pairs
from fun.diffusion.cascade import load_stage
from fun.diffusion.digits import generate
from fun.diffusion.experiments import run
from fun.diffusion.guidance import Branch, predict
from fun.diffusion.inversion import ddim_inversion
from fun.diffusion.sampler import Sampler
from fun.diffusion.sampling import Prediction, denoise, make_step, randn
from fun.diffusion.schedule import NoiseSchedule
from fun.diffusion.text_encoder import load_text_encoder
from fun.diffusion.views import make_view
from fun.judging.scores import DigitClassifier
from fun.miniature.judge import Judge, enlarge, read_pictures
from fun.networks.mnist_unets import NO_CLASS, SmallUNet
from fun.reporting import charts
from project import PROJECT, SUPPORT

ENGINE = PROJECT / "resources/report/engine.js"
MINIATURE = PROJECT / "resources/miniature"
STAGE_1 = MINIATURE / "stage_1"
CPU = torch.device("cpu")

SCHEDULE = NoiseSchedule.cosine(300)
SINGLE = {"points": [-1.0, 0.25, 0.25, 1.5], "count": 24}
NOISE = [(0, [784, 784, 100, 768]), (180, [768, 100, 100, 16]), (2**32 + 5, [784])]
TIMESTEPS = [
    (spacing, T, n) for spacing in ("trailing", "leading") for T, n in [(1000, 1), (1000, 5), (1000, 16), (300, 300)]
]
STARTS = [None, 700, 3]
SMALL_T, SMALL_PAIRS, LABELS = [299, 150, 10, 0], [(299, 100), (150, 0), (20, -1)], [3, NO_CLASS]
STAGE_T = [999, 500, 10]
PROMPTS = ["a red three on a white background", "A high quality photo", ""]
UNKNOWN = ["a red dog", "  three\tONES, and  black-and-white", "a " * 80, "zebra"]
VIEWS = ["identity", "rotate_180", "rotate_90_cw", "rotate_90_ccw", "flip_vertical", "flip_horizontal", "negate"]
WALK = {
    "samplers": ["ddim", "ddpm", "dpm_solver", "sde_dpm_solver"],
    "seed": 7,
    "label": 3,
    "guidance": 2.0,
    "steps": 8,
}
UPWARDS = [20, 60, 120, 200, 299]
ANAGRAMS = ["rotate_180", "negate"]


def noise(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def halved(state):
    """A network's tensors, rounded to float16, which is how the page has them."""
    return {name: tensor.half().float() for name, tensor in state.items() if tensor.is_floating_point()}


def exported(state):
    """The tensors as the page has them: float16, in base64, and a header."""
    header, content = {}, b""
    for name, tensor in state.items():
        header[name] = {"offset": len(content), "shape": list(tensor.shape)}
        content += tensor.half().numpy().tobytes()
    return {"text": base64.b64encode(content).decode(), "header": header}


def with_random_weights(network, seed):
    """No layer is zero and no statistic is a default, as if it had been trained; rounded to float16."""
    generator = torch.Generator().manual_seed(seed)
    state = network.state_dict()
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1 and not tensor.any():
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.ndim == 1:
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
    network.load_state_dict(halved(state), strict=False)
    return network.eval().requires_grad_(False)


class Models:
    """Every network of the page, in Python."""

    def __init__(self):
        torch.manual_seed(0)
        self.small = with_random_weights(SmallUNet(SCHEDULE, class_conditioned=True), 0)
        self.map = with_random_weights(SmallUNet(SCHEDULE, class_conditioned=True, is_map=True), 1)
        self.classifier = with_random_weights(DigitClassifier(), 2)
        self.classifier.head.weight *= 16  # so that it is sure of what it reads
        self.judge = Judge().eval().requires_grad_(False)
        self.judge.load_state_dict(halved(load_tensors(MINIATURE / "judge/weights.safetensors")[0]), strict=False)
        self.stage = load_stage(STAGE_1, None, None, torch.float32, CPU)
        self.encoder = load_text_encoder(STAGE_1, 77, None, torch.float32, CPU)
        self.tokenizer = T5Tokenizer.from_pretrained(STAGE_1 / "tokenizer")
        self.embeds = {prompt.lower(): self.encoder.encode(prompt) for prompt in PROMPTS}

    def weights(self):
        return {
            "small": exported(halved(self.small.state_dict())),
            "map": exported(halved(self.map.state_dict())),
            "classifier": exported(halved(self.classifier.state_dict())),
            "judge": exported(halved(self.judge.state_dict())),
            "stage_1": exported(load_file(STAGE_1 / "unet/diffusion_pytorch_model.safetensors")),
            "text_encoder": exported(load_file(STAGE_1 / "text_encoder/model.safetensors")),
            "numbers": NUMBERS,
        }

    def sampler(self, sampler="ddpm"):
        how = {"steps": 5, "spacing": "trailing", "variance": "learned", "thresholding": True, "guidance_scale": 3.0}
        return Sampler(self.stage, self.embeds, grid=16, sampler=sampler, **how)


# float16 numbers of all kinds, and int8 rows with a scale each.
HALVES = np.array([0, -0.0, 1, -2.5, 65504, 6e-8, -6.1e-5, np.inf, -np.inf, np.nan], np.float16)
BYTES, SCALES = np.array([[-128, -1, 0], [1, 64, 127]], np.int8), [0.5, 0.25]
NUMBERS = {
    "text": base64.b64encode(BYTES.tobytes() + b"-" + HALVES.tobytes()).decode(),  # at an odd offset
    "header": {"bytes": {"offset": 0, "shape": [2, 3], "scale": SCALES}, "halves": {"offset": 7, "shape": [10]}},
}


@pytest.fixture(scope="module")
def models():
    return Models()


@pytest.fixture(scope="module")
def inputs():
    """Pictures of digits and of noise."""
    return {
        "small": noise(1, 2, 1, 28, 28),
        "stage_1": noise(2, 2, 3, 16, 16),
        "views": [noise(3, 1, 28, 28), noise(4, 3, 16, 16)],
        "digits": noise(5, 4, 1, 28, 28).clamp(-1, 1),
        "x_0": noise(6, 1, 1, 28, 28).clamp(-1, 1),
    }


@pytest.fixture(scope="module")
def drawn(models):
    """Stage I's tasks in Python: pictures (1, 3, 16, 16), and what the picture and the mask of inpainting are."""
    sampler, (first, second, _) = models.sampler(), models.embeds
    sample = [{"seed": 0, "prompt": first}]
    inpainting = {"image": PROJECT / "resources/images/three.png", "mask": "left", "invert": False}

    def anagram(view):
        views = [{"view": view, "prompt": prompt, "seed": 0} for view, prompt in (("identity", first), (view, second))]
        return run("visual_anagram", {"views": views, "away": 0}, sampler, sample)

    return {
        "text_to_image": run("text_to_image", {}, sampler, sample),
        "sde_dpm_solver": run("text_to_image", {}, models.sampler("sde_dpm_solver"), sample),
        "inpainting": run("inpainting", inpainting, sampler, sample),
        **{view: anagram(view) for view in ANAGRAMS},
    }


@pytest.fixture(scope="module")
def answers(models, inputs, drawn, tmp_path_factory):
    """What the engine makes of the same inputs, in one run of node."""
    node = shutil.which("node")
    if node is None and os.environ.get("CI"):
        pytest.fail("node is not installed: CI is to run the page's engine")
    if node is None:
        pytest.skip("node is not installed, which runs the page's engine")
    given = drawn["inpainting"]
    job = {
        "weights": models.weights(),
        "scheduler": read_json(STAGE_1 / "scheduler/scheduler_config.json"),
        "unet": read_json(STAGE_1 / "unet/config.json"),
        "unet_2": read_json(MINIATURE / "stage_2/unet/config.json"),
        "text_encoder": read_json(STAGE_1 / "text_encoder/config.json"),
        "vocabulary": models.tokenizer.get_vocab(),
        "noise": [{"seed": seed, "sizes": sizes} for seed, sizes in NOISE],
        "timesteps": TIMESTEPS,
        "starts": STARTS,
        "small": {"x": flat(inputs["small"]), "t": SMALL_T, "pairs": SMALL_PAIRS, "labels": LABELS},
        "stage_1": {"x": flat(inputs["stage_1"]), "t": STAGE_T},
        "prompts": PROMPTS + UNKNOWN,
        "views": [flat(x) for x in inputs["views"]],
        "walk": WALK,
        "numbers": SINGLE,
        "inversion": {"x_0": flat(inputs["x_0"]), "timesteps": UPWARDS},
        "tasks": {
            "steps": 5,
            "guidance": 3,
            "views": ANAGRAMS,
            "inpainting": {"image": flat(given["original"]), "mask": given["mask"].flatten().tolist()},
        },
        "digits": [flat(x) for x in inputs["digits"]],
        "pictures": [flat(x) for x in pictures_of(drawn)],
    }
    path = tmp_path_factory.mktemp("engine") / "job.json"
    path.write_text(json.dumps(job))
    done = subprocess.run(
        [node, SUPPORT / "engine_driver.js", ENGINE, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def flat(x):
    return x.flatten().tolist()


def pictures_of(drawn):
    """Pictures (3, 16, 16), beyond the range too, one that is enlarged already, and noise."""
    small = [1.2 * drawn[name]["x_0"][0] for name in ("text_to_image", "inpainting")]
    return [*small, enlarge(small[0][None])[0], *noise(8, 4, 3, 16, 16) / 2]


def difference(answer, expected):
    """The largest difference, for an expected scale of 1."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    answer = torch.tensor(answer, dtype=torch.float64).view(expected.shape)
    return float((answer - expected).abs().max() / expected.abs().max().clamp(min=1))


# --- weights, noise, timesteps ---


def test_float16_and_int8_are_read(answers):
    found = {name: [*map(float, numbers)] for name, numbers in answers["decode"].items()}
    assert found["bytes"] == (BYTES * np.array(SCALES)[:, None]).flatten().tolist()
    np.testing.assert_array_equal(np.array(found["halves"], np.float32), HALVES.astype(np.float32))


def test_a_seed_draws_torchs_noise(answers):
    for (seed, sizes), drawn in zip(NOISE, answers["noise"], strict=True):
        generator = torch.Generator().manual_seed(seed)
        for n, numbers in zip(sizes, drawn, strict=True):
            torch.testing.assert_close(torch.tensor(numbers), torch.randn(n, generator=generator), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["cosine", "if", "linear"])
def test_schedules(answers, models, name):
    schedule = {"cosine": SCHEDULE, "if": models.stage.schedule, "linear": NoiseSchedule.linear(1000)}[name]
    expected = torch.stack(schedule.levels(torch.arange(-1, schedule.num_train_timesteps)), 1)
    torch.testing.assert_close(
        torch.tensor(answers["levels"][name], dtype=torch.float64), expected, atol=1e-12, rtol=1e-8
    )


def test_timesteps(answers):
    assert answers["timesteps"] == [spaced_timesteps(*how) for how in TIMESTEPS]
    walks = [timestep_pairs(spaced_timesteps("trailing", 1000, 7), start) for start in STARTS]
    assert answers["pairs"] == [[list(pair) for pair in pairs] for pairs in walks]


def test_what_the_engine_cannot_do_is_refused(answers):
    assert "class_embed_type: timestep" in answers["refused"]["config"]
    assert "fewer than 16" in answers["refused"]["draw"]
    assert "known: leading, trailing" in answers["refused"]["spacing"]


# --- networks ---


def assert_predicted(answer, expected):
    for what, tensor in zip(("x_0", "noise", "v"), expected, strict=True):
        assert (answer[what] is None) == (tensor is None)
        assert tensor is None or difference(answer[what], tensor) < 1e-3


@pytest.mark.parametrize("i", range(len(SMALL_T)))
def test_the_small_network(answers, models, inputs, i):
    assert_predicted(answers["small"][i], models.small(inputs["small"], SMALL_T[i], torch.tensor(LABELS)))


@pytest.mark.parametrize("i", range(len(SMALL_PAIRS)))
def test_the_flow_map(answers, models, inputs, i):
    t, t_next = SMALL_PAIRS[i]
    assert_predicted(answers["map"][i], models.map(inputs["small"], t, torch.tensor(LABELS), t_next))


@pytest.mark.parametrize("i", range(len(STAGE_T)))
def test_stage_1(answers, models, inputs, i):
    conds = torch.stack([models.embeds[PROMPTS[0]], models.embeds[""]])
    assert_predicted(answers["stage_1"][i], models.stage.network(inputs["stage_1"], STAGE_T[i], conds))


def test_prompts_become_ids_and_embeddings(answers, models):
    for prompt, ids, embeds in zip(PROMPTS + UNKNOWN, answers["ids"], answers["embeds"], strict=True):
        tokens = models.tokenizer(prompt.lower().strip(), padding="max_length", max_length=77, truncation=True)
        assert ids == tokens.input_ids, prompt
        assert difference(embeds, models.encoder.encode(prompt)) < 1e-3, prompt


# --- views ---


@pytest.mark.parametrize("name", VIEWS)
def test_views(answers, inputs, name):
    for x, found in zip(inputs["views"], answers["views"][name], strict=True):
        view = make_view(name, x.shape[-1])
        for answer, expected in zip(found, (view.view(x), view.inverse(x), view.inverse_variance(x)), strict=True):
            assert torch.equal(torch.tensor(answer), expected.flatten())


def test_there_are_no_other_views(answers):
    assert sorted(answers["views"]) == sorted(VIEWS)


# --- walks ---


@pytest.mark.parametrize("sampler", WALK["samplers"])
def test_a_walk_of_the_small_network(answers, models, sampler):
    labels, seeds = torch.tensor([WALK["label"]]), [WALK["seed"]]
    states = generate(models.small, labels, seeds, sampler, "trailing", WALK["steps"], WALK["guidance"])
    pairs = timestep_pairs(spaced_timesteps("trailing", 300, WALK["steps"]))
    for (t, t_prev), answer, state in zip(pairs, answers["walks"][sampler], states, strict=True):
        assert answer["t"] == state.t == t_prev
        assert difference(answer["x_t"], state.x_t) < 1e-3
        if SCHEDULE.alpha_bar(t) > 1e-3:
            assert difference(answer["x_0"], state.x_0) < 1e-3


@pytest.mark.parametrize("sampler", WALK["samplers"])
def test_a_walk_of_single_numbers(answers, sampler):
    """By the denoiser that is best on a few numbers, which no sampler's walk tells from a network."""
    points = torch.tensor(SINGLE["points"]).view(-1, 1, 1, 1)

    def best(x, t):
        x_0 = SCHEDULE.posterior_mean(x.view(-1, 1, 1, 1), t, points).view_as(x)
        return Prediction(x_0, SCHEDULE.noise_from_x_start(x, t, x_0), None)

    generators = [torch.Generator().manual_seed(WALK["seed"])]
    x, pairs = (
        randn((1, 1, SINGLE["count"]), generators),
        timestep_pairs(spaced_timesteps("trailing", 300, WALK["steps"])),
    )
    states = denoise(SCHEDULE, best, x, pairs, make_step(sampler), generators)
    for answer, state in zip(answers["numbers"][sampler], states, strict=True):
        assert difference(answer["x_t"], state.x_t) < 1e-3 and difference(answer["x_0"], state.x_0) < 1e-3


def test_the_pages_charts_have_the_reports_frame():
    """number.js draws while the reader looks, with a copy of these numbers."""
    text = (PROJECT / "resources/report/number.js").read_text()
    plot = {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", re.search(r"PLOT = {(.*?)}", text)[1])}
    assert plot == {
        "width": charts.WIDTH,
        "height": charts.HEIGHT,
        "left": charts.LEFT,
        "right": charts.WIDTH - charts.RIGHT,
        "top": charts.TOP,
        "bottom": charts.HEIGHT - charts.BOTTOM,
    }


def test_the_page_can_breathe_after_each_call(answers):
    assert answers["breaths"] == 2 * WALK["steps"] * len(WALK["samplers"])  # guided: two calls a step


def test_inversion(answers, models, inputs):
    def predict_digit(x, t):
        return predict(models.small, x, t, [Branch(torch.tensor([WALK["label"]]))])

    generators = [torch.Generator().manual_seed(WALK["seed"])]
    expected = ddim_inversion(SCHEDULE, predict_digit, inputs["x_0"], UPWARDS, generators)
    assert difference(answers["inverted"], expected) < 1e-3


@pytest.mark.parametrize("task", ["text_to_image", "sde_dpm_solver", *ANAGRAMS, "inpainting"])
def test_tasks_of_stage_1(answers, drawn, task):
    picture = drawn[task]["x_0"]
    assert picture.std() > 0.1
    assert difference(answers["tasks"][task], picture) < 1e-3


# --- judges ---


def test_digits_are_read(answers, models, inputs):
    expected = models.classifier(inputs["digits"]).softmax(1)
    for answer, probabilities in zip(answers["digits"], expected, strict=True):
        assert answer["digit"] == int(probabilities.argmax())
        assert difference(answer["probabilities"], probabilities) < 1e-3


def test_pictures_are_read(answers, models, drawn):
    for answer, picture in zip(answers["pictures"], pictures_of(drawn), strict=True):
        seen = read_pictures(models.judge, picture[None])
        assert [answer[what] for what in seen._fields] == [int(index) for index in seen]
        logits, _, _ = models.judge(enlarge(picture[None].clamp(-1, 1)))
        assert difference(answer["probabilities"], logits[0].softmax(0)) < 1e-3
