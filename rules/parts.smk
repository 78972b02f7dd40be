"""The parts of the cascade: where each is, in a folder or on the hub, and what is looked for before the first job."""

from functools import cache

from diffusion.prompts import embedding_key, embeds_identity, encoder_identity, fingerprint, prompts_of
from reporting.preflight import run_preflight
from snakemake.logging import logger


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


def weight_files(part):
    """The files of a part that is a folder; of stage I's and II's, which may have a text encoder beside them, their own."""
    if model_of(part)["revision"]:
        return []
    own = ("unet/*", "*scheduler/*") if part in STAGES else ("**/*",)
    files = [path for pattern in own for path in Path(model_folder(part)).glob(pattern)]
    return sorted(str(path) for path in files if path.is_file())


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
    """Stop the run, before its first job, if something is missing that its jobs will need: see scripts/weights/preflight.py.

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
