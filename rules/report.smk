"""The report: every figure on one page that opens offline.

Needs the figures of all other rules; makes results/report.html and results/scores.csv, or results/report_so_far.html and
results/scores_so_far.csv of those that are there.
"""


rule model_sizes:
    """Parameters and FLOPs of every network, and of the largest DeepFloyd IF: the same loop, orders of magnitude apart."""
    input:
        unets=stage_configs(),
        fetched=ancient(stages_fetched()),
        code=modules("model_sizes"),
    output:
        "results/model_sizes.json",
    log:
        "results/logs/model_sizes.log",
    benchmark:
        "results/benchmarks/model_sizes.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=lambda wildcards: {name: NETWORKS[name]["model"] for name in MODELS},
        schedule=lookup("mnist/schedule", within=config),
        mnist_steps=lookup("mnist/sampling/num_steps", within=config),
        stages=stages_counted,
    script:
        "../scripts/model_sizes.py"


rule report:
    """results/report.html: a pure function of the figures, the configuration and the versions; results/scores.csv: all its
    numbers. results/report_so_far.html: the same of the figures that are there now, without any other job."""
    input:
        unpack(play_files),
        figures=figures_to_make,
        # A copied folder is newer than what was made of its pictures; what changed them changed figure.json.
        pictures=lambda wildcards: ancient([path.removesuffix(".json") for path in figures_to_make(wildcards)]),
        sizes=lambda wildcards: [] if wildcards.so_far else "results/model_sizes.json",
        page=report_resources(),
        code=modules("report"),
    output:
        page=report(
            "results/report{so_far}.html",
            caption="../resources/report/captions/report.rst",
            category="The report",
            labels={"shown": "every figure, on one page"},
        ),
        scores=report(
            "results/scores{so_far}.csv",
            caption="../resources/report/captions/all_scores.rst",
            category="The report",
            labels={"shown": "every number, in one table"},
        ),
    log:
        "results/logs/report{so_far}.log",
    benchmark:
        "results/benchmarks/report{so_far}.tsv"
    wildcard_constraints:
        so_far="|_so_far",
    conda:
        "../envs/environment.yaml"
    params:
        figures=figures_there,
        out_of=figures_planned,
        config=report_config,
        dataset=dataset_shown,
        digits=lambda wildcards: played_digits(),
        options=run_options,
        packages=["torch", "diffusers", "transformers", "torchmetrics", "numpy", "pillow", "snakemake"],
    script:
        "../scripts/report.py"
