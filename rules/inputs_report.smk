"""Inputs and parameters of the report. No rules."""

from fun.data.timesteps import steps_made
from fun.workflow.digits import played
from fun.workflow.plan import report_figures


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
