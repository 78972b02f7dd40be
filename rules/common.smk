"""What the rules share: validation of the configuration, wildcard constraints, input functions."""

import os
import sys
from pathlib import Path

import yaml
from snakemake.utils import validate

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "scripts"))
from reporting.schema import check

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


# --- report ---


def report_figures():
    """Every figure.json of the report, in the order in which it tells its story."""
    models = expand(
        "results/mnist/{model}/{figure}/figure.json",
        model=MNIST["models"],
        figure=["samples", "reverse_process", "denoising"],
    )
    return ["results/mnist/schedules/figure.json", *models, "results/mnist/curves/figure.json"]


def report_resources():
    """Templates, style and script of the page."""
    return [shipped(path.relative_to(BASE)) for path in sorted((BASE / "resources/report").rglob("*.*"))]


def report_config(wildcards):
    """All that was configured: a function, because braces in a prompt are no wildcards."""
    return config


def stage_configs():
    """The U-Net configurations of the cascade's stages."""
    return []


def stage_steps():
    """(name, steps) of the cascade's stages."""
    return []


def runs_deepfloyd():
    """Whether DeepFloyd's own weights are used."""
    return False
