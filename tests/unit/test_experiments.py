"""Every task on a tiny cascade: what must hold whatever the network says."""

from inspect import getfullargspec

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fun.data.images import MASKS, load_image, load_mask, make_mask
from fun.data.prompts import prompts_of
from fun.data.timesteps import spaced_timesteps
from fun.diffusion.cascade import load_stage
from fun.diffusion.experiments import TASKS, make_samples, run
from fun.diffusion.filters import gaussian_blur
from fun.diffusion.pieces import lay
from fun.diffusion.sampler import Sampler
from fun.diffusion.sampling import make_step
from fun.diffusion.similarity import best_blur, psnr
from fun.diffusion.views import VIEWS, make_view
from fun.miniature.readings import READINGS
from fun.reporting.experiment_figures import FIGURES
from fun.reporting.page import SECTIONS
from fun.workflow.experiments import read_schema, tasks_of
from project import PROJECT, SUPPORT
from tiny_cascade import make_cascade

SCHEMA = read_schema(PROJECT / "rules/experiments.schema.yaml")
PROMPTS = ["a red one", "a blue five", "a green nine"]
SETTINGS = {
    "grid": 16,
    "sampler": "ddpm",
    "steps": 5,
    "spacing": "leading",
    "variance": "learned",
    "thresholding": True,
    "guidance_scale": 7.0,
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = make_cascade(tmp_path_factory.mktemp("cascade"))
    cpu = torch.device("cpu")
    return {
        "stage_1": load_stage(folder / "stage_1", None, None, torch.float32, cpu),
        "stage_2": load_stage(folder / "stage_2", 50, None, torch.float32, cpu),
    }


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    y, x = np.indices((40, 40))
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.fromarray(np.stack([6 * x, 6 * y, 3 * (x + y)], -1).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def embeds():
    generator = torch.Generator().manual_seed(0)
    return {prompt: torch.randn(77, 32, generator=generator) for prompt in ["", *PROMPTS]}


@pytest.fixture
def make_sampler(stages, embeds):
    def make(stage="stage_1", network=None, **changes):
        stage = stages[stage]
        if network is not None:
            stage = type(stage)(**vars(stage) | {"network": network(stage.network)})
        return Sampler(stage, embeds, **SETTINGS | changes)

    return make


def samples_of(seeds, **entries):
    return [{"prompt": PROMPTS[seed % 3], "seed": seed} | entries for seed in seeds]


# --- the tables agree ---


def follow(entry):
    """A schema with its $ref resolved."""
    reference = entry.get("$ref", "").removeprefix("#/$defs/")
    return (SCHEMA["$defs"][reference] if reference else {}) | entry


def sections_of(task):
    return {task["section"], *task.get("section_with", {}).values()}


def template_exists(section):
    return (PROJECT / f"resources/report/sections/{section}.html.j2").is_file()


def test_tasks_of_the_library_are_those_of_the_schema():
    tasks = tasks_of(SCHEMA)
    tiny = yaml.safe_load((SUPPORT / "experiments_tiny.yaml").read_text()).values()
    places = {
        "TASKS of scripts/fun/diffusion/experiments.py": set(TASKS),
        "FIGURES of scripts/fun/reporting/experiment_figures.py": set(FIGURES),
        "READINGS of scripts/fun/miniature/readings.py": {*READINGS, *(n for n in tasks if not tasks[n]["judged"])},
        "SECTIONS of scripts/fun/reporting/page.py": {n for n in tasks if sections_of(tasks[n]) <= set(SECTIONS)},
        "resources/report/sections": {n for n in tasks if all(map(template_exists, sections_of(tasks[n])))},
        "tests/support/experiments_tiny.yaml": {experiment["task"] for experiment in tiny},
        "README.md": {n for n in tasks if f"`{n}`" in (PROJECT / "README.md").read_text()},
    }
    wrong = {place: sorted(set(tasks) ^ there) for place, there in places.items() if there != set(tasks)}
    assert not wrong, "tasks that stand in rules/experiments.schema.yaml but not there, or the other way round"
    for name, task in TASKS.items():
        known = SCHEMA["$defs"][name]["properties"]
        entries = getfullargspec(task.run).kwonlyargs
        assert {*task.axes, *entries} <= known.keys(), name
        assert set(tasks_of(SCHEMA)[name]["stages"]) == {stage for stage in ("stage_1", "stage_2") if stage in known}
        assert ("upsample" in known) == (tasks_of(SCHEMA)[name]["stages"] == ["stage_1", "stage_2"])
        assert ("enlarge" in known) == ("stage_2" in known) and ("licence" in known) == ("image" in known)
        shown_only = {"task", "title", "caption", "note", "stage_1", "stage_2", "upsample", "enlarge", "licence"}
        shown_only |= {"prompt", "negative_prompt", "style"} | ({"prompts"} if "pairs" in known else set())
        assert known.keys() == {*task.axes, *entries} | (known.keys() & shown_only), "an entry that nobody reads"
    rules = SCHEMA["$defs"]["experiment"]["allOf"]
    assert {rule["if"]["properties"]["task"]["const"]: rule["then"]["$ref"] for rule in rules} == {
        name: f"#/$defs/{name}" for name in TASKS
    }


def test_names_of_the_library_are_those_of_the_schema():
    assert set(SCHEMA["$defs"]["view"]["enum"]) == set(VIEWS), (
        "rules/experiments.schema.yaml, enum of view: other views than VIEWS"
    )
    assert set(SCHEMA["x-masks"]) == set(MASKS)
    sampling = SCHEMA["$defs"]["stage_1"]["properties"]
    assert all(callable(make_step(sampler)) for sampler in sampling["sampler"]["enum"])
    for spacing in sampling["spacing"]["enum"]:
        assert len(spaced_timesteps(spacing, 1000, 10)) == 10
    assert set(sampling) | {"noise_level"} == set(SCHEMA["$defs"]["stage_2"]["properties"])


COMPARED = ("guidance_scales", "samplers", "steps")  # by default those of the stage


def test_every_entry_is_described_and_bounded():
    for name in TASKS:
        for key, entry in SCHEMA["$defs"][name]["properties"].items():
            entry = follow(entry)
            assert entry.get("description"), f"{name}/{key}"
            required = key in ("task", *SCHEMA["$defs"][name]["required"]) or key in ("title", *COMPARED)
            assert required or "default" in entry, f"{name}/{key}"
            kinds = entry.get("type", [])
            for kind, bound in (("string", "maxLength"), ("array", "maxItems"), ("integer", "maximum")):
                if kind in kinds and key != "task":
                    assert bound in entry or "pattern" in entry, f"{name}/{key}"


# --- samples ---


def test_samples_are_the_product_of_the_axes():
    samples = make_samples("text_to_image", {"prompts": ["a", "b"], "guidance_scales": [1, 7], "seeds": [3, 4]})
    assert len(samples) == 8
    assert samples[:3] == [
        {"prompt": "a", "guidance_scale": 1, "seed": 3},
        {"prompt": "a", "guidance_scale": 1, "seed": 4},
        {"prompt": "a", "guidance_scale": 7, "seed": 3},
    ]
    assert make_samples("text_to_image", {"prompts": ["a"], "seeds": [3]}) == [{"prompt": "a", "seed": 3}]
    assert make_samples("image_to_image", {"prompt": "a", "starts": [5], "seeds": [3]}) == [
        {"prompt": "a", "start": 5, "seed": 3}
    ]


@pytest.mark.parametrize("stage", ["stage_1", "stage_2"])
def test_a_sample_does_not_depend_on_its_batch(make_sampler, stage):
    seeds = range(180, 188)
    low = None if stage == "stage_1" else torch.randn(8, 3, 16, 16).clamp(-1, 1)
    together = run("text_to_image", {}, make_sampler(stage), samples_of(seeds), low)["x_0"]
    again = run("text_to_image", {}, make_sampler(stage), samples_of(seeds), low)["x_0"]
    assert torch.equal(together, again), "the same bits at the same max_batch"
    split = run("text_to_image", {}, make_sampler(stage, max_batch=2), samples_of(seeds), low)["x_0"]
    assert (split - together).abs().max() < 1e-3
    for k in (0, 3, 7):
        lone_low = None if low is None else low[k : k + 1]
        alone = run("text_to_image", {}, make_sampler(stage), samples_of([180 + k]), lone_low)["x_0"]
        assert (alone[0] - together[k]).abs().max() < 1e-3
    assert (together[0] - together[3]).abs().max() > 0.1


def test_guidance_scales_compared_in_one_batch(make_sampler):
    samples = [sample | {"guidance_scale": scale} for scale in (1.0, 3.0) for sample in samples_of([0, 1])]
    together = run("text_to_image", {}, make_sampler(), samples)["x_0"]
    for i, sample in enumerate(samples):
        alone = run("text_to_image", {}, make_sampler(), [sample])["x_0"]
        assert (alone[0] - together[i]).abs().max() < 1e-3
    low = torch.zeros(4, 3, 16, 16)
    plain = [{"prompt": sample["prompt"], "seed": sample["seed"]} for sample in samples]
    large = run("text_to_image", {}, make_sampler("stage_2"), samples, low)["x_0"]
    assert torch.equal(large, run("text_to_image", {}, make_sampler("stage_2"), plain, low)["x_0"]), "stage I's scales"


def test_network_without_variance(stages, make_sampler):
    stage = type(stages["stage_1"])(**vars(stages["stage_1"]) | {"learned_variance": False})
    sampler = Sampler(stage, make_sampler().embeds, **SETTINGS)
    with pytest.raises(ValueError, match="variance must be small or large"):
        run("text_to_image", {}, sampler, samples_of([0]))


# --- tasks ---


class Counter:
    """A network that records how many samples each call has."""

    calls: list

    def __init__(self, network):
        self.network, self.schedule, self.channels = network, network.schedule, network.channels
        self.noise_level = network.noise_level
        Counter.calls = []

    def __call__(self, x, t, cond):
        Counter.calls.append(len(x))
        return self.network(x, t, cond)


@pytest.mark.parametrize("stage", ["stage_1", "stage_2"])
@pytest.mark.parametrize("views", [["identity", "rotate_180"], ["identity", "negate", "jigsaw"]])
def test_an_anagram_is_one_call_a_step(make_sampler, stage, views):
    low = None if stage == "stage_1" else torch.zeros(2, 3, 16, 16)
    entries = [{"view": view, "prompt": prompt, "seed": 0} for view, prompt in zip(views, PROMPTS, strict=False)]
    samples = [{"seed": 0}, {"seed": 1}]
    run("visual_anagram", {"views": entries, "away": 0}, make_sampler(stage, Counter), samples, low)
    assert Counter.calls == [2 * len(views) * len(samples)] * SETTINGS["steps"]


@pytest.mark.parametrize("prompts, sigmas", [(PROMPTS[:2], [1.0]), (PROMPTS, [2.0, 1.0])])
def test_a_hybrid_is_one_call_a_step(make_sampler, prompts, sigmas):
    experiment = {"prompts": prompts, "sigmas": sigmas, "kernel_size": None, "image": None}
    run("hybrid_image", experiment, make_sampler(network=Counter), [{"seed": 0}])
    assert Counter.calls == [len(prompts) + 1] * SETTINGS["steps"]


@pytest.mark.parametrize("names", [["identity", "rotate_180"], ["identity", "negate", "rotate_90_cw"]])
def test_a_view_is_led_away_from_the_prompts_of_the_others(make_sampler, embeds, names):
    """u + g (c - u) - away (o - u), o being the mean of the others; in stage I only."""
    g, away, t = 4.0, 1.5, 999
    how = {"sampler": "ddim", "steps": 1, "spacing": "trailing", "thresholding": False, "guidance_scale": g}
    entries = [{"view": name, "prompt": prompt, "seed": 0} for name, prompt in zip(names, PROMPTS, strict=False)]
    sampler = make_sampler(network=Counter, **how)
    drawn = run("visual_anagram", {"views": entries, "away": away}, sampler, [{"seed": 3}])["x_0"]
    assert Counter.calls == [len(names) * (len(names) + 1)]
    x_t, _ = sampler.first_noise([{"seed": 3}])
    expected = 0
    for i, entry in enumerate(entries):
        view = make_view(entry["view"], 16)
        u, *told = (
            sampler.stage.network(view.view(x_t), t, embeds[p][None]).x_0 for p in ["", *(e["prompt"] for e in entries)]
        )
        others = sum(c for j, c in enumerate(told) if j != i) / (len(names) - 1)
        expected += view.inverse(u + g * (told[i] - u) - away * (others - u)) / len(names)
    assert torch.allclose(drawn, expected, rtol=1e-3, atol=1e-3 * expected.std())
    low = torch.zeros(1, 3, 16, 16)
    larger = [
        run("visual_anagram", {"views": entries, "away": one}, make_sampler("stage_2"), [{"seed": 3}], low)["x_0"]
        for one in (0, away)
    ]
    assert torch.equal(*larger)


def test_estimates_are_kept_in_range_by_clipping(stages, make_sampler):
    stage = type(stages["stage_1"])(**vars(stages["stage_1"]) | {"threshold": torch.zeros_like})
    for thresholding, lowest, highest in (("clip", -1, 1), (True, 0, 0)):
        sampler = Sampler(
            stage, make_sampler().embeds, **SETTINGS | {"thresholding": thresholding, "guidance_scale": 1.0}
        )
        x_0 = run("text_to_image", {}, sampler, samples_of([0]))["x_0"]
        assert (x_0.min().item(), x_0.max().item()) == pytest.approx((lowest, highest), abs=1e-5)


def test_an_anagram_of_one_prompt_and_no_view_is_that_prompts_picture(make_sampler):
    entries = [{"view": "identity", "prompt": PROMPTS[0], "seed": 0}] * 2
    anagram = run("visual_anagram", {"views": entries, "away": 0}, make_sampler(), [{"seed": 0}])["x_0"]
    plain = run("text_to_image", {}, make_sampler(), [{"seed": 0, "prompt": PROMPTS[0]}])["x_0"]
    assert (anagram - plain).abs().max() < 1e-4


def test_a_hybrid_of_one_prompt_is_that_prompts_picture(make_sampler):
    for stage, low in (("stage_1", None), ("stage_2", torch.zeros(1, 3, 16, 16))):
        experiment = {"prompts": [PROMPTS[0]] * 2, "sigmas": [1.0], "kernel_size": 7, "image": None}
        hybrid = run("hybrid_image", experiment, make_sampler(stage, variance="small"), [{"seed": 0}], low)["x_0"]
        plain = [{"seed": 0, "prompt": PROMPTS[0]}]
        assert (
            hybrid - run("text_to_image", {}, make_sampler(stage, variance="small"), plain, low)["x_0"]
        ).abs().max() < 1e-3


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm_solver"])
def test_pieces_end_as_an_arrangement_of_the_picture(make_sampler, picture, sampler):
    samples = [sample | {"pieces": count} for count in (4, 64) for sample in samples_of([0, 1])]
    made = run("pieces", {"image": picture, "turns": False}, make_sampler(sampler=sampler), samples)
    source = made["original"][0].numpy()
    for x_0, order, quarters, sample in zip(*(made[k] for k in ("x_0", "order", "quarters")), samples, strict=True):
        lying = order[order >= 0].numpy(), quarters[order >= 0].numpy()
        assert sorted(lying[0]) == list(range(sample["pieces"]))
        assert np.array_equal(lay(source, *lying), x_0.numpy())


def test_a_pair_of_prompts_is_their_anagram(make_sampler):
    """In a batch with other pairs, and alone."""
    pairs, seeds = [PROMPTS[:2], PROMPTS[1:]], [0, 5]
    samples = make_samples("prompt_pairs", {"pairs": pairs, "seeds": seeds})
    drawn = run("prompt_pairs", {"view": "rotate_180", "view_seed": 0}, make_sampler(), samples)["x_0"]
    for k, (first, second) in enumerate(pairs):
        views = [{"view": "identity", "prompt": first, "seed": 0}, {"view": "rotate_180", "prompt": second, "seed": 0}]
        alone = run("visual_anagram", {"views": views, "away": 0}, make_sampler(), [{"seed": seed} for seed in seeds])[
            "x_0"
        ]
        assert (drawn[2 * k : 2 * k + 2] - alone).abs().max() < 1e-4


def test_samplers_and_steps_are_compared_as_if_each_were_configured(make_sampler):
    entries = {"prompts": PROMPTS[:2], "samplers": ["ddim", "dpm_solver"], "steps": [3, 2], "seeds": [4]}
    samples = make_samples("text_to_image", entries)
    drawn = run("text_to_image", {}, make_sampler(), samples)["x_0"]
    for x_0, sample in zip(drawn, samples, strict=True):
        one = make_sampler(sampler=sample["sampler"], steps=sample["steps"])
        alone = run("text_to_image", {}, one, [{"prompt": sample["prompt"], "seed": 4}])["x_0"]
        assert (x_0 - alone[0]).abs().max() < 1e-4
    low = torch.zeros(len(samples), 3, 16, 16)  # in stage II there is nothing to compare
    larger = run("text_to_image", {}, make_sampler("stage_2", Counter), samples, low)["x_0"]
    assert len(Counter.calls) == SETTINGS["steps"] and (larger[0] - larger[1]).abs().max() < 1e-4


@pytest.mark.parametrize("interval, guided", [((0, 1), 10), ((0.2, 0.8), 7), ((0.95, 1), 0), ((0, 0), 1)])
def test_guidance_in_an_interval(make_sampler, interval, guided):
    """Outside of it the unconditional half is not even computed. Timesteps are 900, 800, ..., 0."""
    sampler = make_sampler(network=Counter, steps=10, spacing="leading", guidance_interval=interval)
    run("text_to_image", {}, sampler, samples_of([0]))
    assert sorted(Counter.calls) == [1] * (10 - guided) + [2] * guided


@pytest.mark.parametrize("mask", ["right", "hole"])
@pytest.mark.parametrize("stage", ["stage_1", "stage_2"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_inpainting_keeps_what_is_known(make_sampler, picture, stage, mask, sampler):
    low = None if stage == "stage_1" else torch.zeros(2, 3, 16, 16)
    made = run(
        "inpainting",
        {"image": picture, "mask": mask, "invert": False},
        make_sampler(stage, sampler=sampler),
        samples_of([0, 1]),
        low,
    )
    size = made["x_0"].shape[-1]
    original, unknown = torch.from_numpy(load_image(picture, size)), torch.from_numpy(make_mask(mask, size))
    for x_0 in made["x_0"]:
        assert torch.equal(x_0[:, ~unknown], original[:, ~unknown])
        assert (x_0[:, unknown] - original[:, unknown]).abs().mean() > 0.1
    assert torch.equal(made["mask"], unknown)


def test_inpainting_with_a_mask_from_a_file(make_sampler, picture, tmp_path):
    """A slanted edge and a stroke that would be wide enough for stage II alone."""
    y, x = np.indices((320, 320))
    light = (x + y < 200) | (x >= 260) & (x < 268)
    Image.fromarray(light).save(tmp_path / "mask.png")
    experiment = {"image": picture, "mask": str(tmp_path / "mask.png")}
    for invert in (False, True):
        masks = []
        for stage, low in (("stage_1", None), ("stage_2", torch.zeros(1, 3, 16, 16))):
            made = run("inpainting", experiment | {"invert": invert}, make_sampler(stage), samples_of([0]), low)
            masks.append(made["mask"].numpy())
        assert np.array_equal(masks[0], (load_mask(tmp_path / "mask.png", 16) != invert))
        assert np.array_equal(masks[1], masks[0].repeat(2, 0).repeat(2, 1)), "decided once, in stage I"
    Image.fromarray(light[:160]).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="mask.png has 320 x 160 pixels, but must have the aspect ratio"):
        run("inpainting", experiment | {"invert": False}, make_sampler(), samples_of([0]))


def test_forward_process_has_the_mean_and_variance_of_the_formula(make_sampler, picture):
    samples = make_samples("forward_process", {"timesteps": [250, 500, 750], "seeds": list(range(1000))})
    made = run("forward_process", {"image": picture}, make_sampler(), samples)
    x_t, x_0 = made["x_t"].view(3, 1000, 3, 16, 16), made["x_0"]
    assert torch.allclose(made["signal"] ** 2 + made["sigma"] ** 2, torch.ones(3000))
    for i, abar in enumerate((made["signal"] ** 2).view(3, 1000)[:, 0].tolist()):
        assert abar == pytest.approx([0.846, 0.492, 0.143][i], abs=1e-3)
        assert (x_t[i].mean(0) - abar**0.5 * x_0[0]).abs().mean() < 3 * ((1 - abar) / 1000) ** 0.5
        residual = x_t[i] - abar**0.5 * x_0
        assert residual.var().item() == pytest.approx(1 - abar, rel=0.01)
        assert residual.mean().abs() < 0.01


def test_an_inverted_picture_comes_back(make_sampler, picture):
    """Without guidance the walk down is the walk up, backwards: finer steps come closer, and closer than from other noise."""
    samples = make_samples("image_to_image", {"prompt": "", "starts": [900], "seeds": [0]})
    far = {}
    for steps, invert in ((10, True), (100, True), (100, False)):
        sampler = make_sampler(sampler="ddim", steps=steps, guidance_scale=1.0, thresholding=False)
        made = run("image_to_image", {"image": picture, "invert": invert}, sampler, samples)
        far[steps, invert] = float((made["x_0"] - made["original"]).square().mean().sqrt())
    assert far[100, True] < 0.5 * far[10, True] and far[100, True] < 0.1 * far[100, False]


def test_an_inversion_is_told_nothing_whatever_is_led_away_from(make_sampler, picture, embeds):
    class Told(Counter):
        conds: list = []

        def __call__(self, x, t, cond):
            self.conds.append(cond)
            return self.network(x, t, cond)

    experiment = {"prompt": PROMPTS[0], "negative_prompt": PROMPTS[1], "starts": [500], "seeds": [0], "invert": True}
    assert prompts_of(experiment) == sorted(["", *PROMPTS[:2]])
    sampler = make_sampler(network=Told, sampler="ddim", steps=10, guidance_scale=1.0, negative_prompt=PROMPTS[1])
    run("image_to_image", {"image": picture, "invert": True}, sampler, make_samples("image_to_image", experiment))
    told = [next(prompt for prompt, embed in embeds.items() if torch.equal(embed, cond[0])) for cond in Told.conds]
    assert set(told[: len(told) // 2 - 1]) == {""} and set(told[len(told) // 2 :]) == {PROMPTS[0]}


def test_pure_noise_on_a_flow_is_blurred_as_it_is(make_sampler, picture):
    samples = make_samples("denoising", {"timesteps": [999], "seeds": [0]})
    made = run(
        "denoising", {"image": picture, "prompt": PROMPTS[0], "keep_every": 5}, make_sampler(path="flow"), samples
    )
    assert all(tensor.isfinite().all() for tensor in made.values())
    assert torch.equal(made["fair_blur"], made["blur"])


def test_image_to_image_is_the_same_loop_started_late(make_sampler, picture):
    samples = make_samples("image_to_image", {"prompt": PROMPTS[0], "starts": [900, 400], "seeds": [0, 1]})
    made = run("image_to_image", {"image": picture, "invert": False}, make_sampler(), samples)
    for i, sample in enumerate(samples):
        alone = run("image_to_image", {"image": picture, "invert": False}, make_sampler(), [sample])["x_0"]
        assert (alone[0] - made["x_0"][i]).abs().max() < 1e-3
    late, early = [(made["x_0"][rows] - made["original"]).abs().mean() for rows in ([2, 3], [0, 1])]
    assert late < early


def test_denoising_measures_every_way(make_sampler, picture):
    experiment = {"image": picture, "prompt": PROMPTS[0], "keep_every": 2}
    samples = make_samples("denoising", experiment | {"timesteps": [300, 700], "seeds": [0, 1]})
    made = run("denoising", experiment, make_sampler(guidance_scale=1.0), samples)
    original, ways = made["original"], ("noisy", "blur", "fair_blur", "one_step", "x_0")
    for way in ways:
        error = (((made[way].clamp(-1, 1) - original) / 2) ** 2).mean((1, 2, 3))
        assert torch.allclose(made[f"psnr_{way}"], -10 * error.log10(), atol=1e-3)
        assert made[f"ssim_{way}"].shape == (4,) and (made[f"ssim_{way}"] <= 1).all()
    assert (made["psnr_blur"] >= made["psnr_noisy"]).all() and (made["psnr_fair_blur"] > made["psnr_blur"]).any()
    t = made["timesteps"].tolist()  # from 700: 600, 400, 200, 0, -1 in five steps
    assert t[0] == 600 and t[-1] == -1 and len(t) == len(made["states"]) == len(made["estimates"])
    assert torch.equal(made["states"][-1], made["x_0"][2])


def test_one_step_is_the_formula(make_sampler, picture):
    sampler = make_sampler(guidance_scale=1.0, thresholding=False)
    experiment = {"image": picture, "prompt": PROMPTS[0], "keep_every": 5}
    made = run("denoising", experiment, sampler, [{"timestep": 500, "seed": 0}])
    noise = sampler.stage.network(made["noisy"], 500, sampler.embeds[PROMPTS[0]][None]).noise
    abar = sampler.stage.schedule.alpha_bar(500).item()
    assert torch.allclose(made["one_step"], (made["noisy"] - (1 - abar) ** 0.5 * noise) / abar**0.5, atol=1e-4)


def test_best_blur_is_the_best():
    original = gaussian_blur(torch.randn(1, 3, 32, 32), 2.0).clamp(-1, 1)
    x = original + 0.3 * torch.randn(2, 3, 32, 32)
    blurred, sigma = best_blur(x, original)
    for other in (0.25, 0.5, 1.0, 2.0, 4.0):
        assert (psnr(blurred, original) >= psnr(gaussian_blur(x, other), original)).all()
    assert torch.equal(blurred[:1], gaussian_blur(x[:1], sigma[0].item()))


def test_upsample_starts_from_the_small_picture(make_sampler, picture):
    made = run("upsample", {"image": picture}, make_sampler("stage_2"), samples_of([0, 1]))
    assert made["x_0"].shape == (2, 3, 32, 32)
    assert np.array_equal(made["low"][0].numpy(), load_image(picture, 16))
