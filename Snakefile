"""Fun with Diffusion Models: DeepFloyd IF and a small MNIST U-Net through one diffusion core.

snakemake --cores 1 all        everything, ending in results/report.html
snakemake -n                   what would be done
"""

from snakemake.utils import min_version

min_version("9.27")


include: "rules/files.smk"


configfile: CONFIG_FILE


include: "rules/common.smk"
include: "rules/inputs_mnist.smk"
include: "rules/inputs_cascade.smk"
include: "rules/inputs_report.smk"
include: "rules/run.smk"
include: "rules/mnist.smk"
include: "rules/miniature.smk"


if CASCADE is not None:

    include: "rules/hub.smk"
    include: "rules/embeds.smk" if PARTS.embeds_path else "rules/prompts.smk"
    include: "rules/cascade.smk"


include: "rules/report.smk"
include: "rules/benchmark.smk"


onstart:
    preflight()
    lift_the_job_rate()
    look_on()


onsuccess:
    say_what_was_done()


localrules:
    all,
    download_mnist,
    report,


rule all:
    """Everything that config.yaml asks for, in one report."""
    default_target: True
    input:
        "results/report.html",
        "results/scores.csv",
        figures_shown(),


rule miniature:
    """A trained cascade, ready to be copied to resources/miniature, and how good it is."""
    input:
        "results/miniature_training/cascade",
        "results/miniature_training/quality/trained.md",


rule miniature_quality:
    """How good the cascade is that ships with the project."""
    input:
        "results/miniature_training/quality/shipped.md",


rule benchmark:
    """How fast and how good, beside what a user would take instead; needs envs/requirements-benchmark.txt."""
    input:
        "results/side_by_side/table.csv",
        rules.benchmark_table.input,  # all named here, so that a part whose file was deleted is measured again
        called_tables(2000),  # not in the table; for docs/measurements.md
