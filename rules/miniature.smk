"""The miniature cascade, trained from MNIST: tokenizer and text encoder, stage I, stage II, judge, and their quality.

Not part of `all`, which uses what ships in resources/miniature/. Needs MNIST; makes results/miniature_training/.

snakemake --cores 2 miniature            train it; about an hour if the processor has bfloat16
snakemake --cores 1 miniature_quality    measure what ships; ten minutes
cp -r results/miniature_training/cascade/{stage_1,stage_2,judge,SHA256SUMS} resources/miniature    ship what was trained
"""


rule miniature_text_encoder:
    """Tokenizer, text encoder, and the embeddings of all prompts that the stages learn."""
    input:
        code=modules("miniature_text_encoder"),
    output:
        folder=directory("results/miniature_training/text"),
        embeds="results/miniature_training/prompt_embeds.safetensors",
    log:
        "results/logs/miniature_text_encoder.log",
    benchmark:
        "results/benchmarks/miniature_text_encoder.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        steps=lookup("miniature_training/text_encoder_steps", within=config),
        seed=lookup("miniature_training/seed", within=config),
    script:
        "../scripts/miniature_text_encoder.py"


rule train_miniature:
    """One epoch of one stage, from the previous checkpoint to the next."""
    input:
        data=ancient(MNIST_FILES),
        embeds="results/miniature_training/prompt_embeds.safetensors",
        previous=previous_miniature_checkpoint,
        code=modules("train_miniature"),
    output:
        checkpoint="results/miniature_training/stage_{stage}/epoch_{epoch}/checkpoint.safetensors",
        losses="results/miniature_training/stage_{stage}/epoch_{epoch}/losses.csv",
    log:
        "results/logs/train_miniature/stage_{stage}_{epoch}.log",
    benchmark:
        "results/benchmarks/train_miniature/stage_{stage}_{epoch}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        # Without the number of epochs, so that more can be added to a finished training.
        training=lookup("miniature_training/training", within=config),
        images_per_epoch=lookup("miniature_training/images_per_epoch", within=config),
        seed=lookup("miniature_training/seed", within=config),
        device=lookup("miniature_training/device", within=config),
    script:
        "../scripts/train_miniature.py"


rule train_judge:
    """The judge of coloured digits, and its accuracy on real ones."""
    input:
        data=ancient(MNIST_FILES),
        code=modules("train_judge"),
    output:
        weights="results/miniature_training/judge/weights.safetensors",
        scores="results/miniature_training/judge/scores.json",
    log:
        "results/logs/train_judge.log",
    benchmark:
        "results/benchmarks/train_judge.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        steps=lookup("miniature_training/judge_steps", within=config),
        seed=lookup("miniature_training/seed", within=config),
    script:
        "../scripts/train_judge.py"


rule export_miniature:
    """The cascade in diffusers' layout, float16, with the SHA-256 of every file."""
    input:
        text="results/miniature_training/text",
        stage_1=last_miniature_checkpoint(1),
        stage_2=last_miniature_checkpoint(2),
        judge="results/miniature_training/judge/weights.safetensors",
        judge_scores="results/miniature_training/judge/scores.json",
        code=modules("export_miniature"),
    output:
        directory("results/miniature_training/cascade"),
    log:
        "results/logs/export_miniature.log",
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/export_miniature.py"


rule measure_miniature:
    """How often the cascade draws what was asked for: prompts, anagrams, enlarged digits."""
    input:
        data=ancient(MNIST_FILES),
        cascade=measured_miniature,
        code=modules("measure_miniature"),
    output:
        scores="results/miniature_training/quality/{measured}.json",
        table="results/miniature_training/quality/{measured}.md",
    log:
        "results/logs/measure_miniature/{measured}.log",
    benchmark:
        "results/benchmarks/measure_miniature/{measured}.tsv"
    wildcard_constraints:
        measured="trained|shipped",
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        quality=lookup("miniature_training/quality", within=config),
    script:
        "../scripts/measure_miniature.py"
