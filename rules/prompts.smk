"""The text encoder: every prompt of the experiments as an embedding.

Needs the cascade's text encoder; makes results/<cascade>/prompt_embeds/.
"""


rule encode_prompts:
    """All prompts in one job, which loads the text encoder once."""
    input:
        fetched=ancient(fetched("text_encoder")),
        code=library("cascade", "prompts", "sampling", "schedule", "checkpoints")
        + weights("folders", "memory", "stored")
        + reporting("job"),
    output:
        still_to_make(PROMPTS),
    log:
        "results/logs/encode_prompts.log",
    benchmark:
        "results/benchmarks/encode_prompts.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=needs("text_encoder", "gpu"),
        mem_mb=needs("text_encoder", "mem_mb"),
        runtime=needs("text_encoder", "runtime"),
    params:
        prompts=prompts_to_encode,
        text_encoder=model_of("text_encoder"),
        folder=model_folder("text_encoder"),
        device=device,
    script:
        "../scripts/encode_prompts.py"
