"""What the rules share: validation of the configuration, wildcard constraints, input functions."""

import os
import sys
from functools import cache
from pathlib import Path

import yaml
from snakemake.logging import logger
from snakemake.utils import validate

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "scripts"))
from diffusion.prompts import embedding_key, embeds_identity, encoder_identity, fingerprint, prompts_of
from reporting.preflight import run_preflight
from reporting.schema import check

# glibc gives freed memory back at once and takes it again in the next training step: a tenth of the time, if it may.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1000000000")
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "33554432")


# --- configuration: refused in one sentence, before any work ---


def refuse_invalid(document, schema, name):
    """Fill the schema's defaults into the document; stop with one sentence if it does not fit."""
    schema = BASE / "rules" / schema
    try:
        check(document, yaml.safe_load(schema.read_text()), name)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    validate(document, str(schema))


refuse_invalid(config, "config.schema.yaml", "config.yaml")
MNIST = config["mnist"]


wildcard_constraints:
    model="|".join(MNIST["models"]),
    epoch=r"[1-9]\d*",
    stage="1|2",


# --- code: a job runs again when a module it imports has changed ---


def shipped(path):
    """A file of the project, as seen from the working directory (another one under --directory)."""
    return os.path.relpath(BASE / path)


def library(*modules):
    """The files of the named modules of scripts/diffusion."""
    return [shipped(f"scripts/diffusion/{module}.py") for module in modules]


def reporting(*modules):
    """The files of the named modules of scripts/reporting."""
    return [shipped(f"scripts/reporting/{module}.py") for module in modules]


def benchmarking(*modules):
    """The files of the named modules of scripts/benchmarking."""
    return [shipped(f"scripts/benchmarking/{module}.py") for module in modules]


# --- MNIST ---


def previous_checkpoint(wildcards):
    """The checkpoint that an epoch goes on from; none for the first."""
    epoch = int(wildcards.epoch) - 1
    return f"results/mnist/{wildcards.model}/epoch_{epoch}/checkpoint.safetensors" if epoch else []


def sampled_epochs():
    """The listed epochs that are trained, and the last."""
    listed = [epoch for epoch in MNIST["sampling"]["epochs"] if epoch <= MNIST["epochs"]]
    return sorted({*listed, MNIST["epochs"]})


def of_sampled_epochs(file):
    """The named file of each sampled epoch of a model."""
    return expand(f"results/mnist/{{{{model}}}}/epoch_{{epoch}}/{file}", epoch=sampled_epochs())


# --- miniature ---


def previous_miniature_checkpoint(wildcards):
    """The checkpoint that an epoch of a stage goes on from; none for the first."""
    epoch = int(wildcards.epoch) - 1
    return f"results/miniature_training/stage_{wildcards.stage}/epoch_{epoch}/checkpoint.safetensors" if epoch else []


def last_miniature_checkpoint(stage):
    """The checkpoint that ends the training of a stage."""
    epochs = config["miniature_training"][f"stage_{stage}_epochs"]
    return f"results/miniature_training/stage_{stage}/epoch_{epochs}/checkpoint.safetensors"


def measured_miniature(wildcards):
    """The folder of the cascade whose quality is measured: the one that ships, or the one that was trained here."""
    return shipped("resources/miniature") if wildcards.measured == "shipped" else "results/miniature_training/cascade"


# --- the cascade and its experiments ---


def in_project(path):
    """A path of the configuration, which starts from the project's folder unless it is absolute."""
    return path if os.path.isabs(path) else shipped(path)


def in_order(entries):
    """The same entries sorted by name: Snakemake compares parameters as text, where an order would be a change."""
    if isinstance(entries, dict):
        return {key: in_order(entries[key]) for key in sorted(entries)}
    return [in_order(entry) for entry in entries] if isinstance(entries, list) else entries


def read_experiments(path):
    """The experiments of the cascade, checked and completed, by name."""
    try:
        document = yaml.safe_load((BASE / path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SystemExit(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    refuse_invalid(document, "experiments.schema.yaml", path)
    for name, experiment in document.items():
        if isinstance(experiment["seeds"], int):
            experiment["seeds"] = list(range(experiment["seeds"]))
        try:
            check_experiment(experiment)
        except ValueError as error:
            raise SystemExit(f"{path}: {name}/{error}") from error
    return {name: in_order(experiment) for name, experiment in document.items()}


def check_experiment(experiment):
    """Raise ValueError for what no schema can see: entries that do not go together, files that are not there."""
    if isinstance(experiment.get("upsample"), list) and (rest := {*experiment["upsample"]} - {*experiment["seeds"]}):
        raise ValueError(f"upsample names {min(rest)}, which is none of its seeds")
    shown = experiment.get("upsample", "all")
    shown = experiment["seeds"] if shown == "all" else shown
    if isinstance(experiment.get("enlarge"), list) and (rest := {*experiment["enlarge"]} - {*shown}):
        raise ValueError(f"enlarge names {min(rest)}, which does not go through stage II")
    if experiment["task"] == "hybrid_image":
        sigmas = experiment["sigmas"]
        if len(sigmas) != len(experiment["prompts"]) - 1:
            raise ValueError(
                f"sigmas must be {len(experiment['prompts']) - 1}, one less than prompts, not {len(sigmas)}"
            )
        if sigmas != sorted(set(sigmas), reverse=True):
            raise ValueError(f"sigmas must fall, not {sigmas}")
        if (experiment["kernel_size"] or 1) % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {experiment['kernel_size']}")
    for entry, path in pictures(experiment).items():
        if not os.path.isfile(BASE / path):  # unlike Path's, no error for a name that is too long
            known = f" ({', '.join(MASKS)}, or a file)" if entry == "mask" else ""
            raise ValueError(f"{entry} must be a picture{known}: there is no file {path}")


def pictures(experiment):
    """The files of the user's that an experiment names, by entry."""
    return {e: experiment[e] for e in ("image", "mask") if e in experiment and experiment[e] not in MASKS}


EXPERIMENTS_SCHEMA = yaml.safe_load((BASE / "rules/experiments.schema.yaml").read_text())
MASKS = EXPERIMENTS_SCHEMA["x-masks"]
STAGES = ("stage_1", "stage_2")
CASCADE, EXPERIMENTS, PROMPTS = config.get("cascade"), {}, {}
if CASCADE is not None:
    if CASCADE not in config["cascades"]:
        raise SystemExit(f"config.yaml: cascade must be one of {', '.join(config['cascades'])}, not {CASCADE}")
    EXPERIMENTS = read_experiments(config.get("experiments", f"experiments/{CASCADE}.yaml"))
    if None not in (config["cascades"][CASCADE]["judge"], config["cascades"][CASCADE]["clip_judge"]):
        raise SystemExit(f"config.yaml: cascades/{CASCADE} has both judge and clip_judge: leave one of them out")


wildcard_constraints:
    cascade=CASCADE or "-",
    experiment="|".join(EXPERIMENTS) or "-",


def model_folder(part):
    """Where a part of the cascade is: a folder, or a repository of the hub."""
    model = config["cascades"][CASCADE][part]
    return model["model"] if model["revision"] else in_project(model["model"])


def model_of(part):
    """A part of the cascade, without how to sample from it and what it asks a cluster for."""
    elsewhere = ("sampling", "resources")
    return in_order({key: value for key, value in config["cascades"][CASCADE][part].items() if key not in elsewhere})


def needs(part, resource):
    """What a job with a part of the cascade asks a cluster for: gpu, mem_mb, or runtime (in minutes)."""
    return config["cascades"][CASCADE][part]["resources"][resource]


# On this machine one GPU job at a time, however many cores there are: two networks would not fit (--resources gpu=2 if so).
if CASCADE is not None:
    GPUS = max(needs(part, "gpu") for part in ("text_encoder", *STAGES))
    if GPUS and workflow.local_exec and "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", GPUS)


def weights(stage):
    """The files of a stage that is a folder."""
    folder = Path(model_folder(stage))
    found = [] if model_of(stage)["revision"] else [*folder.glob("unet/*"), *folder.glob("*scheduler/*")]
    return sorted(map(str, found))


def device(wildcards):
    """Where the cascade computes."""
    return config["cascades"][CASCADE]["device"]


def embeds_path():
    """The user's file or folder of embeddings, which takes the text encoder's place; None for none."""
    return config["prompt_embeds"] and in_project(config["prompt_embeds"])


def embeds_source():
    """The files of the user's embeddings."""
    path = Path(embeds_path())
    return sorted(map(str, path.glob("*.safetensors"))) if path.is_dir() else [str(path)]


@cache
def text_encoder():
    """All that determines the embedding of a prompt."""
    hashes = ".snakemake/file_hashes.json"
    if embeds_path():
        try:
            return {"identity": embeds_identity(embeds_source(), hashes)}
        except OSError as error:
            raise SystemExit(f"config.yaml: prompt_embeds cannot be read: {error}") from error
    model = model_of("text_encoder")
    try:
        identity = encoder_identity(model_folder("text_encoder"), model["revision"], hashes)
    except ValueError as error:
        raise SystemExit(f"config.yaml: cascades/{CASCADE}/text_encoder/model: {error}") from error
    return {key: model[key] for key in ("variant", "dtype", "load_in_8bit", "max_length")} | {"identity": identity}


def embedding(prompt):
    """The file of a prompt's embedding."""
    return f"results/{CASCADE}/prompt_embeds/{embedding_key(prompt, text_encoder())}.safetensors"


def still_to_make(files):
    """Those that are not there. What is there is final, its name being a hash of all that determines it, and no rule makes it
    any longer: Snakemake does not see that a job has changed where another one runs before it, ancient() or not."""
    return [file for file in files if not os.path.exists(file)]


if CASCADE is not None:
    PROMPTS = {embedding(prompt): prompt for prompt in sorted({"", *sum(map(prompts_of, EXPERIMENTS.values()), [])})}


def prompts_to_encode(wildcards):
    """The prompts without embeddings, in their order: a function, because braces in a prompt are no wildcards."""
    return [PROMPTS[file] for file in still_to_make(PROMPTS)]


def experiment(wildcards):
    """An experiment as it was configured."""
    return EXPERIMENTS[wildcards.experiment]


def sampled(wildcards):
    """An experiment without what only shows it, or is said by another parameter."""
    elsewhere = ("title", "caption", "licence", "upsample", "enlarge", "stage_1", "stage_2")
    return {key: value for key, value in experiment(wildcards).items() if key not in elsewhere}


def sampling(stage):
    """How to sample from a stage: what config.yaml says, what the cascade changes, what the experiment changes."""
    return lambda wildcards: in_order(
        config["sampling"][stage]
        | config["cascades"][CASCADE][stage]["sampling"]
        | experiment(wildcards).get(stage, {})
    )


def upsampled(wildcards):
    """The seeds that go through stage II."""
    return experiment(wildcards).get("upsample", "all")


def enlarged(wildcards):
    """The seeds that go through stage III."""
    return experiment(wildcards)["enlarge"]


def embeddings(wildcards):
    """The embeddings of an experiment's prompts."""
    return [embedding(prompt) for prompt in prompts_of(experiment(wildcards))]


def user_pictures(wildcards):
    """The user's pictures that an experiment needs."""
    return {entry: in_project(path) for entry, path in pictures(experiment(wildcards)).items()}


def stage_pictures(wildcards):
    """What the stages of an experiment make."""
    stages = EXPERIMENTS_SCHEMA["x-stages"][experiment(wildcards)["task"]]
    run = [stage for stage in stages if stage == "stage_1" or upsampled(wildcards) != []]
    if "stage_2" in run and config["cascades"][CASCADE]["stage_3"] is not None and enlarged(wildcards) != []:
        run.append("stage_3")
    return {stage: f"results/{{cascade}}/{{experiment}}/{stage}.safetensors" for stage in run}


def stages_run(wildcards):
    """Their names, as a parameter: that an input is no longer there makes nothing run again."""
    return list(stage_pictures(wildcards))


def stage_1_pictures(wildcards):
    """What stage II enlarges, unless it is a picture of the user's."""
    return {stage: path for stage, path in stage_pictures(wildcards).items() if stage == "stage_1"}


def judge_weights(wildcards):
    """The judge of the cascade's pictures."""
    return in_project(config["cascades"][CASCADE]["judge"])


def judge_scores(wildcards):
    """How often the pictures are right, where the cascade has a judge and the task something to be right about."""
    judged = experiment(wildcards)["task"] in EXPERIMENTS_SCHEMA["x-judged"]
    files = {"judge": "scores.json", "clip_judge": "clip_scores.json"}
    found = [file for judge, file in files.items() if config["cascades"][CASCADE][judge] is not None]
    return {"scores": f"results/{{cascade}}/{{experiment}}/{found[0]}"} if judged and found else {}


def safety_marks(wildcards):
    """What IF's safety checker said, and its watermark, if either is asked for and a network drew the pictures."""
    asked = any(config["cascades"][CASCADE][option] for option in ("safety_checker", "watermark"))
    drawn = asked and prompts_of(experiment(wildcards))
    return {"safety": "results/{cascade}/{experiment}/safety.safetensors"} if drawn else {}


def parts_shown(wildcards):
    """The names of all that a figure is made of, as a parameter for the same reason."""
    return [*stages_run(wildcards), *judge_scores(wildcards), *safety_marks(wildcards)]


# --- the hub: what is fetched from it, and what is looked for before the first job ---


def hub_parts():
    """{part: where it is} of the parts of the cascade that are repositories of the hub."""
    cascade = config["cascades"][CASCADE]
    parts = {part: cascade[part] for part in (*STAGES, "stage_3", "clip_judge") if cascade[part] is not None}
    if not embeds_path():
        parts["text_encoder"] = cascade["text_encoder"]
    # These two lie in stage I's repository.
    parts |= {option: cascade["stage_1"] for option in ("safety_checker", "watermark") if cascade[option]}
    keys = ("model", "revision", "variant")
    return in_order({part: {key: model[key] for key in keys} for part, model in parts.items() if model["revision"]})


def fetched(*parts):
    """The files that say where in the hub's cache these parts are, by default all; none of those that are folders."""
    return [
        f"results/{CASCADE}/weights/{part}_{fingerprint(model)}.json"
        for part, model in hub_parts().items()
        if part in (parts or hub_parts())
    ]


def parts_to_fetch():
    """{part: where it is} of those that were not fetched."""
    return {part: model for part, model in hub_parts().items() if still_to_make(fetched(part))}


def preflight():
    """Stop the run, before its first job, if something is missing that its jobs will need: see scripts/diffusion/preflight.py.

    Nothing is asked where no job of this run needs the hub or the user's embeddings.
    """
    jobs = {job.rule.name for job in workflow.dag.needrun_jobs()}
    loaded = {"encode_prompts": "text_encoder"} | {stage: stage for stage in STAGES}
    parts = [part for rule, part in loaded.items() if rule in jobs]
    if CASCADE is None or not (hub_parts() and (parts or "fetch_cascade" in jobs) or "read_embeds" in jobs):
        return
    plan = {
        "fetch": (
            [{"name": part, **model} for part, model in parts_to_fetch().items()] if "fetch_cascade" in jobs else []
        ),
        "fetched": [file for file in fetched() if os.path.exists(file)],
        "load": {part: (model_of(part), None if part in hub_parts() else model_folder(part)) for part in parts},
        "device": config["cascades"][CASCADE]["device"],
        "here": workflow.local_exec,  # else the jobs look at their machine's memory themselves
        "embeds": embeds_plan() if "read_embeds" in jobs else None,
    }
    try:
        warnings = run_preflight(plan)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    for warning in warnings:
        logger.warning(warning)


def embeds_plan():
    """What the user's embeddings are to have."""
    tokens = config["cascades"][CASCADE]["text_encoder"]["max_length"]
    return {"path": embeds_path(), "prompts": list(PROMPTS.values()), "tokens": tokens}


# --- report ---


def report_figures():
    """Every figure.json of the report, in the order in which it tells its story."""
    models = expand(
        "results/mnist/{model}/{figure}/figure.json",
        model=MNIST["models"],
        figure=["samples", "reverse_process", "denoising"],
    )
    experiments = [f"results/{CASCADE}/{name}/figure.json" for name in EXPERIMENTS]
    return [*experiments, "results/mnist/schedules/figure.json", *models, "results/mnist/curves/figure.json"]


def report_resources():
    """Templates, style and script of the page."""
    return [shipped(path.relative_to(BASE)) for path in sorted((BASE / "resources/report").rglob("*.*"))]


def report_config(wildcards):
    """All that was configured: a function, because braces in a prompt are no wildcards."""
    return config | {"experiments": EXPERIMENTS}


def local_stages():
    """The cascade's stages that are folders; DeepFloyd's sizes are known to the report already."""
    return [stage for stage in STAGES if CASCADE is not None and not model_of(stage)["revision"]]


def stage_configs():
    """The U-Net's configuration of each of them."""
    return [f"{model_folder(stage)}/unet/config.json" for stage in local_stages()]


def stage_steps():
    """(name, steps) of each of them."""
    return [(f"{CASCADE}, {stage.replace('_', ' ')}", config["sampling"][stage]["steps"]) for stage in local_stages()]


def runs_deepfloyd():
    """Whether a part of the cascade is DeepFloyd's own."""
    return CASCADE is not None and any("DeepFloyd" in model_folder(stage) for stage in STAGES)
