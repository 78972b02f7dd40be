"""What a configuration asks for, besides its experiments."""

import contextlib
import math
import os
import shlex
from pathlib import Path

import yaml

from fun.data.prompts import prompts_of
from fun.data.timesteps import IF_TIMESTEPS, check_walk
from fun.workflow.documents import Document
from fun.workflow.refusals import checked, nearest

# {network: (images a second that it trains on, on one core, width)}; somewhat fewer than measured in docs/benchmarks.md.
TRAINING_RATES = {"small": (420, 32), "cs180": (27, 64)}
MARGIN = 4  # a cluster's core may be slow, or shared


def complete_config(config: dict, schema: dict, files: list[Document]) -> None:
    """Check the configuration that Snakemake read from its command line and from `files`, the most important first, and fill in
    the schema's defaults.

    Raises:
        ValueError: what is wrong, in one sentence.
    """

    def typed(way):
        return next((text for file in files if (text := file.typed(way)) is not None), None)

    with contextlib.suppress(AttributeError, KeyError, TypeError):  # what is not as it should be is told below
        for name in [name for name, model in config["mnist"]["models"].items() if model in (None, "null")]:
            del config["mnist"]["models"][name]
    checked(config, schema, "config.yaml", typed)
    compared = config["mnist"]["predictions"]
    if compared is not None and compared["model"] not in config["mnist"]["models"]:
        known = ", ".join(config["mnist"]["models"])
        raise ValueError(f"config.yaml: mnist/predictions/model must be one of {known}, not {compared['model']}")
    models = config["mnist"]["models"]
    if taken := sorted(predictions(config["mnist"]).keys() & models.keys() - {compared and compared["model"]}):
        raise ValueError(f"config.yaml: mnist/models/{taken[0]} is a name that mnist/predictions needs: choose another")
    timesteps = config["mnist"]["schedule"]["num_train_timesteps"]
    for model, entry in config["mnist"]["models"].items():
        how = digit_sampling(config["mnist"], model)
        where = "mnist/sampling" if "num_steps" not in entry["sampling"] else f"mnist/models/{model}/sampling"
        if how["num_steps"] > timesteps:
            raise ValueError(
                f"config.yaml: {where}/num_steps must be at most mnist/schedule/num_train_timesteps ({timesteps}), "
                f"not {how['num_steps']}"
            )
        try:
            check_walk(how["spacing"], timesteps, how["num_steps"])
        except ValueError as error:
            raise ValueError(f"config.yaml: {where}: {error}") from error


def digit_sampling(mnist: dict, model: str) -> dict:
    """How digits are drawn with a model: mnist/sampling, where the model's own entry does not differ."""
    scored = ("epochs", "num_images", "num_images_early", "early_until")
    shared = {name: value for name, value in mnist["sampling"].items() if name not in scored}
    return shared | mnist["models"][model]["sampling"]


def predictions(mnist: dict) -> dict[str, dict]:
    """The entries of the networks to compare that differ only in what they predict: the configured one, and two like it."""
    if mnist["predictions"] is None:
        return {}
    name = mnist["predictions"]["model"]
    entry = mnist["models"][name]
    others = [kind for kind in ("epsilon", "v_prediction", "sample") if kind != entry["prediction_type"]]
    return {name: entry} | {f"{name}_{kind}": entry | {"prediction_type": kind} for kind in others}


def without_sampling(models: dict[str, dict]) -> dict[str, dict]:
    """The models' entries without how they are sampled, which is no reason to train one again."""
    return {name: {key: value for key, value in entry.items() if key != "sampling"} for name, entry in models.items()}


def check_walks(sampling: dict, cascade: dict, experiments: dict[str, dict]) -> None:
    """Raise ValueError for an experiment whose sampling cannot be meant.

    Args:
        sampling: the section of the configuration.
        cascade: the configured cascade's entry, which changes the sampling of its stages, as an experiment then does.
    """
    for name, experiment in experiments.items():
        for stage in {"stage_1", "stage_2"} & experiment.keys():
            how = sampling[stage] | cascade[stage]["sampling"] | experiment[stage]
            times = [t for entry in ("starts", "timesteps") for t in experiment.get(entry, []) if 0 < t < 1]
            if times and stage == "stage_1" and how["path"] != "flow":
                raise ValueError(
                    f"{name} has t = {times[0]:g}: only on a flow is a time between 0 and 1, so add stage_1: {{path: flow}}, or "
                    "name a timestep, a whole number"
                )
            if not prompts_of(experiment):
                continue
            try:
                check_walk(how["spacing"], IF_TIMESTEPS, how["steps"])
            except ValueError as error:
                raise ValueError(f"{name}/{stage}: {error}") from error


def check_targets(arguments: list[str], cascade: str | None, cascades: list[str], names: dict[str, list[str]]) -> None:
    """Raise ValueError for a file asked for below results/ that no rule can make, because a name in its path is mistyped.

    Args:
        arguments: of the command line, of which only files inside of a known folder's folder are looked at.
        cascade, cascades: the configured cascade, and those that could be.
        names: {folder of results: what has a folder there}, such as {"mnist": the networks, ...}.
    """
    for argument in arguments:
        top, folder, name, *file = (os.path.normpath(argument).split("/") + [""] * 3)[:4]
        if top != "results" or not file or file == [""]:
            continue
        if folder in names and name not in names[folder]:
            known = ", ".join(names[folder])
            raise ValueError(f"{argument}: there is no {folder}/{name}{nearest(name, names[folder])}; known: {known}")
        if folder in cascades and folder != cascade:
            configured = f"the configured cascade is {cascade}" if cascade else "no cascade is configured"
            raise ValueError(f"{argument}: {configured}; add --config cascade={folder}")
        if folder not in names and (meant := nearest(folder, [*names, *cascades])):
            raise ValueError(f"{argument}: there is no results/{folder}{meant}")


def epoch_minutes(mnist: dict, model: str) -> int:
    """Minutes that a cluster should allow for an epoch of a model: a minute to start, and the training with a margin."""
    rate, width = TRAINING_RATES[mnist["models"][model]["network"]]
    seconds = mnist["images_per_epoch"] / rate * (mnist["models"][model]["width"] / width) ** 2
    return 1 + math.ceil(MARGIN * seconds / 60)


def sampled_epochs(mnist: dict) -> list[int]:
    """The listed epochs that are trained, and the last one. mnist: the section mnist of the configuration."""
    listed = [epoch for epoch in mnist["sampling"]["epochs"] if epoch <= mnist["epochs"]]
    return sorted({*listed, mnist["epochs"]})


def report_figures(cascade: str | None, experiments: dict, models: list[str], compared: bool = False) -> list[str]:
    """Every figure.json of the report, in the report's order.

    models: the names of the MNIST models. compared: whether there are networks that differ in their prediction type alone.
    """
    of_models = [
        f"results/mnist/{model}/{figure}/figure.json"
        for model in models
        for figure in ("samples", "reverse_process", "denoising")
    ]
    of_experiments = [f"results/{cascade}/{name}/figure.json" for name in experiments]
    mnist = ["results/mnist/schedules/figure.json", *of_models, "results/mnist/curves/figure.json"]
    mnist += ["results/mnist/predictions/figure.json"] * compared
    return [*of_experiments, *mnist]


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
