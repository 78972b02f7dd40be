"""What all rules share: files, and the checked configuration. No rules.

Inputs and parameters of jobs are in inputs_*.smk; everything that does not need Snakemake is in scripts/fun/workflow/.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import yaml

BASE = Path(workflow.current_basedir).absolute().parent  # also where another workflow includes this one as a module
sys.path.insert(0, str(BASE / "scripts"))
# For the jobs, too: a package of the same name that PYTHONPATH leads to must not win.
FIRST, *REST = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if FIRST != str(BASE / "scripts"):
    os.environ.update(PYTHONPATH=os.pathsep.join([str(BASE / "scripts"), *filter(None, [FIRST, *REST])]))
from fun.data.prompts import file_hashes, prompts_of
from fun.workflow.digits import denoisers, networks, predictions
from fun.workflow.documents import Document
from fun.workflow.experiments import read_experiments, read_schema
from fun.workflow.modules import code_of
from fun.workflow.parts import HASHES, Parts, still_to_make
from fun.workflow.plan import check_walks, complete_config
from fun.workflow.refusals import canonical, nearest

# By default glibc returns freed memory at once and takes it again in the next training step: a tenth of the time.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1000000000")
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "33554432")


# --- files ---


def shipped(path):
    """The path of a project file from the working directory, which differs under --directory."""
    return os.path.relpath(BASE / path)


def in_project(path):
    """A path from the configuration, relative to the project's folder unless it is absolute, or begins with ~."""
    path = os.path.expanduser(path)
    return path if os.path.isabs(path) else shipped(path)


def content(files):
    """The SHA-256 of files that the user can replace. A parameter: Snakemake looks at dates, and a file that is moved or
    unpacked into place is older than what was made from the one before it."""
    return file_hashes([path for path in files if os.path.exists(path)], HASHES)


def modules(rule):
    """A rule's code: its script and everything it imports. A job runs again when any of them changes."""
    return [shipped(path) for path in code_of(rule)]


# --- the configuration: refused in one sentence, before any work ---


@contextmanager
def refusals():
    """Turn a ValueError into the one sentence that Snakemake ends with."""
    try:
        yield
    except ValueError as error:
        raise SystemExit(str(error)) from error


# Under --directory the working directory may have a configuration of its own.
CONFIG_FILE = "config.yaml" if os.path.exists("config.yaml") else shipped("config.yaml")
with refusals():
    Document(Path(CONFIG_FILE), CONFIG_FILE)  # Snakemake's own reader would not say in which line it stumbled


configfile: CONFIG_FILE


def experiments_file():
    """The file of the cascade's experiments, as it was named."""
    return config.get("experiments", f"experiments/{CASCADE}.yaml")


EXPERIMENTS_SCHEMA = read_schema(BASE / "rules/experiments.schema.yaml")
CONFIG_SCHEMA = yaml.safe_load((BASE / "rules/config.schema.yaml").read_text(encoding="utf-8"))
with refusals():
    # workflow.configfiles: read a second time, since Snakemake forgets the first of two entries of one name.
    FILES = [
        Document(Path(file), min(file, os.path.relpath(file), key=len))
        for file in dict.fromkeys(map(str, workflow.configfiles))
    ]
    complete_config(config, CONFIG_SCHEMA, FILES)
config.update(canonical(config))
MNIST = config["mnist"]
MODELS = list(MNIST["models"])  # in the order in which they are shown
COMPARED, DENOISERS, NETWORKS = predictions(MNIST), denoisers(MNIST), networks(MNIST)
CASCADE, EXPERIMENTS, PROMPTS = config.get("cascade"), {}, {}
if CASCADE is not None:
    if CASCADE not in config["cascades"]:
        known = ", ".join(config["cascades"])
        raise SystemExit(
            f"config.yaml: cascade must be one of {known}, not {CASCADE}{nearest(CASCADE, config['cascades'])}"
        )
    PARTS = Parts(CASCADE, config["cascades"][CASCADE], in_project, config["prompt_embeds"])
    with refusals():
        PARTS.check_folders()
        EXPERIMENTS = read_experiments(experiments_file(), EXPERIMENTS_SCHEMA, BASE, PARTS.grid())
        check_walks(config["sampling"], PARTS.entry, EXPERIMENTS, experiments_file())
    if None not in (PARTS.entry["judge"], PARTS.entry["clip_judge"]):
        raise SystemExit(f"config.yaml: cascades/{CASCADE} has both judge and clip_judge: leave one of them out")
    with refusals():
        PROMPTS = {
            PARTS.embedding(prompt): prompt for prompt in sorted({"", *sum(map(prompts_of, EXPERIMENTS.values()), [])})
        }
TO_ENCODE = still_to_make(PROMPTS)  # looked for once: a network file system may show more of them later


wildcard_constraints:
    cascade=CASCADE or "-",
    experiment="|".join(EXPERIMENTS) or "-",
    model="|".join(NETWORKS),
    epoch=r"[1-9]\d*",
    stage="1|2",
