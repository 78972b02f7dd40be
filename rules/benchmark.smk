"""Speed, quality and time to quality: this project and what a user would use instead, measured on this machine.

Needs the packages in envs/requirements-benchmark.txt, which nothing else needs; makes results/side_by_side/.
A timed job asks for every core, so that it runs alone.
"""

ALL_CORES = 1000 if workflow.local_exec else 1  # Snakemake takes those that there are; a cluster would look for so many


rule benchmark_training:
    """Our network and three others, trained on MNIST in turn for the same time, and how good their digits are."""
    input:
        data=ancient(MNIST_FILES),
        classifier="results/mnist/classifier/weights.safetensors",
        reference="results/mnist/classifier/reference.safetensors",
        code=modules("benchmark_training"),
    output:
        rates="results/side_by_side/training_rates.csv",
        scores="results/side_by_side/training_scores.csv",
    log:
        "results/logs/benchmark_training.log",
    conda:
        "../envs/environment.yaml"
    threads: ALL_CORES
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
    """The sampling loop compared with the bare network, diffusers' pipelines, and one call per view."""
    input:
        weights=sorted(map(str, Path(shipped("resources/miniature")).glob("stage_*/**/*.*"))),
        code=modules("benchmark_sampling"),
    output:
        "results/side_by_side/sampling.csv",
    log:
        "results/logs/benchmark_sampling.log",
    conda:
        "../envs/environment.yaml"
    threads: ALL_CORES
    params:
        folder=lambda wildcards: shipped("resources/miniature"),
        steps=lookup("benchmark/steps", within=config),
        repeats=lookup("benchmark/repeats", within=config),
    script:
        "../scripts/benchmark_sampling.py"


rule benchmark_workflow:
    """Planning time, start-up time and memory of the workflow, with the default configuration in a separate folder."""
    input:
        data=ancient(MNIST_FILES),
        classifier=[
            "results/mnist/classifier/weights.safetensors",
            "results/mnist/classifier/reference.safetensors",
            "results/mnist/classifier/scores.json",
        ],
        code=modules("benchmark_workflow"),
    output:
        plans="results/side_by_side/plans.csv",
        jobs="results/side_by_side/jobs.csv",
    log:
        "results/logs/benchmark_workflow.log",
    conda:
        "../envs/environment.yaml"
    threads: ALL_CORES
    params:
        project=str(BASE),
        experiments=str(BASE / "experiments/miniature.yaml"),
        plans=lookup("benchmark/plans", within=config),
        plan_repeats=lookup("benchmark/plan_repeats", within=config),
        every=lookup("benchmark/every", within=config),
    script:
        "../scripts/benchmark_workflow.py"


rule benchmark_table:
    """All measurements with their goals, and whether each goal was met."""
    input:
        "results/side_by_side/training_rates.csv",
        "results/side_by_side/training_scores.csv",
        "results/side_by_side/sampling.csv",
        "results/side_by_side/plans.csv",
        "results/side_by_side/jobs.csv",
        code=modules("benchmark_table"),
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
    """DeepFloyd IF at full size with random weights, in our loop and in diffusers', and whatever else is measured on a GPU only. Not
    part of benchmark, which needs none. Its parts are kept: started again, it measures those that are missing."""
    input:
        data=ancient(MNIST_FILES),
        code=modules("gpu_speed"),
    output:
        "results/side_by_side/gpu/gpu.json",
    log:
        "results/logs/gpu_speed.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=24000,
    params:
        minutes=60,
    script:
        "../scripts/gpu_speed.py"
