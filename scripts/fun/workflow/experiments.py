"""The experiments of a cascade, read, checked and completed, and what each consists of. Needs no torch, no Snakemake."""

import math
import os
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import yaml

from fun.data.prompts import normalise
from fun.workflow.documents import Document
from fun.workflow.refusals import canonical, checked

STAGES = ("stage_1", "stage_2")
ITSELF = "itself"  # the judge that is stage I
MOST_SEEDS = 1024
HYBRIDS = ("hybrid_image", "colour_hybrid", "motion_hybrid")
GRID = 64  # pixels: the side of pictures of DeepFloyd IF's stage I
# Entries that only affect how an experiment is shown, or that a job gets as a parameter of their own.
SHOWN_ONLY = ("title", "caption", "note", "licence", "upsample", "enlarge", *STAGES)


def read_schema(path: Path) -> dict:
    """The schema of experiments: rules/experiments.schema.yaml, with a condition added for each of its tasks."""
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    of_task, names = (
        schema["$defs"]["experiment"],
        [name for name, entry in schema["$defs"].items() if "x-task" in entry],
    )
    of_task["properties"]["task"]["enum"] = names
    of_task["allOf"] = [
        {"if": {"required": ["task"], "properties": {"task": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}}
        for name in names
    ]
    return schema


def tasks_of(schema: dict) -> dict[str, dict]:
    """{task: its entry x-task in the schema}."""
    return {name: {"section": name} | entry["x-task"] for name, entry in schema["$defs"].items() if "x-task" in entry}


def read_experiments(path: str, schema: dict, base: Path, grid: int = GRID) -> dict[str, dict]:
    """The experiments of the file `path` by name, checked and completed with the schema's defaults.

    Args:
        path: relative to the folder `base`, as are the paths of the experiments' pictures.
        schema: from `read_schema`.
        grid: the side of stage I's pictures in pixels, on which masks are checked.

    Raises:
        ValueError: the file cannot be read or used; one sentence names the file and the entry.
    """
    file = Document(_at(base, path), path)
    document = checked(file.content, schema, path, file.typed)
    for name, experiment in document.items():
        try:
            _resolve_seeds(experiment)
            _put_style_first(experiment)
            if experiment["task"] == "prompt_pairs" and experiment["pairs"] is None:
                experiment["pairs"] = [list(pair) for pair in combinations(experiment["prompts"], 2)]
            check_experiment(experiment, schema["x-masks"], base, grid)
        except ValueError as error:
            raise ValueError(f"{path}: {name}/{error}") from error
    return {name: canonical(experiment) for name, experiment in document.items()}


def _resolve_seeds(experiment):
    """Lists of seeds in place of "the first n", "from a to b" and "all"."""
    seeds = experiment["seeds"]
    if isinstance(seeds, int):
        experiment["seeds"] = list(range(seeds))
    elif isinstance(seeds, str):
        first, last = map(int, seeds.split("-"))
        if not 0 <= last - first < MOST_SEEDS:
            raise ValueError(f"seeds must be a range upwards of at most {MOST_SEEDS} seeds, not {seeds}")
        experiment["seeds"] = list(range(first, last + 1))
    for entry in ("upsample", "enlarge"):
        if experiment.get(entry) == "all":
            experiment[entry] = experiment["seeds"] if entry == "upsample" else _upsampled(experiment)


def _put_style_first(experiment):
    """Take the style out of an experiment, and put it before each of its prompts."""
    style = experiment.pop("style", "")

    def styled(prompt):
        return " ".join(filter(None, [style.strip(), prompt]))

    for entries in (experiment, *experiment.get("views", [])):
        entries |= {"prompt": styled(entries["prompt"])} if "prompt" in entries else {}
    if "prompts" in experiment:
        experiment["prompts"] = [styled(prompt) for prompt in experiment["prompts"]]
    if experiment.get("pairs"):
        experiment["pairs"] = [[styled(prompt) for prompt in pair] for pair in experiment["pairs"]]


def _upsampled(experiment):
    """The seeds that go through stage II; the task upsample has no stage I to choose from."""
    return experiment.get("upsample", experiment["seeds"])


def check_experiment(experiment: dict, masks: list[str], base: Path, grid: int) -> None:
    """Raise ValueError for what no schema can check: entries that do not go together, files that are no pictures."""
    if rest := {*_upsampled(experiment)} - {*experiment["seeds"]}:
        raise ValueError(f"upsample names {min(rest)}, which is not one of its seeds")
    if rest := {*experiment.get("enlarge", [])} - {*_upsampled(experiment)}:
        raise ValueError(f"enlarge names {min(rest)}, which does not go through stage II")
    for entry in ("starts", "timesteps"):
        if wrong := [time for time in experiment.get(entry, []) if time > 1 and time != int(time)]:
            raise ValueError(
                f"{entry} has {wrong[0]}: a timestep is a whole number, and the time of a flow is between 0 and 1"
            )
    if experiment["task"] in ("text_to_image", "prompt_pairs"):
        _check_prompts(experiment["prompts"])
    if "pairs" in experiment:
        _check_pairs(experiment["pairs"], experiment["prompts"])
    if experiment["task"] == "hybrid_image":
        _check_bands(experiment["sigmas"], experiment["kernel_size"])
    if experiment["task"] in HYBRIDS:
        _check_parts(experiment)
    if wrong := [count for count in experiment.get("pieces", []) if grid % math.isqrt(count)]:
        raise ValueError(
            f"pieces has {wrong[0]}, but a side of {grid} pixels is not cut into {math.isqrt(wrong[0])} equal parts"
        )
    pictures = pictures_of(experiment, masks)
    for entry, path in pictures.items():
        if not os.path.isfile(_at(base, path)):  # unlike Path.is_file, no error if the name is too long
            known = f" ({', '.join(masks)}, or a file)" if entry == "mask" else ""
            raise ValueError(f"{entry} must be a picture{known}: {_no_file(base, path)}")
    there = {entry: _at(base, path) for entry, path in pictures.items()}
    _check_pictures({e: p if os.path.isabs(pictures[e]) else os.path.relpath(p) for e, p in there.items()}, grid)


def _at(base: Path, path: str) -> Path:
    """A path of the user's: relative to the project's folder `base`, absolute, or beginning with ~."""
    return base / os.path.expanduser(path)


def _no_file(base: Path, path: str) -> str:
    if "://" in path:
        return f"{path} is a URL; download it, and name the file"
    return f"{path} is a folder" if os.path.isdir(_at(base, path)) else f"there is no file {path}"


def _check_pictures(pictures: dict[str, str], grid: int) -> None:
    """Read the headers of pictures, and masks as a whole. Under --sdm conda only the jobs have Pillow, and check again."""
    if None in map(find_spec, ("numpy", "PIL")) or not pictures:
        return
    from fun.data.images import check_picture, check_shape, load_mask

    for entry, path in pictures.items():
        try:
            check_picture(path)
            if entry == "mask":
                check_shape(path, pictures["image"])
                load_mask(path, grid)
        except ValueError as error:
            raise ValueError(f"{entry} cannot be used: {error}") from error


def _check_prompts(prompts: list[str]) -> None:
    spelled = {}
    for prompt in prompts:
        first = spelled.setdefault(" ".join(normalise(prompt).split()), prompt)  # the same tokens
        if first is not prompt:
            raise ValueError(
                f"prompts names one prompt twice, as {first!r} and as {prompt!r}: case and extra spaces do not count"
            )


def _check_pairs(pairs: list[list[str]], prompts: list[str]) -> None:
    for pair in pairs:
        if rest := [prompt for prompt in pair if prompt not in prompts]:
            raise ValueError(f"pairs names {rest[0]!r}, which is none of the prompts")


def _check_parts(experiment: dict) -> None:
    parts = len(experiment["sigmas"]) + 1 if "sigmas" in experiment else 2
    given = experiment["image"] is not None
    if len(experiment["prompts"]) != parts - given:
        wanted = f"{parts}, one for each part" if not given else f"{parts - 1}, one for each part but that of the image"
        raise ValueError(f"prompts must have a length of {wanted}, not {len(experiment['prompts'])}")


def _check_bands(sigmas: list[float], kernel_size: int | None) -> None:
    if sigmas != sorted(set(sigmas), reverse=True):
        raise ValueError(f"sigmas must be in decreasing order, not {sigmas}")
    if (kernel_size or 1) % 2 == 0:
        raise ValueError(f"kernel_size must be odd, not {kernel_size}")


def pictures_of(experiment: dict, masks: list[str]) -> dict[str, str]:
    """The user's files that an experiment names, by entry; a mask given by name is not a file."""
    return {e: experiment[e] for e in ("image", "mask") if experiment.get(e) is not None and experiment[e] not in masks}


def stages_of(experiment: dict, schema: dict, cascade: dict) -> list[str]:
    """The stages that an experiment goes through in a cascade, in order."""
    stages = tasks_of(schema)[experiment["task"]]["stages"]
    run = [stage for stage in stages if stage == "stage_1" or experiment.get("upsample") != []]
    enlarged = "stage_2" in run and cascade["stage_3"] is not None and experiment["enlarge"] != []
    return [*run, "stage_3"] if enlarged else run


def section_of(experiment: dict, schema: dict) -> str:
    """The section of the report that an experiment's figure belongs to: its task's, or that of an entry that it has."""
    task = tasks_of(schema)[experiment["task"]]
    return next((s for entry, s in task.get("section_with", {}).items() if entry in experiment), task["section"])


def what_is_sampled(experiment: dict) -> dict:
    """The entries of an experiment that determine its samples: all but SHOWN_ONLY, with prompts as the text encoder sees them,
    and paths in one form."""

    def in_one_form(entry, value):
        if isinstance(value, list):
            return [in_one_form(entry, item) for item in value]
        if isinstance(value, dict):
            return {key: in_one_form(key, item) for key, item in value.items()}
        if entry in ("prompt", "prompts", "pairs", "negative_prompt"):
            return normalise(value)
        return os.path.normpath(value) if entry in ("image", "mask") and value else value

    return {key: in_one_form(key, value) for key, value in experiment.items() if key not in SHOWN_ONLY}


def judge_of(experiment: dict, schema: dict, cascade: dict) -> str | None:
    """Which judge scores an experiment's pictures: judge, clip_judge or self_judge (stage I itself); None if the cascade has none, or
    the task has nothing to judge."""
    judges = [judge for judge in ("judge", "clip_judge") if cascade[judge] is not None]
    judges = ["self_judge"] if cascade["judge"] == ITSELF else judges
    return judges[0] if judges and tasks_of(schema)[experiment["task"]]["judged"] else None
