"""Inputs and parameters of the jobs of Part A, and of the miniature's training. No rules."""

from functools import cache
from types import SimpleNamespace

from fun.data.prompts import prompts_of
from fun.reporting.file_names import labels_of
from fun.workflow.experiments import STAGES, judge_of, pictures_of, section_of, stages_of, what_is_sampled

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


def made_for(name):
    """The files and folders that can be made for an experiment."""
    wildcards = SimpleNamespace(cascade=CASCADE, experiment=name)
    made = stage_pictures(wildcards) | judge_scores(wildcards) | safety_marks(wildcards)
    printed = ["print.pdf"] if "views" in EXPERIMENTS[name] else []
    return [*map(os.path.basename, made.values()), "figure.json", "figure", *printed]


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
