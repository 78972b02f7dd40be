"""How fast, how good, how soon: this project beside what a user would take instead, measured on this machine.

Needs the packages of envs/requirements-benchmark.txt, which nothing else does; makes results/side_by_side/.
A job that is timed asks for every core, so that it runs alone.
"""


rule benchmark_training:
    """Ours and three others trained on MNIST in turn for the same seconds, and what their digits are worth."""
    input:
        data=MNIST_FILES,
        classifier="results/mnist/classifier/weights.safetensors",
        reference="results/mnist/classifier/reference.safetensors",
        code=library(
            "mnist",
            "digits",
            "scores",
            "unet",
            "schedule",
            "training",
            "optimizers",
            "sampling",
            "guidance",
            "views",
            "checkpoints",
        )
        + benchmarking("contenders", "rates")
        + reporting("job"),
    output:
        rates="results/side_by_side/training_rates.csv",
        scores="results/side_by_side/training_scores.csv",
    log:
        "results/logs/benchmark_training.log",
    conda:
        "../envs/environment.yaml"
    threads: 1000  # every core there is: it runs alone
    params:
        seeds=lookup("benchmark/seeds", within=config),
        peers=lookup("benchmark/peers", within=config),
        seconds=lookup("benchmark/seconds", within=config),
        slice=lookup("benchmark/slice", within=config),
        judged=lookup("benchmark/judged", within=config),
        judged_peers=lookup("benchmark/judged_peers", within=config),
        training=lookup("mnist/training", within=config),
        images_per_epoch=lookup("mnist/images_per_epoch", within=config),
    script:
        "../scripts/benchmark_training.py"


rule benchmark_sampling:
    """The sampling loop against the bare network, diffusers' pipelines, and a call for each view."""
    input:
        weights=sorted(map(str, Path(shipped("resources/miniature")).glob("stage_*/**/*.*"))),
        code=library(
            "experiments",
            "cascade",
            "digits",
            "unet",
            "guidance",
            "sampling",
            "schedule",
            "views",
            "filters",
            "images",
            "similarity",
            "prompts",
        )
        + benchmarking("pipelines", "rates")
        + reporting("job"),
    output:
        "results/side_by_side/sampling.csv",
    log:
        "results/logs/benchmark_sampling.log",
    conda:
        "../envs/environment.yaml"
    threads: 1000  # every core there is: it runs alone
    params:
        folder=lambda wildcards: shipped("resources/miniature"),
        steps=lookup("benchmark/steps", within=config),
        repeats=lookup("benchmark/repeats", within=config),
    script:
        "../scripts/benchmark_sampling.py"


rule benchmark_workflow:
    """Planning, start-up and memory of the workflow, on the default configuration in a folder of its own."""
    input:
        data=MNIST_FILES,
        classifier=[
            "results/mnist/classifier/weights.safetensors",
            "results/mnist/classifier/reference.safetensors",
            "results/mnist/classifier/scores.json",
        ],
        code=reporting("job"),
    output:
        plans="results/side_by_side/plans.csv",
        jobs="results/side_by_side/jobs.csv",
    log:
        "results/logs/benchmark_workflow.log",
    conda:
        "../envs/environment.yaml"
    threads: 1000  # every core there is: it runs alone
    params:
        project=str(BASE),
        experiments=str(BASE / "experiments/miniature.yaml"),
        plans=lookup("benchmark/plans", within=config),
        plan_repeats=lookup("benchmark/plan_repeats", within=config),
        every=lookup("benchmark/every", within=config),
    script:
        "../scripts/benchmark_workflow.py"


rule benchmark_table:
    """All that was measured, the goals beside it, met or not."""
    input:
        "results/side_by_side/training_rates.csv",
        "results/side_by_side/training_scores.csv",
        "results/side_by_side/sampling.csv",
        "results/side_by_side/plans.csv",
        "results/side_by_side/jobs.csv",
        code=benchmarking("table") + reporting("job", "charts", "numerals"),
    output:
        table="results/side_by_side/table.csv",
        page="results/side_by_side/table.md",
        chart="results/side_by_side/curves.svg",
    log:
        "results/logs/benchmark_table.log",
    conda:
        "../envs/environment.yaml"
    params:
        seconds=lookup("benchmark/seconds", within=config),
        judged=lookup("benchmark/judged", within=config),
        judged_peers=lookup("benchmark/judged_peers", within=config),
    script:
        "../scripts/benchmark_table.py"


rule gpu_speed:
    """DeepFloyd IF's networks at full size with random weights, through our loop and diffusers', on a GPU: seconds a step
    and peak memory. No part of benchmark, which needs no GPU."""
    input:
        code=library(
            "cascade",
            "experiments",
            "filters",
            "guidance",
            "images",
            "prompts",
            "sampling",
            "schedule",
            "similarity",
            "sizes",
            "views",
        )
        + benchmarking("full_size", "pipelines", "rates")
        + reporting("job"),
    output:
        csv="results/side_by_side/gpu.csv",
    log:
        "results/logs/gpu_speed.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=24000,
    params:
        batches=[1, 8],
    script:
        "../scripts/gpu_speed.py"
