"""What the rules ask of fun.workflow: experiments read and checked, what each consists of, where the cascade's parts are."""

import copy
import shlex
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from sentencepiece import SentencePieceTrainer
from snakemake.cli import parse_config

from fun.data.images import make_mask
from fun.data.prompts import normalise, prompts_of
from fun.workflow.digits import (
    IDEAS,
    class_names,
    denoisers,
    digit_sampling,
    epoch_before,
    epoch_minutes,
    idea_networks,
    ideas,
    networks,
    predictions,
    sampled_epochs,
    sampling_minutes,
)
from fun.workflow.experiments import (
    judge_of,
    pictures_of,
    read_experiments,
    read_schema,
    section_of,
    stages_of,
    tasks_of,
    what_is_sampled,
)
from fun.workflow.parts import Parts
from fun.workflow.plan import check_targets, check_walks, command_options, complete_config, report_figures
from fun.workflow.preflight import check_lengths, check_pictures, check_words
from fun.workflow.refusals import canonical, checked
from project import PROJECT, SUPPORT
from tiny_options import make_clip, make_safety, make_upscaler

SCHEMA = read_schema(PROJECT / "rules/experiments.schema.yaml")
EXPERIMENTS = yaml.safe_load((SUPPORT / "experiments_tiny.yaml").read_text())
CONFIG_SCHEMA = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text())
NOTHING = {"stage_3": None, "judge": None, "clip_judge": None}


@pytest.fixture
def whole_config():
    """The shipped configuration, completed."""
    config = yaml.safe_load((PROJECT / "config.yaml").read_text())
    complete_config(config, CONFIG_SCHEMA, [])
    return config


@pytest.fixture
def configured(whole_config):
    """The entry of each cascade in the shipped configuration, completed."""
    return whole_config["cascades"]


@pytest.fixture
def read(tmp_path):
    """Reads experiments from a project's folder that has their pictures."""
    Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 50).save(tmp_path / "picture.png")
    Image.fromarray(make_mask("left", 40)).save(tmp_path / "mask.png")

    def read(experiments):
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(experiments))
        return read_experiments("tiny.yaml", SCHEMA, tmp_path, 16)

    return read


def test_experiments_are_completed_and_in_one_order(read):
    experiments = read(EXPERIMENTS)
    assert experiments == read({name: dict(reversed(entries.items())) for name, entries in EXPERIMENTS.items()})
    assert list(experiments["inpainting"]) == sorted(experiments["inpainting"])
    assert (
        experiments["text_to_image"]["seeds"] == [0, 1]
        and experiments["inpainting"]["upsample"] == experiments["inpainting"]["seeds"]
    )
    experiments["inpainting"]["stage_1"]["steps"] = 3  # a default is nobody else's
    assert read(EXPERIMENTS)["hybrid_image"]["stage_2"] == {}


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        ("upsample/image", "absent.png", "upsample/image must be a picture: there is no file absent.png"),
        ("upsample/image", "https://a.b/c.png", "upsample/image must be a picture: https://a.b/c.png is a URL; "),
        ("upsample/image", ".", "upsample/image must be a picture: . is a folder"),
        (
            "inpainting/mask",
            "circle",
            "inpainting/mask must be a picture (left, right, top, bottom, hole, frame, or a ",
        ),
        (
            "hybrid_image/sigmas",
            [2.0, 1.0],
            "hybrid_image/prompts must have a length of 3, one for each part, not 2",
        ),
        (
            "hybrid_image/image",
            "picture.png",
            "hybrid_image/prompts must have a length of 1, one for each part but that of the image, not 2",
        ),
        ("colour_hybrid/image", None, "colour_hybrid/prompts must have a length of 2, one for each part, not 1"),
        ("colour_hybrid/image", "absent.png", "colour_hybrid/image must be a picture: there is no file absent.png"),
        ("motion_hybrid/length", 0, "motion_hybrid/length must be above 0 and at most 64, not 0"),
        (
            "prompt_pairs/pairs",
            [["a red eight", "a dog"]],
            "prompt_pairs/pairs names 'a dog', which is none of the prompts",
        ),
        ("prompt_pairs/pairs", [["a red eight"]], "prompt_pairs/pairs/0 must have a length of at least 2, not "),
        ("prompt_pairs/prompts", ["a", "A"], "prompt_pairs/prompts names one prompt twice, as 'a' and as 'A'"),
        ("prompt_pairs/view", "flip", "prompt_pairs/view must be one of identity, "),
        ("pieces/pieces", [9], "pieces/pieces/0 must be one of 4, 16, 64, 256, 1024, not 9"),
        ("pieces/pieces", [1024], "pieces/pieces has 1024, but a side of 16 pixels is not cut into 32 equal parts"),
        ("inpainting/seeds", "9-5", "inpainting/seeds must be a range upwards of at most 1024 seeds, not 9-5"),
        ("inpainting/seeds", "0-1024", "inpainting/seeds must be a range upwards of at most 1024 seeds, not 0-1024"),
        (
            "inpainting/seeds",
            "all",
            '"all" in inpainting/seeds is not allowed: it must be a list of seeds, a number of ',
        ),
        (
            "inpainting/stage_1",
            {"guidance_interval": [0.8, 0.2]},
            "inpainting/stage_1/guidance_interval must be in ascending order, not [0.8, 0.2]",
        ),
        ("hybrid_image/kernel_size", 4, "hybrid_image/kernel_size must be odd, not 4"),
        ("text_to_image/upsample", [0, 7], "text_to_image/upsample names 7, which is not one of its seeds"),
        ("text_to_image/enlarge", [0], "text_to_image/enlarge names 0, which does not go through stage II"),
        ("inpainting/mask", None, "inpainting/mask must be text, not null"),
        ("inpainting/prompt", False, "inpainting/prompt must be text, not false: put it in quotes"),
        ("inpainting/task", "inpaint", "inpainting/task must be one of forward_process, "),
        ("inpainting/seed", 3, 'inpainting has an unknown entry "seed" (did you mean seeds?); known: task, '),
        (
            "text_to_image/prompts",
            ["a red one", "A red one "],
            "text_to_image/prompts names one prompt twice, as 'a red one' and as 'A red one ': case and extra spaces do",
        ),
        ("text_to_image/prompts", ["a red one", "a red  one"], "text_to_image/prompts names one prompt twice, as "),
        (
            "text_to_image/prompts",
            [{"a red three": "a study"}],
            'text_to_image/prompts/0 must be text, not {"a red three": "a study"}: put text with a colon or braces in q',
        ),
        ("text_to_image/upsample", 0, "text_to_image/upsample must be all, or a list of seeds, not 0"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(read, way, value, said):
    experiments, (name, entry) = copy.deepcopy(EXPERIMENTS), way.split("/")
    experiments[name][entry] = value
    with pytest.raises(ValueError) as refusal:
        read(experiments)
    assert str(refusal.value).startswith(f"tiny.yaml: {said}")


def test_pictures_that_are_none_are_refused_while_planning(read, tmp_path):
    (tmp_path / "page.jpg").write_text("<!DOCTYPE html>")
    whole = (tmp_path / "picture.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (40, 40)).save(tmp_path / "black.png")
    Image.new("L", (40, 20)).save(tmp_path / "wide.png")
    stroke = np.zeros((400, 400), np.uint8)
    stroke[:, 11:15] = 255  # at 64 pixels wide enough, at 16 not
    Image.fromarray(stroke).save(tmp_path / "stroke.png")
    for entry, name, said in [
        ("image", "page.jpg", " is a web page"),
        ("mask", "page.jpg", " is a web page"),
        ("mask", "half.png", ": damaged or not readable"),
        ("mask", "black.png", ", scaled to 16 x 16, is light in 0 of 256 pixels"),
        ("mask", "stroke.png", ", scaled to 16 x 16, is light in 0 of 256 pixels"),
        ("mask", "wide.png", " has 40 x 20 pixels, but must have the aspect ratio of "),
    ]:
        with pytest.raises(ValueError) as refusal:
            read({"x": EXPERIMENTS["inpainting"] | {entry: name}})
        assert str(refusal.value).startswith(f"tiny.yaml: x/{entry} cannot be used: ")
        assert f"{name}{said}" in str(refusal.value)


def test_pictures_are_read_whole_before_the_first_job(tmp_path):
    Image.new("P", (40, 40)).save(tmp_path / "plain.png")
    Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 50).save(tmp_path / "picture.png")
    files = [str(tmp_path / "picture.png"), str(tmp_path / "plain.png")]
    assert check_pictures(files, 16) == [f"{tmp_path}/plain.png has the same colour everywhere"]
    (tmp_path / "picture.png").write_bytes((tmp_path / "picture.png").read_bytes()[:-40])
    with pytest.raises(ValueError, match="picture.png: damaged"):
        check_pictures(files, 16)


def test_a_style_stands_before_every_prompt(read):
    style, with_prompts = (
        {"style": "An oil painting of "},
        [n for n, entries in EXPERIMENTS.items() if prompts_of(entries)],
    )
    experiments = read({name: EXPERIMENTS[name] | style for name in with_prompts})
    for name, experiment in experiments.items():
        assert "style" not in experiment
        before = [prompt for prompt in prompts_of(EXPERIMENTS[name]) if prompt]
        assert prompts_of(experiment) == ["", *(f"an oil painting of {prompt}" for prompt in before)]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("flip", "flip_vertical"), ("rotate_cw", "rotate_90_cw"), ("pixel_permute", "pixel_permutation")],
)
def test_views_are_known_by_the_names_that_the_paper_gives_them(read, theirs, ours):
    views = [{"view": "identity", "prompt": "a"}, {"view": theirs, "prompt": "b"}]
    with pytest.raises(
        ValueError, match=rf'views/1/view must be one of .*, not "{theirs}", which is called {ours} here$'
    ):
        read({"a": {"task": "visual_anagram", "views": views}})


def test_names_are_explained_in_words_and_an_empty_file_is_empty(read, tmp_path):
    with pytest.raises(
        ValueError, match=r'^tiny.yaml: "six-nine" in the document is not allowed: it must be a lower-case'
    ):
        read({"six-nine": {"task": "upsample", "image": "picture.png"}})
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    with pytest.raises(ValueError, match="^empty.yaml is empty$"):
        read_experiments("empty.yaml", SCHEMA, tmp_path)


def test_another_spelling_of_a_prompt_or_a_path_draws_nothing_again(read):
    one, other = (
        read({"a": {"task": "inpainting", "image": i, "mask": "mask.png", "prompt": p, "negative_prompt": p}})["a"]
        for i, p in (("picture.png", "a red three"), ("./picture.png", " A Red Three"))
    )
    assert one != other and what_is_sampled(one) == what_is_sampled(other)
    views = [
        {
            "a": {
                "task": "visual_anagram",
                "views": [{"view": "identity", "prompt": p}, {"view": "negate", "prompt": "b"}],
            }
        }
        for p in ("a", "A ")
    ]
    assert what_is_sampled(read(views[0])["a"]) == what_is_sampled(read(views[1])["a"])


def test_words_that_a_small_text_encoder_does_not_know_are_told_once_for_each_experiment(read):
    spiece = PROJECT / "resources/miniature/stage_1/tokenizer/spiece.model"
    texts = {"known": ["a red three", ""], "unknown": ["a dog, red", "a sevem on a redd background"]}
    experiments = read({name: {"task": "text_to_image", "prompts": prompts} for name, prompts in texts.items()})
    (warning,) = check_words(experiments, str(spiece))
    said, known = warning.split("; it knows only ")
    assert said == "unknown: the text encoder does not know 'dog,', 'redd', 'sevem'"
    assert set(known.split(", ")[:2]) == {"red", "seven"} and len(known.split(", ")) == 26
    assert check_words(experiments, "nowhere/spiece.model") == []


def test_a_text_encoder_that_makes_up_words_from_pieces_knows_any_word(read, tmp_path):
    with open(tmp_path / "spiece.model", "wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(["the dog and the doggerel", "a red three"] * 20),
            model_writer=file,
            vocab_size=18,
            minloglevel=2,
        )
    experiments = read({"x": {"task": "text_to_image", "prompts": ["a dreaded goat"]}})
    assert check_words(experiments, str(tmp_path / "spiece.model")) == []


def test_prompts_that_are_too_long_are_told_with_their_experiment(read):
    spiece = PROJECT / "resources/miniature/stage_1/tokenizer/spiece.model"
    texts = {"short": ["red " * 76], "long": ["a red three", "red " * 77]}
    experiments = read({name: {"task": "text_to_image", "prompts": prompts} for name, prompts in texts.items()})
    (warning,) = check_lengths(experiments, str(spiece), 77)
    assert warning.startswith("long will stop, and others go on: the prompt 'red red ")
    assert "has 78 tokens, and the text encoder takes 77: shorten it, or set text_encoder/truncate: true" in warning
    assert check_lengths(experiments, str(spiece), 78) == []


def test_seeds_are_counted_or_listed_or_a_range(read):
    for seeds, found in ((3, [0, 1, 2]), ([5, 3], [5, 3]), ("8-10", [8, 9, 10]), ("7-7", [7])):
        assert read({"one": EXPERIMENTS["forward_process"] | {"seeds": seeds}})["one"]["seeds"] == found


def test_every_pair_of_prompts_is_tried_unless_some_are_named(read):
    pairs = EXPERIMENTS["prompt_pairs"] | {"style": "a drawing of"}
    read_pairs = read({"one": pairs})["one"]["pairs"]
    eight, three, one = (f"a drawing of a red {digit}" for digit in ("eight", "three", "one"))
    assert read_pairs == [[eight, three], [eight, one], [three, one]]
    assert read({"one": pairs | {"pairs": [["a red three", "a red eight"]]}})["one"]["pairs"] == [[three, eight]]


def test_bands_must_fall(read):
    three = {"prompts": ["a", "b", "c"], "sigmas": [1.0, 2.0]}
    with pytest.raises(ValueError, match="hybrid_image/sigmas must be in decreasing order"):
        read({"hybrid_image": EXPERIMENTS["hybrid_image"] | three})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="^nowhere.yaml cannot be read: "):
        read_experiments("nowhere.yaml", SCHEMA, tmp_path)


def test_the_stages_of_an_experiment(read):
    experiments = read(EXPERIMENTS)
    for experiment in experiments.values():
        chosen = experiment | {"upsample": experiment["seeds"]}
        assert stages_of(chosen, SCHEMA, NOTHING) == tasks_of(SCHEMA)[experiment["task"]]["stages"]
    drawn = experiments["inpainting"]
    assert stages_of(drawn | {"upsample": []}, SCHEMA, NOTHING) == ["stage_1"]
    with_stage_3 = NOTHING | {"stage_3": {"model": "x4"}}
    assert stages_of(drawn, SCHEMA, with_stage_3) == ["stage_1", "stage_2"]
    assert stages_of(drawn | {"enlarge": [5]}, SCHEMA, with_stage_3) == ["stage_1", "stage_2", "stage_3"]
    assert stages_of(experiments["forward_process"], SCHEMA, with_stage_3) == ["stage_1"]


def test_the_pictures_the_samples_and_the_judge_of_an_experiment(read):
    experiments = read(EXPERIMENTS)
    drawn = experiments["inpainting"]
    masks = SCHEMA["x-masks"]
    assert pictures_of(drawn, masks) == {"image": "picture.png", "mask": "mask.png"}
    assert pictures_of(drawn | {"mask": "left"}, masks) == {"image": "picture.png"}
    shown_otherwise = drawn | {"title": "Another", "caption": "Another.", "upsample": [], "enlarge": []}
    assert what_is_sampled(shown_otherwise) == what_is_sampled(drawn) != what_is_sampled(drawn | {"prompt": "a"})
    assert judge_of(drawn, SCHEMA, NOTHING) is None
    assert judge_of(drawn, SCHEMA, NOTHING | {"clip_judge": {}}) == "clip_judge"
    assert judge_of(drawn, SCHEMA, NOTHING | {"judge": "itself"}) == "self_judge"
    assert judge_of(experiments["forward_process"], SCHEMA, NOTHING | {"judge": "a"}) is None


def test_the_section_of_an_experiment_is_its_tasks_or_that_of_what_it_compares(read):
    experiments = read(EXPERIMENTS)
    scales = experiments["text_to_image"]
    assert section_of(scales, SCHEMA) == "guidance"
    one_scale = {entry: value for entry, value in scales.items() if entry != "guidance_scales"}
    assert section_of(one_scale | {"stage_2": {"guidance_scale": 9}}, SCHEMA) == "sampling"
    assert section_of(experiments["inpainting"], SCHEMA) == "inpainting"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "results/mini/six_nien/figure.json",
            "there is no mini/six_nien (did you mean six_nine?); known: six_nine, three, prompt_embeds",
        ),
        ("results/mini/x/figure.json", "there is no mini/x; known: six_nine, three, prompt_embeds"),
        ("./results//mini/x/figure.json", "there is no mini/x; known: six_nine, three, prompt_embeds"),
        ("results/mnist/clas/epoch_1/samples.png", "there is no mnist/clas (did you mean class?); known: class, time"),
        ("results/mnits/class/epoch_1/samples.png", "there is no results/mnits (did you mean mnist?)"),
        ("results/deep/six_nine/figure.json", "the configured cascade is mini; add --config cascade=deep"),
        ("results/mini/three/print.pdf", "only anagrams can be printed, and three has no views"),
        (
            "results/mini/three/stage_3.safetensors",
            "three has no stage_3.safetensors (did you mean stage_1.safetensors?); it has: stage_1.safetensors, figure.json",
        ),
        (
            "results/mnist/time/epoch_3/777_seed_5",
            "time cannot be told which digits to draw; those that can: class",
        ),
    ],
)
def test_a_mistyped_target_is_answered_with_the_nearest_name(target, said):
    names = {"mnist": ["class", "time"], "mini": ["six_nine", "three", "prompt_embeds"]}
    files = {"three": ["stage_1.safetensors", "figure.json"]}
    what = (names, ["class"], files | {"six_nine": [*files["three"], "print.pdf"]})
    right = [
        "results/mini/three/figure.json",
        "results/report.html",
        "results/logs/a/b",
        "all",
        "--report",
        "results/x.html",
        "results/mini/six_nine/print.pdf",
        "results/mnist/class/epoch_3/777_seed_5",
        "results/mnist/time/epoch_3/samples.safetensors",
        "results/mini/prompt_embeds/x.safetensors",
        "results/miniature_training/quality/shipped.json",
        "results/side_by_side/x/table.md",
    ]
    check_targets(right, "mini", ["mini", "deep"], *what)
    with pytest.raises(ValueError) as refusal:
        check_targets([*right, target], "mini", ["mini", "deep"], *what)
    assert str(refusal.value) == f"{target}: {said}"
    with pytest.raises(ValueError, match=": no cascade is configured; add --config cascade=deep$"):
        check_targets(["results/deep/x/figure.json"], None, ["mini", "deep"], {"mnist": ["class"]}, ["class"], {})


def test_a_walk_that_cannot_be_meant_is_refused_whoever_asked_for_it(whole_config, read):
    sampling, cascade = whole_config["sampling"], whole_config["cascades"]["miniature"]
    cascade["stage_2"]["sampling"] = {"guidance_scale": 1}
    experiments = read(EXPERIMENTS)
    check_walks(sampling, cascade, experiments, "x.yaml")
    for entries in (sampling["stage_2"], cascade["stage_2"]["sampling"], experiments["inpainting"]["stage_2"]):
        before = dict(entries)
        entries |= {"steps": 2, "spacing": "leading"}
        with pytest.raises(
            ValueError, match="^x.yaml: [a-z_]+/stage_2: spacing leading with 2 steps begins at t = 500"
        ):
            check_walks(sampling, cascade, experiments, "x.yaml")
        entries.clear()
        entries |= before
    compared = experiments | {"text_to_image": experiments["text_to_image"] | {"steps": [20, 2]}}
    with pytest.raises(
        ValueError, match="^x.yaml: text_to_image/stage_1: spacing leading with 2 steps begins at t = 500"
    ):
        check_walks(
            sampling | {"stage_1": sampling["stage_1"] | {"spacing": "leading"}},
            {"stage_1": {"sampling": {}}, "stage_2": cascade["stage_2"]},
            compared,
            "x.yaml",
        )
    away = experiments | {"visual_anagram": experiments["visual_anagram"] | {"away": 3}}
    with pytest.raises(ValueError, match="^x.yaml: visual_anagram/away must be less than the guidance scale, 3$"):
        check_walks(sampling, cascade, away, "x.yaml")
    inverted = experiments | {"image_to_image": experiments["image_to_image"] | {"invert": True}}
    with pytest.raises(ValueError, match="^x.yaml: image_to_image/invert needs a sampler without noise"):
        check_walks(
            sampling,
            {"stage_1": {"sampling": {"sampler": "sde_dpm_solver"}}, "stage_2": cascade["stage_2"]},
            inverted,
            "x.yaml",
        )
    inverted["image_to_image"] |= {"stage_1": {"sampler": "ddim"}}
    check_walks(sampling, cascade, inverted, "x.yaml")
    away["visual_anagram"] |= {"away": 1, "stage_1": {"guidance_interval": [0, 0.5]}}
    with pytest.raises(
        ValueError, match="^x.yaml: visual_anagram/away leads at every timestep: leave it out, or guidance_interval$"
    ):
        check_walks(sampling, cascade, away, "x.yaml")
    experiments["forward_process"]["stage_1"] = {"steps": 1}  # which asks no network
    check_walks(sampling, cascade, experiments, "x.yaml")


@pytest.mark.parametrize(
    ("name", "entry"), [("image_to_image", "starts"), ("denoising", "timesteps"), ("forward_process", "timesteps")]
)
def test_times_between_0_and_1_are_a_flows(whole_config, read, name, entry):
    sampling, cascade = whole_config["sampling"], whole_config["cascades"]["miniature"]
    experiments = read(EXPERIMENTS | {name: EXPERIMENTS[name] | {entry: [690.0, 0.5]}})
    assert experiments[name][entry] == [690, 0.5]
    with pytest.raises(
        ValueError, match=f"^x.yaml: {name}/{entry} has t = 0.5: only on a flow is a time between 0 and 1, so add"
    ):
        check_walks(sampling, cascade, experiments, "x.yaml")
    experiments[name]["stage_1"] = {"path": "flow"}
    check_walks(sampling, cascade, experiments, "x.yaml")
    wrong = EXPERIMENTS | {name: EXPERIMENTS[name] | {entry: [1.5]}}
    with pytest.raises(
        ValueError, match=f"{name}/{entry} has 1.5: a timestep is a whole number, and the time of a flow is"
    ):
        read(wrong)


def test_a_models_own_sampling_overrides_the_shared_one_and_is_no_reason_to_train(whole_config):
    mnist = whole_config["mnist"]
    mnist["models"]["time_conditioned"]["sampling"] = {"sampler": "ddim", "guide_epoch": 3}
    shared, own = (digit_sampling(mnist, model) for model in ("class_conditioned", "time_conditioned"))
    assert own == shared | {"sampler": "ddim", "guide_epoch": 3} and "num_images" not in shared
    trained = networks(mnist)["time_conditioned"]
    assert trained["model"] == {
        "network": "small",
        "width": 32,
        "class_conditioned": False,
        "prediction_type": "sample",
    }
    mnist["models"]["time_conditioned"]["sampling"] = {}
    assert networks(mnist)["time_conditioned"] == trained


def test_networks_to_compare_differ_only_in_what_they_predict(whole_config):
    mnist = whole_config["mnist"]
    model = mnist["models"]["class_conditioned"]
    mnist["predictions"] = {"model": "class_conditioned", "epochs": 5}
    assert predictions(mnist) == {
        "class_conditioned": model,
        "class_conditioned_epsilon": model | {"prediction_type": "epsilon"},
        "class_conditioned_v_prediction": model | {"prediction_type": "v_prediction"},
    }
    mnist["predictions"] = {
        "model": "flow_matching",
        "epochs": 5,
    }  # where there may be no signal, the noise is not enough
    assert list(predictions(mnist)) == ["flow_matching", "flow_matching_v_prediction", "flow_matching_sample"]
    mnist["predictions"] = None
    assert predictions(mnist) == {}


@pytest.mark.parametrize(
    ("models", "model", "said"),
    [
        (
            {},
            "klass",
            "mnist/predictions/model must be one of time_conditioned, class_conditioned, flow_matching, not klass",
        ),
        (
            {"class_conditioned_epsilon": {"network": "small", "class_conditioned": True}},
            "class_conditioned",
            "mnist/models/class_conditioned_epsilon is a name that mnist/predictions needs",
        ),
    ],
)
def test_a_comparison_that_cannot_be_meant_is_refused(whole_config, models, model, said):
    whole_config["mnist"]["models"] |= models
    whole_config["mnist"]["predictions"] = {"model": model, "epochs": 5}
    with pytest.raises(ValueError, match=f"^config.yaml: {said}"):
        complete_config(whole_config, CONFIG_SCHEMA, [])


def test_the_epochs_that_are_drawn_from():
    assert sampled_epochs({"sampling": {"epochs": [1, 5, 10]}}, 7) == [1, 5, 7]
    assert sampled_epochs({"sampling": {"epochs": [5, 1]}}, 5) == [1, 5]


def test_a_network_may_have_its_own_schedule_and_epochs(whole_config):
    mnist = whole_config["mnist"]
    mnist["models"]["flow"] = {"network": "small", "class_conditioned": True, "schedule": "flow", "epochs": 4}
    complete_config(whole_config, CONFIG_SCHEMA, [])
    found = networks(mnist)
    assert found["flow"]["schedule"] == {"name": "flow", "num_train_timesteps": 300} and found["flow"]["epochs"] == 4
    assert (
        found["flow"]["model"]["prediction_type"] == "flow" and found["class_conditioned"]["epochs"] == mnist["epochs"]
    )
    assert found["class_conditioned"]["schedule"]["name"] == "cosine"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"network": "small", "schedule": "flow", "prediction_type": "epsilon"},
            "x/prediction_type must be one of flow, sample",
        ),
        ({"network": "small", "time": "multiplied"}, "x/time is an entry of the network cs180, not of small"),
    ],
)
def test_entries_of_a_network_that_do_not_go_together(whole_config, changes, said):
    whole_config["mnist"]["models"]["x"] = changes | {"class_conditioned": True}
    with pytest.raises(ValueError, match=f"^config.yaml: mnist/models/{said}"):
        complete_config(whole_config, CONFIG_SCHEMA, [])


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ({"models": ["klass"]}, "mnist/calls/models must be one of time_conditioned, class_conditioned, .*not klass"),
        (
            {"models": ["time_conditioned"]},
            "mnist/calls/models has time_conditioned, which is not conditioned on the class",
        ),
    ],
)
def test_networks_whose_calls_cannot_be_compared(whole_config, calls, said):
    whole_config["mnist"]["calls"] = calls
    with pytest.raises(ValueError, match=f"^config.yaml: {said}"):
        complete_config(whole_config, CONFIG_SCHEMA, [])


def test_the_denoisers_and_the_checkpoints_that_are_kept(whole_config):
    mnist = whole_config["mnist"]
    mnist["denoiser"] = {"network": "cs180", "sigma": 0.5, "others": [0.25], "epochs": 5, "images_per_epoch": 1000}
    complete_config(whole_config, CONFIG_SCHEMA, [])
    main, other, pure = denoisers(mnist).values()
    assert list(denoisers(mnist)) == ["denoiser_0_5", "denoiser_0_25", "denoiser_noise"]
    assert main["schedule"] == {"name": "one_level", "signal": 1, "sigma": 0.5} and main["model"]["time"] == "none"
    assert pure["schedule"] == {"name": "one_level", "signal": 0, "sigma": 1} and main["pixels"] == "unit"
    assert (main["kept"], other["kept"]) == ([1, 5], [5])
    assert [epoch_before(main, 1), epoch_before(main, 5), epoch_before(other, 5)] == [0, 1, 0]
    assert [epoch_before(networks(mnist)["class_conditioned"], epoch) for epoch in (1, 5)] == [0, 4]
    mnist["denoiser"]["images_per_epoch"] = 60000
    assert {network["kept"] for network in denoisers(mnist).values()} == {None}, "a job an epoch, if it is long"
    mnist["denoiser"] = None
    assert denoisers(mnist) == {}


def test_networks_that_are_only_compared_are_trained_in_one_job_unless_that_is_long(whole_config):
    mnist = whole_config["mnist"]
    mnist |= {"predictions": {"model": "class_conditioned", "epochs": 5}, "denoiser": None}
    complete_config(whole_config, CONFIG_SCHEMA, [])
    kept = {name: network["kept"] for name, network in networks(mnist).items() if name not in mnist["models"]}
    assert kept == {f"class_conditioned_{kind}": [5] for kind in ("epsilon", "v_prediction")}
    assert all(networks(mnist)[name]["kept"] is None for name in mnist["models"])
    mnist["images_per_epoch"] = 60000
    assert {network["kept"] for network in networks(mnist).values()} == {None}


def test_a_data_set_has_names_for_its_classes(whole_config):
    mnist = whole_config["mnist"]
    assert class_names(mnist) == [str(digit) for digit in range(10)]
    assert class_names(mnist | {"dataset": "fashion_mnist"})[9] == "Ankle boot"
    assert class_names(mnist | {"classes": list("abcdefghij")}) == list("abcdefghij")
    mnist["dataset"] = "own"
    with pytest.raises(ValueError, match="^config.yaml: mnist lacks the entry data, the folder of the data set own"):
        complete_config(whole_config, CONFIG_SCHEMA, [])


def test_the_report_shows_every_figure_once():
    conditioned = {"class_conditioned": True}
    mnist = {
        "models": {"a": conditioned, "b": {}},
        "predictions": None,
        "calls": None,
        "denoiser": None,
        "ideas": None,
        "one_call": None,
    }
    figures = report_figures("tiny", EXPERIMENTS, mnist)
    assert len(figures) == len(set(figures)) == len(EXPERIMENTS) + 2 + 2 * 3
    assert figures[0] == "results/tiny/forward_process/figure.json" and figures[-1].startswith("results/mnist/curves")
    assert report_figures(None, {}, mnist)[0] == "results/mnist/schedules/figure.json"
    more = report_figures(None, {}, mnist | {"predictions": {}, "calls": {}, "denoiser": {}})
    assert [path.split("/")[2] for path in more[-3:]] == ["predictions", "calls", "single_step"]
    more = report_figures(None, {}, mnist | {"ideas": {"model": "a"}})
    assert [path.split("/")[2] for path in more[-5:]] == list(IDEAS)


def test_the_networks_that_show_the_ideas(whole_config):
    mnist = whole_config["mnist"]
    mnist |= {"ideas": {"model": "class_conditioned"}, "epochs": 12}
    complete_config(whole_config, CONFIG_SCHEMA, [])
    (alone,) = idea_networks(mnist, "memory")
    assert alone["name"] == "class-conditioned, epoch 12" and alone["sampling"]["guidance_scale"] == 2
    shown = [(one["model_name"], one["epoch"]) for one in idea_networks(mnist, "agreement")]
    assert shown[:4] == [("class_conditioned", epoch) for epoch in (2, 5, 10, 12)]
    assert shown[4:] == [("time_conditioned", 12), ("flow_matching", 10)]
    mnist["ideas"]["model"] = "time_conditioned"
    assert ideas(mnist) == ["memory", "agreement", "spectrum"], "the others ask for digits by their class"
    mnist["ideas"]["model"] = "klass"
    with pytest.raises(
        ValueError, match="^config.yaml: mnist/ideas/model must be one of time_conditioned, .*, not klass"
    ):
        complete_config(whole_config, CONFIG_SCHEMA, [])


def other_spellings(entries):
    """The same entries as somebody else might write them: keys from the end, 3.0 for 3."""
    if isinstance(entries, dict):
        return {key: other_spellings(entries[key]) for key in reversed(entries)}
    if isinstance(entries, list):
        return [other_spellings(entry) for entry in entries]
    return float(entries) if isinstance(entries, int) and not isinstance(entries, bool) else entries


def test_no_entry_of_the_configuration_has_two_forms(whole_config):
    assert str(canonical(other_spellings(whole_config))) == str(canonical(whole_config))
    assert str(canonical({"b": [{"d": 1.0, "c": True}], "a": 3e3})) == "{'a': 3000, 'b': [{'c': True, 'd': 1}]}"


def test_a_default_written_out_is_no_difference(whole_config):
    """Every entry that has a default is left out, and filled in again."""

    def without_defaults(entries, schema):
        named = schema.get("properties", {})
        other = schema.get("additionalProperties") or {}
        return {
            key: without_defaults(entry, named.get(key, other)) if isinstance(entry, dict) else entry
            for key, entry in entries.items()
            if "default" not in named.get(key, other) or entry != named.get(key, other)["default"]
        }

    short = without_defaults(whole_config, CONFIG_SCHEMA)
    assert len(yaml.safe_dump(short)) < len(yaml.safe_dump(whole_config))
    assert str(canonical(checked(short, CONFIG_SCHEMA, "config.yaml"))) == str(canonical(whole_config))


def test_the_time_of_an_epoch_follows_its_images_and_its_network():
    shared = {"images_per_epoch": 60000, "kept": None}
    of = {"a": ("small", 32), "b": ("small", 64), "c": ("cs180", 64)}
    nets = {key: shared | {"model": {"network": network, "width": width}} for key, (network, width) in of.items()}
    for minutes in (lambda net: epoch_minutes(net, 3), lambda net: sampling_minutes(net, {"num_steps": 30}, 2000)):
        assert minutes(nets["a"]) < minutes(nets["b"]) < minutes(nets["c"])
    assert epoch_minutes(nets["c"] | {"images_per_epoch": 1}, 3) == 2
    assert epoch_minutes(nets["c"] | {"kept": [1, 5]}, 5) > 3 * epoch_minutes(nets["c"], 5), "four epochs in one job"


def test_more_steps_than_timesteps_are_refused(whole_config):
    mnist = whole_config["mnist"]
    mnist["models"].pop("flow_matching")
    mnist["calls"] = None
    for own, where in (({}, "sampling"), ({"num_steps": 40}, "models/time_conditioned/sampling")):
        mnist["models"]["time_conditioned"]["sampling"] = own
        mnist["schedule"]["num_train_timesteps"] = own.get("num_steps", mnist["sampling"]["num_steps"])
        complete_config(whole_config, CONFIG_SCHEMA, [])
        mnist["schedule"]["num_train_timesteps"] -= 1
        with pytest.raises(ValueError, match=f"^config.yaml: mnist/{where}/num_steps must be at most"):
            complete_config(whole_config, CONFIG_SCHEMA, [])


# --- the parts of a cascade ---


def test_parts_of_the_hub_are_fetched_and_folders_are_not(configured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deepfloyd = Parts("deepfloyd", configured["deepfloyd"], str, None)
    everything = {"text_encoder", "stage_1", "stage_2", "stage_3", "clip_judge", "safety_checker", "watermark"}
    assert set(deepfloyd.on_hub()) == set(deepfloyd.to_fetch()) == everything
    assert set(Parts("deepfloyd", configured["deepfloyd"], str, "embeds.pth").on_hub()) == everything - {"text_encoder"}
    assert deepfloyd.weight_files("stage_1") == []
    (file,) = deepfloyd.fetched("stage_2")
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).touch()
    assert set(deepfloyd.to_fetch()) == everything - {"stage_2"}
    assert Parts("deepfloyd", configured["deepfloyd"], str, None).fetched("stage_1", "stage_2")[1] == file


def test_a_folder_stands_for_its_files(configured):
    miniature = Parts("miniature", configured["miniature"], lambda path: str(PROJECT / path), None)
    assert miniature.on_hub() == {}
    assert miniature.folder("stage_1") == str(PROJECT / "resources/miniature/stage_1")
    files = miniature.weight_files("stage_1")
    assert any(file.endswith("unet/config.json") for file in files) and not any("text_encoder" in f for f in files)
    assert "sampling" not in miniature.model("stage_1") and miniature.needs("stage_1", "gpu") == 0
    assert miniature.grid() == 16 and Parts("deepfloyd", configured["deepfloyd"], str, None).grid() == 64


def test_a_folder_that_is_not_there_or_not_whole_is_refused(configured, tmp_path):
    for option, made in (("stage_3", make_upscaler), ("clip_judge", make_clip)):
        configured["miniature"][option] = configured["deepfloyd"][option] | {"model": made(tmp_path / option).name}
        configured["miniature"][option] |= {"revision": None, "variant": "fp16" if option == "stage_3" else None}
    for part in ("stage_1", "stage_2"):
        shutil.copytree(PROJECT / f"resources/miniature/{part}", tmp_path / part)
        configured["miniature"][part]["model"] = part
    shutil.copytree(make_safety(tmp_path / "safety"), tmp_path / "stage_1", dirs_exist_ok=True)
    configured["miniature"] |= {"judge": "judge", "safety_checker": True, "watermark": True}
    configured["miniature"]["text_encoder"]["model"] = "stage_1"
    (tmp_path / "judge").touch()

    def check(embeds=None):
        Parts("m", configured["miniature"], lambda path: str(tmp_path / path), embeds).check_folders()

    check()
    for name, said in {
        "stage_1/unet/config.json": "stage_1/model: stage_1 has no unet/config.json",
        "stage_1/scheduler/scheduler_config.json": "stage_1/model: stage_1 has no scheduler/scheduler_config.json",
        "stage_2/unet/diffusion_pytorch_model.safetensors": "stage_2/model: stage_2 has no weights in unet",
        "stage_1/tokenizer/spiece.model": "text_encoder/model: stage_1 has no tokenizer/spiece.model",
        "stage_3/vae/config.json": "stage_3/model: stage_3 has no vae/config.json",
        "clip_judge/merges.txt": "clip_judge/model: clip_judge has no merges.txt",
        "stage_1/watermarker/config.json": "stage_1/model: stage_1 has no watermarker/config.json .watermark: false does",
        "stage_1/feature_extractor/preprocessor_config.json": "stage_1/model: stage_1 has no feature_extractor/prepro",
        "judge": "judge must be a file, or itself; there is no judge",
        "stage_2": "stage_2/model: stage_2 must be a folder, and there is none of that name",
    }.items():
        (tmp_path / name).rename(tmp_path / "away")
        with pytest.raises(ValueError, match=f"^config.yaml: cascades/m/{said}"):
            check()
        if "tokenizer" in name:
            check("embeds.pth")  # which needs no text encoder
        (tmp_path / "away").rename(tmp_path / name)


def test_an_embeddings_name_depends_on_the_prompt_and_its_encoder(configured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = configured["miniature"]
    name = Parts("m", entry, lambda path: str(PROJECT / path), None).embedding
    assert name("A Dog ") == name(normalise("A Dog ")) != name("a cat")
    for changed in ({"max_length": 60}, {"truncate": True}):
        other = entry | {"text_encoder": entry["text_encoder"] | changed}
        assert name("a dog") != Parts("m", other, lambda path: str(PROJECT / path), None).embedding("a dog")
    with pytest.raises(ValueError, match="cascades/m/text_encoder/model: nowhere/.* has no text encoder"):
        Parts("m", entry, "nowhere/{}".format, None).embedding("a dog")
    with pytest.raises(ValueError, match="config.yaml: prompt_embeds cannot be read: "):
        Parts("m", entry, str, "nowhere.pth").embedding("a dog")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/embeds.pth").touch()
    with pytest.raises(
        ValueError, match="prompt_embeds must be a .pth file, or a folder .*: folder has no .*safetensors"
    ):
        Parts("m", entry, str, "folder").embedding("a dog")


@pytest.mark.parametrize(
    ("entries", "files", "words"),
    [
        ({}, [], []),
        ({"cascade": "deepfloyd"}, [], ["--config", "cascade=deepfloyd"]),
        ({}, ["/p/q/config.yaml", "/p/q/presets/full.yaml"], ["--configfile", "config.yaml", "presets/full.yaml"]),
        ({}, ["/p/q/../mine.yaml", "/home/somebody/a b.yaml"], ["--configfile", "…/mine.yaml", "…/a b.yaml"]),
        ({}, ["/p/quite/mine.yaml"], ["--configfile", "…/mine.yaml"]),
        (
            {"prompt_embeds": "/p/q/e.pth", "experiments": "/srv/x/mine.yaml"},
            [],
            ["--config", "prompt_embeds=e.pth", "experiments=…/mine.yaml"],
        ),
        ({"prompt_embeds": None, "x": True, "n": 3}, [], ["--config", "prompt_embeds=", "x=True", "n=3"]),
        ({"mnist": {"data": "/srv/m", "s": ["1", "it's"]}}, [], ["--config", "mnist={data: …/m, s: ['1', it's]}"]),
    ],
)
def test_a_run_s_options_are_quoted_and_have_no_folder_of_this_machine(entries, files, words):
    assert shlex.split(command_options(entries, files, "/p/q")) == words


def test_snakemake_reads_the_options_back():
    entries = {
        "cascade": "deepfloyd",
        "mnist": {"epochs": "2", "notes": ["a b", "c: d", "ü", "$HOME `x`"]},
        "number": 2,
        "none": None,
    }
    _, *settings = shlex.split(command_options(entries, [], "/p/q"))
    assert parse_config(settings) == entries
