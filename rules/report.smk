"""The report: every figure on one page that opens offline.

Needs the figures of all other rules; makes results/report.html.
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
        models=lookup("mnist/models", within=config),
        schedule=lookup("mnist/schedule", within=config),
        mnist_steps=lookup("mnist/sampling/num_steps", within=config),
        stages=stages_counted,
    script:
        "../scripts/model_sizes.py"


rule report:
    """results/report.html: a pure function of the figures, the configuration and the versions."""
    input:
        figures=figures_shown(),
        pictures=[path.removesuffix(".json") for path in figures_shown()],
        sizes="results/model_sizes.json",
        page=report_resources(),
        code=modules("report"),
    output:
        report("results/report.html", caption="../resources/report/captions/report.rst", category="The report"),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        config=report_config,
        packages=["torch", "diffusers", "transformers", "torchmetrics", "numpy", "pillow", "snakemake"],
    script:
        "../scripts/report.py"
