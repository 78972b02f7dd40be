"""What a configuration asks for, besides its experiments."""

import contextlib
import math
import os
import re
import shlex
from pathlib import Path

import yaml

from fun.data.prompts import prompts_of
from fun.data.timesteps import IF_TIMESTEPS, check_walk
from fun.workflow.digits import complete_mnist, ideas
from fun.workflow.documents import Document
from fun.workflow.refusals import checked, nearest

# Folders of results besides mnist and the cascades'.
OTHERS = ("miniature_training", "side_by_side", "logs", "benchmarks")


def complete_config(config: dict, schema: dict, files: list[Document]) -> None:
    """Check the configuration that Snakemake read from its command line and from `files`, the most important first, and fill in
    the schema's defaults.

    Raises:
        ValueError: what is wrong, in one sentence.
    """

    def typed(way):
        return next((text for file in files if (text := file.typed(way)) is not None), None)

    def said_in(way):
        return next((file.name for file in files if file.has(way)), "config.yaml")

    with contextlib.suppress(AttributeError, KeyError, TypeError):  # what is not as it should be is told below
        for name in [name for name, model in config["mnist"]["models"].items() if model in (None, "null")]:
            del config["mnist"]["models"][name]
    checked(config, schema, said_in, typed)
    try:
        complete_mnist(config["mnist"])
    except ValueError as error:
        raise ValueError(f"config.yaml: {error}") from error


def check_walks(sampling: dict, cascade: dict, experiments: dict[str, dict], file: str) -> None:
    """Raise ValueError for an experiment whose sampling cannot be meant.

    Args:
        sampling: the section of the configuration.
        cascade: the configured cascade's entry, which changes the sampling of its stages, as an experiment then does.
        file: that the experiments are in, for messages.
    """
    for name, experiment in ((f"{file}: {name}", experiment) for name, experiment in experiments.items()):
        for stage in {"stage_1", "stage_2"} & experiment.keys():
            how = sampling[stage] | cascade[stage]["sampling"] | experiment[stage]
            times = [(entry, t) for entry in ("starts", "timesteps") for t in experiment.get(entry, []) if 0 < t < 1]
            if times and stage == "stage_1" and how["path"] != "flow":
                raise ValueError(
                    f"{name}/{times[0][0]} has t = {times[0][1]:g}: only on a flow is a time between 0 and 1, so add stage_1: {{path: flow}}, or "
                    "name a timestep, a whole number"
                )
            if not prompts_of(experiment):
                continue
            inverted = stage == "stage_1" and experiment["task"] == "image_to_image" and experiment["invert"]
            if inverted and how["sampler"] not in ("ddim", "dpm_solver"):
                raise ValueError(
                    f"{name}/invert needs a sampler without noise, which would hide the picture's: add stage_1: {{sampler: ddim}}"
                )
            if stage == "stage_1" and experiment.get("away"):
                if how["guidance_scale"] <= experiment["away"]:
                    raise ValueError(f"{name}/away must be less than the guidance scale, {how['guidance_scale']:g}")
                if tuple(how["guidance_interval"]) != (0, 1):
                    raise ValueError(f"{name}/away leads at every timestep: leave it out, or guidance_interval")
            try:
                for steps in [how["steps"], *(experiment.get("steps", []) if stage == "stage_1" else [])]:
                    check_walk(how["spacing"], IF_TIMESTEPS, steps)
            except ValueError as error:
                raise ValueError(f"{name}/{stage}: {error}") from error


def check_targets(
    arguments: list[str],
    cascade: str | None,
    cascades: list[str],
    names: dict[str, list[str]],
    told: list[str],
    files: dict[str, list[str]],
) -> None:
    """Raise ValueError for a file asked for below results/ that no rule can make: a name in its path is mistyped, or what it names
    has no such file.

    Args:
        arguments: of the command line, of which only files inside of a known folder's folder are looked at.
        cascade, cascades: the configured cascade, and those that could be.
        names: {folder of results: what has a folder there}, such as {"mnist": the networks, ...}.
        told: the networks that are told which digit to draw.
        files: {experiment of the cascade: the files and folders that can be made for it}.
    """
    for argument in arguments:
        top, folder, name, *file = (os.path.normpath(argument).split("/") + [""] * 3)[:4]
        if top != "results" or not file or file == [""]:
            continue
        if folder in names and name not in names[folder]:
            known = ", ".join(names[folder])
            raise ValueError(f"{argument}: there is no {folder}/{name}{nearest(name, names[folder])}; known: {known}")
        if folder == "mnist" and name not in told and re.search(r"/\d+_seed_\d+$", argument):
            known = ", ".join(told) or "none is trained"
            raise ValueError(f"{argument}: {name} cannot be told which digits to draw; those that can: {known}")
        if folder == cascade and name in files and file[0] not in files[name]:
            if file == ["print.pdf"]:
                raise ValueError(f"{argument}: only anagrams can be printed, and {name} has no views")
            known = ", ".join(files[name])
            raise ValueError(f"{argument}: {name} has no {file[0]}{nearest(file[0], files[name])}; it has: {known}")
        if folder in cascades and folder != cascade:
            configured = f"the configured cascade is {cascade}" if cascade else "no cascade is configured"
            raise ValueError(f"{argument}: {configured}; add --config cascade={folder}")
        if folder not in (*names, *OTHERS) and (meant := nearest(folder, [*names, *cascades])):
            raise ValueError(f"{argument}: there is no results/{folder}{meant}")


def optional_figures(mnist: dict) -> list[str]:
    """The figures of Part B that are made only if their section of the configuration is there, in the report's order."""
    figures = {"predictions": "predictions", "calls": "calls", "denoiser": "single_step", "one_call": "one_call"}
    return [*(figure for entry, figure in figures.items() if mnist[entry] is not None), *ideas(mnist)]


def report_figures(cascade: str | None, experiments: dict, mnist: dict) -> list[str]:
    """Every figure.json of the report, in the report's order. mnist: the section of the configuration."""
    models = mnist["models"]
    simplest_first = sorted(
        models, key=lambda name: (models[name].get("schedule") == "flow", models[name].get("class_conditioned", False))
    )
    of_models = [
        f"results/mnist/{model}/{figure}/figure.json"
        for model in simplest_first
        for figure in ("samples", "reverse_process", "denoising")
    ]
    of_experiments = [f"results/{cascade}/{name}/figure.json" for name in experiments]
    others = [f"results/mnist/{figure}/figure.json" for figure in optional_figures(mnist)]
    return [
        *of_experiments,
        "results/mnist/schedules/figure.json",
        *of_models,
        "results/mnist/curves/figure.json",
        *others,
    ]


def command_options(entries: dict, files: list[str | Path], project: str | Path) -> str:
    """The options --configfile and --config of a run, as typed in a shell in the project's folder.

    An absolute path inside the project becomes relative to it; of any other only "…/" and the name is left, so that no folder
    of this machine is shown.
    """
    words = [_shown(entry, project) for entry in map(str, files)]
    settings = [f"{key}={_setting(_shown(value, project))}" for key, value in entries.items()]
    return shlex.join([*(["--configfile", *words] if words else []), *(["--config", *settings] if settings else [])])


def _shown(value, project):
    """A value of the configuration with its absolute paths shortened."""
    if isinstance(value, dict):
        return {key: _shown(inside, project) for key, inside in value.items()}
    if isinstance(value, list):
        return [_shown(inside, project) for inside in value]
    if not isinstance(value, str) or not os.path.isabs(value):
        return value
    path = Path(os.path.normpath(value))
    return str(path.relative_to(project)) if path.is_relative_to(project) else f"…/{path.name}"


def _setting(value):
    """A value as --config reads it: nothing for None, YAML on one line for what has parts."""
    if isinstance(value, (dict, list)):
        return yaml.safe_dump(
            value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
        ).strip()
    return "" if value is None else str(value)
