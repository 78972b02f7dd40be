"""The experiments of the cascade, read and checked, and what the jobs of one take."""

from diffusion.prompts import prompts_of


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
