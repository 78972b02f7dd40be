"""What the rules share: validation of the configuration, wildcard constraints, input functions."""

import os
import sys
from pathlib import Path

import yaml
from snakemake.utils import validate

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "scripts"))
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


def modules_of(package):
    """A function that takes names of the package's modules and returns their files."""
    return lambda *names: [shipped(f"scripts/{package}/{name}.py") for name in names]


library, weights, reporting, benchmarking = map(modules_of, ("diffusion", "weights", "reporting", "benchmarking"))


def in_project(path):
    """A path of the configuration, which starts from the project's folder unless it is absolute."""
    return path if os.path.isabs(path) else shipped(path)


def in_order(entries):
    """The same entries sorted by name: Snakemake compares parameters as text, where an order would be a change."""
    if isinstance(entries, dict):
        return {key: in_order(entries[key]) for key in sorted(entries)}
    return [in_order(entry) for entry in entries] if isinstance(entries, list) else entries


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
