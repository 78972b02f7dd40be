"""What the rules share: the checked configuration, inputs and parameters of jobs, and what only Snakemake knows. No rules.

Everything that does not need Snakemake is in scripts/fun/workflow/.
"""

import atexit
import hashlib
import logging
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml
from snakemake.logging import logger

BASE = Path(workflow.current_basedir).absolute().parent  # also where another workflow includes this one as a module
sys.path.insert(0, str(BASE / "scripts"))
# For the jobs, too: a package of the same name that PYTHONPATH leads to must not win.
FIRST, *REST = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if FIRST != str(BASE / "scripts"):
    os.environ.update(PYTHONPATH=os.pathsep.join([str(BASE / "scripts"), *filter(None, [FIRST, *REST])]))
from fun.data.prompts import file_hashes, prompts_of
from fun.data.timesteps import steps_made
from fun.reporting.file_names import labels_of
from fun.workflow.digits import (
    IDEAS,
    IDX_FILES,
    check_data,
    class_names,
    denoisers,
    digit_sampling,
    epoch_before,
    epoch_minutes,
    idea_networks,
    map_training,
    idx_files,
    networks,
    own_sampling,
    played,
    predictions,
    sampled_epochs,
    sampling_minutes,
)
from fun.workflow.display import Display
from fun.workflow.documents import Document
from fun.workflow.experiments import (
    STAGES,
    judge_of,
    pictures_of,
    read_experiments,
    read_schema,
    section_of,
    stages_of,
    what_is_sampled,
)
from fun.workflow.log import FOLDER
from fun.workflow.modules import code_of
from fun.workflow.parts import HASHES, Parts, still_to_make
from fun.workflow.plan import (
    check_targets,
    check_walks,
    command_options,
    complete_config,
    report_figures,
)
from fun.workflow.preflight import check_lengths, check_pictures, check_words, run_preflight
from fun.workflow.refusals import canonical, nearest
from fun.workflow.summary import job_seconds, next_commands, run_summary

# By default glibc returns freed memory at once and takes it again in the next training step: a tenth of the time.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1000000000")
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "33554432")


# --- files ---


def shipped(path):
    """The path of a project file from the working directory, which differs under --directory."""
    return os.path.relpath(BASE / path)


def in_project(path):
    """A path from the configuration, relative to the project's folder unless it is absolute."""
    return path if os.path.isabs(path) else shipped(path)


def content(files):
    """The SHA-256 of files that the user can replace. A parameter: Snakemake looks at dates, and a file that is moved or
    unpacked into place is older than what was made from the one before it."""
    return file_hashes([path for path in files if os.path.exists(path)], HASHES)


def modules(rule):
    """A rule's code: its script and everything it imports. A job runs again when any of them changes."""
    return [shipped(path) for path in code_of(rule)]


# --- the configuration: refused in one sentence, before any work ---


def experiments_file():
    """The file of the cascade's experiments, as it was named."""
    return config.get("experiments", f"experiments/{CASCADE}.yaml")


@contextmanager
def refusals():
    """Turn a ValueError into the one sentence that Snakemake ends with."""
    try:
        yield
    except ValueError as error:
        raise SystemExit(str(error)) from error


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
        check_walks(config["sampling"], PARTS.entry, EXPERIMENTS)
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


# --- MNIST ---


def own_data(wildcards=None):
    """The folder that has the data set's files already; None to download them."""
    return in_project(MNIST["data"]) if "data" in MNIST else None


def data_folder():
    """Where the data set is kept. Another one, or other files of one's own, has another folder: then everything is made again."""
    if MNIST["dataset"] != "own":
        return "results/mnist/data" if MNIST["dataset"] == "mnist" else f"results/mnist/data_{MNIST['dataset']}"
    files = filter(None, idx_files(own_data()).values())
    return f"results/mnist/data_own_{hashlib.sha256(repr(content(files)).encode()).hexdigest()[:12]}"


def dataset_shown(wildcards):
    """What the figures call the data set and its classes."""
    return {"name": MNIST["dataset"], "classes": class_names(MNIST)}


def checkpoint(model, epoch):
    """The checkpoint of a network after an epoch."""
    return f"results/mnist/{model}/epoch_{epoch}/checkpoint.safetensors"


def previous_checkpoint(wildcards):
    """The checkpoint that an epoch continues from; none for the first."""
    before = epoch_before(NETWORKS[wildcards.model], int(wildcards.epoch))
    return checkpoint(wildcards.model, before) if before else []


def epoch_runtime(wildcards):
    """The minutes that an epoch of a network may take on a cluster."""
    return epoch_minutes(NETWORKS[wildcards.model], int(wildcards.epoch))


def sampling_runtime(wildcards):
    """The minutes that drawing an epoch's digits may take on a cluster."""
    return sampling_minutes(NETWORKS[wildcards.model], mnist_sampling(wildcards), digits_to_score(wildcards))


def mnist_sampling(wildcards):
    """How a model's digits are drawn. Without the list of sampled epochs, so that one more epoch does not redraw the others."""
    return digit_sampling(MNIST, wildcards.model)


def digits_to_score(wildcards):
    """How many digits of an epoch are scored. It depends on no other epoch, so that one more draws none again."""
    early = int(wildcards.epoch) <= MNIST["sampling"]["early_until"]
    return MNIST["sampling"]["num_images_early" if early else "num_images"]


def guide_checkpoint(wildcards):
    """The earlier checkpoint that guides an epoch's digits, if any."""
    epoch = digit_sampling(MNIST, wildcards.model)["guide_epoch"]
    guided = epoch is not None and epoch < int(wildcards.epoch)
    return checkpoint(wildcards.model, epoch) if guided else []


def of_compared(file):
    """The named file of the epoch at which the networks that predict different things are compared."""
    return [
        f"results/mnist/{model}/epoch_{min(MNIST['predictions']['epochs'], NETWORKS[model]['epochs'])}/{file}"
        for model in COMPARED
    ]


def of_epochs(file):
    """The named file of each epoch of a model."""
    return lambda wildcards: [
        f"results/mnist/{wildcards.model}/epoch_{epoch}/{file}"
        for epoch in range(1, NETWORKS[wildcards.model]["epochs"] + 1)
    ]


def of_sampled_epochs(file):
    """The named file of each sampled epoch of a model."""
    return lambda wildcards: [
        f"results/mnist/{wildcards.model}/epoch_{epoch}/{file}"
        for epoch in sampled_epochs(MNIST, NETWORKS[wildcards.model]["epochs"])
    ]


def denoiser_checkpoints():
    """The last checkpoint of each single-step denoiser, and the main one's first."""
    last = [checkpoint(name, network["epochs"]) for name, network in DENOISERS.items()]
    return [checkpoint(name, 1) for name in list(DENOISERS)[:1]] + last


def denoiser_losses():
    """The losses of the main denoiser."""
    return [
        f"results/mnist/{name}/epoch_{epoch}/losses.csv"
        for name in list(DENOISERS)[:1]
        for epoch in DENOISERS[name]["kept"] or range(1, DENOISERS[name]["epochs"] + 1)
    ]


def idea_checkpoints(wildcards):
    """The checkpoints of the networks that show an idea."""
    return [checkpoint(one["model_name"], one["epoch"]) for one in idea_networks(MNIST, wildcards.idea)]


def idea_photo(wildcards):
    """The photo whose spectrum is shown beside that of digits."""
    return shipped("resources/images/cat.jpg") if wildcards.idea == "spectrum" else []


def taught(wildcards):
    """The network that a flow map learns from, as its name and its entry."""
    name = MNIST["one_call"]["model"]
    return {"name": name, **NETWORKS[name]}


def taught_checkpoint(wildcards):
    """The last checkpoint of that network."""
    return checkpoint(MNIST["one_call"]["model"], taught(wildcards)["epochs"])


def called_models():
    """The networks that are drawn along several paths."""
    return MNIST["calls"]["models"] if MNIST["calls"] else []


def called_checkpoint(wildcards):
    """The checkpoint of a network that is drawn along several paths."""
    return checkpoint(wildcards.model, min(MNIST["calls"]["epoch"], NETWORKS[wildcards.model]["epochs"]))


def diffusion_path():
    """The schedule that diffusion's samplers walk along: that of the networks, unless they are all flows."""
    name = MNIST["schedule"]["name"]
    return "cosine" if name == "flow" else name


def called_tables(n=None):
    """The tables of the networks that are drawn along several paths, with n digits for each number of calls."""
    return [f"results/mnist/{model}/calls_{n or MNIST['calls']['num_images']}.csv" for model in called_models()]


# --- miniature ---


def previous_miniature_checkpoint(wildcards):
    """The checkpoint that an epoch of a stage continues from; none for the first."""
    epoch = int(wildcards.epoch) - 1
    return f"results/miniature_training/stage_{wildcards.stage}/epoch_{epoch}/checkpoint.safetensors" if epoch else []


def last_miniature_checkpoint(stage):
    """The checkpoint that ends the training of a stage."""
    epochs = config["miniature_training"][f"stage_{stage}_epochs"]
    return f"results/miniature_training/stage_{stage}/epoch_{epochs}/checkpoint.safetensors"


def measured_miniature(wildcards):
    """The folder of the cascade to measure: the one that ships, or the one that was trained here."""
    return shipped("resources/miniature") if wildcards.measured == "shipped" else "results/miniature_training/cascade"


# --- the cascade ---


def device(wildcards):
    """Where the cascade computes."""
    return PARTS.entry["device"]


def prompts_to_encode(wildcards):
    """The prompts without embeddings, in order. A function, because braces in a prompt are not wildcards."""
    return [PROMPTS[file] for file in TO_ENCODE]


# --- experiments ---


def experiment(wildcards):
    """An experiment as it was configured."""
    return EXPERIMENTS[wildcards.experiment]


def sampled(wildcards):
    """The part of an experiment that determines its samples."""
    return what_is_sampled(experiment(wildcards))


def cascade_sampling(stage):
    """How to sample from a stage: what config.yaml says, and what the cascade changes."""
    return config["sampling"][stage] | PARTS.entry[stage]["sampling"]


def sampling(stage):
    """How to sample from a stage for an experiment, which can change it once more."""
    return lambda wildcards: canonical(cascade_sampling(stage) | experiment(wildcards).get(stage, {}))


def upsampled(wildcards):
    """The seeds that go through stage II."""
    return sorted(experiment(wildcards).get("upsample", []))


def enlarged(wildcards):
    """The seeds that go through stage III."""
    return sorted(experiment(wildcards)["enlarge"])


def embeddings(wildcards):
    """The embeddings of an experiment's prompts."""
    return [PARTS.embedding(prompt) for prompt in prompts_of(experiment(wildcards))]


def user_pictures(wildcards):
    """The user's pictures that an experiment needs."""
    pictures = pictures_of(experiment(wildcards), EXPERIMENTS_SCHEMA["x-masks"])
    return {entry: in_project(path) for entry, path in pictures.items()}


def pictures_shown(wildcards):
    """How a figure names the user's pictures: the file's name without its folder, and the start of its SHA-256."""
    files = [(entry, path, content([path])) for entry, path in user_pictures(wildcards).items()]
    return {entry: f"{os.path.basename(path)}, SHA-256 {digest[0][:8]}…" for entry, path, digest in files if digest}


@cache
def weights(part):
    """What is in the weights of a part that is a folder: looked at once, for all experiments."""
    return content(PARTS.weight_files(part))


def drawn_from(stage):
    """What is in the weights of a stage, and in the user's pictures that an experiment needs. Not from the job's `input`:
    Snakemake compares no parameters that are."""
    return lambda wildcards: [*content(user_pictures(wildcards).values()), *weights(stage)]


def stages_run(wildcards):
    """The stages of an experiment. Also a parameter, because a job does not run again when it merely loses an input."""
    return stages_of(experiment(wildcards), EXPERIMENTS_SCHEMA, PARTS.entry)


def stage_pictures(wildcards):
    """What the stages of an experiment make."""
    return {stage: f"results/{{cascade}}/{{experiment}}/{stage}.safetensors" for stage in stages_run(wildcards)}


def stage_1_pictures(wildcards):
    """What stage II enlarges, unless that is the user's own picture."""
    return {stage: path for stage, path in stage_pictures(wildcards).items() if stage == "stage_1"}


def judge_weights(wildcards):
    """The judge of the cascade's pictures."""
    return in_project(PARTS.entry["judge"])


def judge_scores(wildcards):
    """How often the pictures are right, if a judge can tell."""
    judge = judge_of(experiment(wildcards), EXPERIMENTS_SCHEMA, PARTS.entry)
    files = {"judge": "scores.json", "clip_judge": "clip_scores.json", "self_judge": "self_scores.json"}
    return {"scores": f"results/{{cascade}}/{{experiment}}/{files[judge]}"} if judge else {}


def safety_marks(wildcards):
    """What IF's safety checker said, and its watermark, if either is switched on and a network drew the pictures."""
    drawn = (PARTS.entry["safety_checker"] or PARTS.entry["watermark"]) and prompts_of(experiment(wildcards))
    return {"safety": "results/{cascade}/{experiment}/safety.safetensors"} if drawn else {}


def section(wildcards):
    """The section of the report that an experiment's figure belongs to."""
    return section_of(experiment(wildcards), EXPERIMENTS_SCHEMA)


def picture_labels(wildcards):
    """The columns by which Snakemake's own report filters an experiment's pictures."""
    shown = experiment(wildcards)
    views = [one["view"] for one in shown.get("views", [shown] if "view" in shown else [])]
    labels = labels_of(wildcards.picture, prompts_of(shown), views)
    # Full-width braces, because others would be wildcards to the report.
    return {name: label.replace("{", "｛").replace("}", "｝") for name, label in labels.items()}


def shown_with(wildcards):
    """The names of everything a figure is made from; a parameter for the same reason as `stages_run`."""
    return [*stages_run(wildcards), *judge_scores(wildcards), *safety_marks(wildcards)]


# --- the report ---


def figures_shown():
    """Every figure.json of the report."""
    return report_figures(CASCADE, EXPERIMENTS, MNIST)


def figures_to_make(wildcards):
    """The figures that the report waits for; the report so far waits for none."""
    return [] if wildcards.so_far else figures_shown()


def figures_there(wildcards):
    """The figures that a report shows; in the report so far each with the start of its SHA-256, because they are not among its inputs."""
    if not wildcards.so_far:
        return figures_shown()
    return {path: content([path])[0][:12] for path in figures_shown() if os.path.exists(path)}


def figures_planned(wildcards):
    """How many figures there will be, if the report may show fewer."""
    return len(figures_shown()) if wildcards.so_far else None


def played_digits():
    """The network of digits that the page draws with by itself; None if it has none, or draws nothing."""
    return played(MNIST) if config["report"]["play"] else None


def play_files(wildcards):
    """The weights that the page draws with by itself."""
    if wildcards.so_far or not config["report"]["play"]:
        return {}
    files = sorted(str(path) for path in (BASE / "resources/miniature").rglob("*.*") if "stage_2" not in path.parts)
    found, digits = {"miniature": [shipped(os.path.relpath(path, BASE)) for path in files]}, played_digits()
    if digits is not None:
        found["checkpoints"] = [checkpoint(digits["name"], epoch) for epoch in digits["epochs"]]
        found["classifier"] = "results/mnist/classifier/weights.safetensors"
    return found


def report_resources():
    """Templates, style and script of the page."""
    return [shipped(path.relative_to(BASE)) for path in sorted((BASE / "resources/report").rglob("*.*"))]


def report_config(wildcards):
    """The whole configuration. A function, because braces in a prompt are not wildcards."""
    return canonical(config) | {"experiments": EXPERIMENTS}


def stages_counted(wildcards):
    """What the table of networks says about each stage of the cascade, besides its size."""
    return {
        stage: {
            "name": f"{CASCADE}, {stage.replace('_', ' ')}",
            "folder": PARTS.folder(stage),
            "steps": steps_made(cascade_sampling(stage)),
            "model": PARTS.entry[stage]["model"] if PARTS.entry[stage]["revision"] else "",
        }
        for stage in (STAGES if CASCADE is not None else ())
    }


def stage_configs():
    """The U-Net configuration of each stage that is a folder."""
    local = [stage for stage in (STAGES if CASCADE is not None else ()) if not PARTS.entry[stage]["revision"]]
    return [f"{PARTS.folder(stage)}/unet/config.json" for stage in local]


def stages_fetched():
    """The files that say where the stages that are not folders are."""
    return PARTS.fetched(*STAGES) if CASCADE is not None else []


# --- what only Snakemake knows, from attributes that its manual does not document ---


# workflow.register_resource: this machine runs one GPU job at a time, however many cores it has, because two networks would
# not fit (if they do: --resources gpu=2). A profile cannot know whether the cascade uses a GPU.
if CASCADE is not None:
    GPUS = max(PARTS.needs(part, "gpu") for part in ("text_encoder", *STAGES))
    if GPUS and workflow.local_exec and "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", GPUS)


# Snakemake does not quote the path of Python in the commands of jobs, unless these run in environments of their own.
if (
    workflow.is_main_process
    and set(sys.executable) & set(" \t\"'`$&;|<>(){}[]*?!#~\\")
    and not (workflow.deployment_settings and workflow.deployment_settings.deployment_method)
):
    raise SystemExit(
        f"Snakemake cannot start jobs with a Python whose path has a space, a quote or one of $&;|<>(){{}}[]*?!#~\\: "
        f"{sys.executable}; move the project, or its .venv, to a folder without one"
    )


# sys.argv: the targets, which Snakemake has read but does not tell before it has read this.
if workflow.is_main_process:
    of_mnist = {
        "mnist": [
            os.path.basename(data_folder()),
            *NETWORKS,
            "classifier",
            "curves",
            "schedules",
            "predictions",
            "single_step",
            "calls",
            "one_call",
            *IDEAS,
        ]
    }
    of_cascade = {CASCADE: [*EXPERIMENTS, "prompt_embeds", "weights"]} if CASCADE is not None else {}
    with refusals():
        if "data" in MNIST and not all(idx_files(data_folder()).values()):  # what was copied once is not needed again
            check_data(own_data(), MNIST["data"])
        check_targets(sys.argv[1:], CASCADE, list(config["cascades"]), of_mnist | of_cascade)


def planned_experiments(jobs):
    """The experiments for which jobs of stages I and II are planned, by name."""
    return {name: EXPERIMENTS[name] for name in sorted({j.wildcards.experiment for j in jobs if j.rule.name in STAGES})}


def warnings_of(experiments):
    """Warnings of the users' pictures, which are read as a whole (masks were when the experiments were), and of prompts."""
    pictures = sorted(
        {in_project(experiment["image"]) for experiment in experiments.values() if experiment.get("image")}
    )
    found, encoder = check_pictures(pictures, PARTS.grid()), PARTS.entry["text_encoder"]
    if not PARTS.embeds_path:
        tokenizer = f"{PARTS.folder('text_encoder')}/tokenizer/spiece.model"
        found += check_words(experiments, tokenizer)
        found += [] if encoder["truncate"] else check_lengths(experiments, tokenizer, encoder["max_length"])
    return found


def run_options(wildcards):
    """The options that give this run its configuration, for the commands that the report offers.
    workflow.config_settings: jobs are given the same ones. A function, because braces in an option are not wildcards.
    """
    settings = workflow.config_settings
    return command_options(dict(settings.config), settings.configfiles, BASE)


def lift_the_job_rate():
    """On one machine, no limit on jobs a second: with one, each pass of the scheduler asks for another pass a second later, for
    good, and a hundred passes a second take a quarter of two cores. A cluster keeps its limit.
    workflow.scheduler: the limit has a default, and no option that takes it away.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


def look_on():
    """Show how far the jobs of this machine are, if a terminal looks on, and without --verbose.
    logger.handlers: Snakemake's own messages go through the one that writes to the terminal.
    """
    global BEGAN
    BEGAN = time.time()
    writers = [handler for handler in logger.handlers if getattr(handler, "stream", None) is sys.stderr]
    if workflow.local_exec and sys.stderr.isatty() and writers and not logger.isEnabledFor(logging.DEBUG):
        folder = tempfile.TemporaryDirectory(prefix="fun_")
        os.environ[FOLDER] = folder.name
        display = Display(Path(folder.name), sys.stderr)
        display.start()
        writers[0].addFilter(display)
        atexit.register(lambda: (display.stop(), folder.cleanup()))


def say_what_was_done():
    """The last words of a run: how long it took, where the report is, what to try next."""
    page = "results/report.html"
    made = page if os.path.exists(page) and os.path.getmtime(page) >= BEGAN else None
    experiments = experiments_file() if CASCADE is not None else None
    tries = next_commands(experiments, played(MNIST), run_options(None))
    jobs = job_seconds(Path("results/benchmarks"), BEGAN)
    if jobs or made:
        logger.info(run_summary(time.time() - BEGAN, jobs, made, tries))


def preflight():
    """Stop the run before its first job if a picture is damaged, or if something is missing that its jobs need of the hub
    or of the user's embeddings (fun.weights.preflight). Warn if another workflow profile has replaced profiles/default.
    workflow.dag.needrun_jobs, workflow.rerun_triggers: onstart is told neither the plan nor the settings.
    """
    if "CODE" in {cause.name for cause in workflow.rerun_triggers}:
        logger.warning(
            "Without rerun-triggers and max-checksum-file-size as in profiles/default, what was merely touched, as by a "
            "checkout, counts as changed."
        )
    if CASCADE is None:
        return
    jobs = list(workflow.dag.needrun_jobs())
    rules_run = {job.rule.name for job in jobs}
    loaded = {"encode_prompts": "text_encoder", "self_judge": "stage_1"} | {
        part: part for part in (*STAGES, "stage_3", "clip_judge")
    }
    parts = [part for rule, part in loaded.items() if rule in rules_run]
    with refusals():
        experiments = planned_experiments(jobs)
        for warning in warnings_of(experiments):
            logger.warning(warning)
    on_hub = PARTS.on_hub()
    embeds = embeds_plan() if PARTS.embeds_path else None
    if not (on_hub and (parts or "fetch_cascade" in rules_run) or embeds):
        return
    fetching = PARTS.to_fetch() if "fetch_cascade" in rules_run else {}
    plan = {
        "fetch": [{"name": part, **model} for part, model in fetching.items()],
        "fetched": [file for file in PARTS.fetched() if os.path.exists(file)],
        "load": {part: (PARTS.model(part), None if part in on_hub else PARTS.folder(part)) for part in parts},
        "device": PARTS.entry["device"],
        "here": workflow.local_exec,  # otherwise each job checks its own machine's memory
        "embeds": embeds,
        "prompts": {name: prompts_of(entries) for name, entries in experiments.items()},
    }
    with refusals():
        for warning in run_preflight(plan):
            logger.warning(warning)


def embeds_plan():
    """What the user's embeddings must contain for the stages of this run; None if they are not needed."""
    stages = [job for job in workflow.dag.needrun_jobs() if job.rule.name in STAGES]
    prompts = sorted(set(sum((prompts_of(experiment(job.wildcards)) for job in stages), [])))
    tokens = PARTS.entry["text_encoder"]["max_length"]
    return {"path": PARTS.embeds_path, "prompts": prompts, "tokens": tokens} if prompts else None
