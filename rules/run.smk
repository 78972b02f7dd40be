"""What only Snakemake knows, from attributes that its manual does not document: targets, resources, plan, terminal. No rules."""

import atexit
import logging
import tempfile
import time

from snakemake.logging import logger

from fun.data.prompts import prompts_of
from fun.workflow.digits import check_data, idx_files, played
from fun.workflow.display import Display
from fun.workflow.experiments import STAGES
from fun.workflow.log import FOLDER
from fun.workflow.plan import check_targets, command_options, optional_figures
from fun.workflow.preflight import check_lengths, check_pictures, check_words, run_preflight
from fun.workflow.summary import job_seconds, next_commands, run_summary

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
    always = [os.path.basename(data_folder()), *NETWORKS, "classifier", "curves", "schedules"]
    of_cascade = {CASCADE: [*EXPERIMENTS, "prompt_embeds", "weights"]} if CASCADE is not None else {}
    with refusals():
        if "data" in MNIST and not all(idx_files(data_folder()).values()):  # what was copied once is not needed again
            check_data(own_data(), MNIST["data"])
        told = [name for name, network in NETWORKS.items() if network["model"]["class_conditioned"]]
        made = {name: made_for(name) for name in EXPERIMENTS} if CASCADE is not None else {}
        names = {"mnist": [*always, *optional_figures(MNIST)]} | of_cascade
        check_targets(sys.argv[1:], CASCADE, list(config["cascades"]), names, told, made)
        for option, *others in (("--config", "-C"), ("--configfile", "--configfiles")):
            if sum(word.split("=")[0] in (option, *others) for word in sys.argv) > 1:
                raise ValueError(
                    f"{option} stands twice, and Snakemake forgets the first: give all of it after one {option}"
                )


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
