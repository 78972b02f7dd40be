"""Part A: the cascade's stages, from the noise (or the picture) of an experiment to its figure.

Needs the cascade's UNets, embeddings, and the pictures that experiments name; makes results/<cascade>/<experiment>/.
"""


rule stage_1:
    """Stage I of an experiment: all its prompts, seeds, scales and timesteps as one batch."""
    input:
        unpack(user_pictures),
        embeds=ancient(embeddings),
        weights=PARTS.weight_files("stage_1"),
        fetched=ancient(PARTS.fetched("stage_1")),
        code=modules("stage_1"),
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
        gpu=PARTS.needs("stage_1", "gpu"),
        mem_mb=PARTS.needs("stage_1", "mem_mb"),
        runtime=PARTS.needs("stage_1", "runtime"),
    params:
        experiment=sampled,
        sampling=sampling("stage_1"),
        content=drawn_from("stage_1"),
        model=PARTS.model("stage_1"),
        folder=lambda wildcards: PARTS.folder("stage_1"),
        device=device,
    script:
        "../scripts/stage_1.py"


rule stage_2:
    """Stage II of an experiment: the chosen samples of stage I, or the user's own picture, enlarged."""
    input:
        unpack(user_pictures),
        unpack(stage_1_pictures),
        embeds=ancient(embeddings),
        weights=PARTS.weight_files("stage_2"),
        fetched=ancient(PARTS.fetched("stage_1", "stage_2")),
        code=modules("stage_2"),
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
        gpu=PARTS.needs("stage_2", "gpu"),
        mem_mb=PARTS.needs("stage_2", "mem_mb"),
        runtime=PARTS.needs("stage_2", "runtime"),
    params:
        experiment=sampled,
        upsample=upsampled,
        sampling=sampling("stage_2"),
        content=drawn_from("stage_2"),
        model=PARTS.model("stage_2"),
        folder=lambda wildcards: PARTS.folder("stage_2"),
        stage_1=PARTS.model("stage_1"),
        stage_1_folder=lambda wildcards: PARTS.folder("stage_1"),
        device=device,
    script:
        "../scripts/stage_2.py"


rule stage_3:
    """Stage III of an experiment: the chosen samples of stage II, enlarged four times by diffusers' own pipeline."""
    input:
        stage_2="results/{cascade}/{experiment}/stage_2.safetensors",
        weights=lambda wildcards: PARTS.weight_files("stage_3"),
        fetched=ancient(PARTS.fetched("stage_3")),
        code=modules("stage_3"),
    output:
        "results/{cascade}/{experiment}/stage_3.safetensors",
    log:
        "results/logs/stage_3/{cascade}_{experiment}.log",
    benchmark:
        "results/benchmarks/stage_3/{cascade}_{experiment}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: PARTS.needs("stage_3", "gpu"),
        mem_mb=lambda wildcards: PARTS.needs("stage_3", "mem_mb"),
        runtime=lambda wildcards: PARTS.needs("stage_3", "runtime"),
    params:
        experiment=sampled,
        enlarge=enlarged,
        sampling=lambda wildcards: canonical(PARTS.entry["stage_3"]["sampling"]),
        content=lambda wildcards: weights("stage_3"),
        model=lambda wildcards: PARTS.model("stage_3"),
        folder=lambda wildcards: PARTS.folder("stage_3"),
        device=device,
    script:
        "../scripts/stage_3.py"


rule safety_check:
    """What IF's safety checker says about an experiment's pictures, and the watermark to put on them."""
    input:
        unpack(stage_pictures),
        fetched=ancient(PARTS.fetched("safety_checker", "watermark")),
        code=modules("safety_check"),
    output:
        "results/{cascade}/{experiment}/safety.safetensors",
    log:
        "results/logs/safety_check/{cascade}_{experiment}.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=PARTS.needs("stage_1", "gpu"),
    params:
        stages=stages_run,
        safety_checker=lookup("cascades/{cascade}/safety_checker", within=config),
        watermark=lookup("cascades/{cascade}/watermark", within=config),
        model=PARTS.model("stage_1"),
        folder=lambda wildcards: PARTS.folder("stage_1"),
        device=device,
    script:
        "../scripts/safety_check.py"


rule judge:
    """How often an experiment's pictures show what was asked for, according to the cascade's judge."""
    input:
        unpack(stage_pictures),
        weights=judge_weights,
        code=modules("judge"),
    output:
        "results/{cascade}/{experiment}/scores.json",
    log:
        "results/logs/judge/{cascade}_{experiment}.log",
    benchmark:
        "results/benchmarks/judge/{cascade}_{experiment}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        experiment=sampled,
        stages=stages_run,
        content=lambda wildcards: content([judge_weights(wildcards)]),
    script:
        "../scripts/judge.py"


rule clip_judge:
    """How close an experiment's pictures are to their prompts, according to CLIP."""
    input:
        unpack(stage_pictures),
        weights=lambda wildcards: PARTS.weight_files("clip_judge"),
        fetched=ancient(PARTS.fetched("clip_judge")),
        code=modules("clip_judge"),
    output:
        "results/{cascade}/{experiment}/clip_scores.json",
    log:
        "results/logs/clip_judge/{cascade}_{experiment}.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=PARTS.needs("stage_1", "gpu"),
    params:
        experiment=sampled,
        stages=stages_run,
        content=lambda wildcards: weights("clip_judge"),
        model=lambda wildcards: PARTS.model("clip_judge"),
        folder=lambda wildcards: PARTS.folder("clip_judge"),
        device=device,
    script:
        "../scripts/clip_judge.py"


rule self_judge:
    """Which of its prompts an experiment's pictures show, according to the network that drew them."""
    input:
        unpack(stage_pictures),
        embeds=ancient(embeddings),
        weights=PARTS.weight_files("stage_1"),
        fetched=ancient(PARTS.fetched("stage_1")),
        code=modules("self_judge"),
    output:
        "results/{cascade}/{experiment}/self_scores.json",
    log:
        "results/logs/self_judge/{cascade}_{experiment}.log",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=PARTS.needs("stage_1", "gpu"),
        mem_mb=PARTS.needs("stage_1", "mem_mb"),
        runtime=PARTS.needs("stage_1", "runtime"),
    params:
        experiment=sampled,
        stages=stages_run,
        content=lambda wildcards: weights("stage_1"),
        model=PARTS.model("stage_1"),
        folder=lambda wildcards: PARTS.folder("stage_1"),
        device=device,
    script:
        "../scripts/self_judge.py"


rule figure:
    """What an experiment's stages made, as a figure for the report."""
    input:
        unpack(stage_pictures),
        unpack(judge_scores),
        unpack(safety_marks),
        code=modules("figure"),
    output:
        figure="results/{cascade}/{experiment}/figure.json",
        pictures=report(
            directory("results/{cascade}/{experiment}/figure"),
            patterns=["{picture}.png"],
            caption="../resources/report/captions/figure.rst",
            category="{cascade}",
            subcategory="{experiment}",
            labels=picture_labels,
        ),
    log:
        "results/logs/figure/{cascade}_{experiment}.log",
    benchmark:
        "results/benchmarks/figure/{cascade}_{experiment}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        experiment=experiment,
        section=section,
        pictures=pictures_shown,
        shown_with=shown_with,
    script:
        "../scripts/figure.py"


rule printout:
    """An anagram to print, with cut lines where a view cuts it: results/<cascade>/<experiment>/print.pdf."""
    input:
        unpack(stage_pictures),
        unpack(safety_marks),
        code=modules("printout"),
    output:
        "results/{cascade}/{experiment}/print.pdf",
    log:
        "results/logs/printout/{cascade}_{experiment}.log",
    conda:
        "../envs/environment.yaml"
    params:
        experiment=experiment,
        stages=stages_run,
    script:
        "../scripts/printout.py"
