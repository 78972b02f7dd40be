"""Part A: the cascade's two stages, from the noise (or the picture) of an experiment to its figure.

Needs the cascade's UNets, embeddings, and the pictures that experiments name; makes results/<cascade>/<experiment>/.
"""


rule stage_1:
    """Stage I of an experiment: all its prompts, seeds, scales and timesteps as one batch."""
    input:
        unpack(user_pictures),
        embeds=ancient(embeddings),
        weights=weights("stage_1"),
        code=library(
            "experiments",
            "cascade",
            "guidance",
            "sampling",
            "schedule",
            "views",
            "filters",
            "images",
            "similarity",
            "prompts",
            "checkpoints",
        )
        + reporting("job"),
    output:
        "results/{cascade}/{experiment}/stage_1.safetensors",
    log:
        "results/logs/stage_1/{cascade}_{experiment}.log",
    benchmark:
        "results/benchmarks/stage_1/{cascade}_{experiment}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=needs("stage_1", "gpu"),
        mem_mb=needs("stage_1", "mem_mb"),
        runtime=needs("stage_1", "runtime"),
    params:
        experiment=sampled,
        sampling=sampling("stage_1"),
        model=model_of("stage_1"),
        folder=model_folder("stage_1"),
        device=device,
    script:
        "../scripts/stage_1.py"


rule stage_2:
    """Stage II of an experiment: the chosen samples of stage I, or the user's own picture, enlarged."""
    input:
        unpack(user_pictures),
        unpack(stage_1_pictures),
        embeds=ancient(embeddings),
        weights=weights("stage_2"),
        code=library(
            "experiments",
            "cascade",
            "guidance",
            "sampling",
            "schedule",
            "views",
            "filters",
            "images",
            "similarity",
            "prompts",
            "checkpoints",
        )
        + reporting("job"),
    output:
        "results/{cascade}/{experiment}/stage_2.safetensors",
    log:
        "results/logs/stage_2/{cascade}_{experiment}.log",
    benchmark:
        "results/benchmarks/stage_2/{cascade}_{experiment}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=needs("stage_2", "gpu"),
        mem_mb=needs("stage_2", "mem_mb"),
        runtime=needs("stage_2", "runtime"),
    params:
        experiment=sampled,
        upsample=upsampled,
        sampling=sampling("stage_2"),
        model=model_of("stage_2"),
        folder=model_folder("stage_2"),
        stage_1=model_of("stage_1"),
        stage_1_folder=model_folder("stage_1"),
        device=device,
    script:
        "../scripts/stage_2.py"


rule judge:
    """How often an experiment's pictures show what they were asked to, in the eyes of the cascade's judge."""
    input:
        unpack(stage_pictures),
        weights=judge_weights,
        code=library("readings", "judge", "miniature", "scores", "filters", "views", "checkpoints") + reporting("job"),
    output:
        "results/{cascade}/{experiment}/scores.json",
    log:
        "results/logs/judge/{cascade}_{experiment}.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        experiment=sampled,
    script:
        "../scripts/judge.py"


rule figure:
    """What an experiment's stages made, as a figure of the report."""
    input:
        unpack(stage_pictures),
        unpack(judge_scores),
        code=library("figures", "checkpoints", "images", "views") + reporting("job", "figure", "animation"),
    output:
        figure="results/{cascade}/{experiment}/figure.json",
        pictures=directory("results/{cascade}/{experiment}/figure"),
    log:
        "results/logs/figure/{cascade}_{experiment}.log",
    conda:
        "../envs/environment.yaml"
    params:
        experiment=experiment,
    script:
        "../scripts/figure.py"
