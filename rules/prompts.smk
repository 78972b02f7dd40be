"""The text encoder: every prompt of the experiments as an embedding.

Needs the cascade's text encoder; makes results/<cascade>/prompt_embeds/.
"""


rule encode_prompts:
    """All prompts in one job, which loads the text encoder once."""
    input:
        fetched=ancient(PARTS.fetched("text_encoder")),
        code=modules("encode_prompts"),
    output:
        TO_ENCODE,
    log:
        "results/logs/encode_prompts.log",
    benchmark:
        "results/benchmarks/encode_prompts.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=PARTS.needs("text_encoder", "gpu"),
        mem_mb=PARTS.needs("text_encoder", "mem_mb"),
        runtime=PARTS.needs("text_encoder", "runtime"),
    params:
        prompts=prompts_to_encode,
        text_encoder=PARTS.model("text_encoder"),
        folder=PARTS.folder("text_encoder"),
        device=device,
    script:
        "../scripts/encode_prompts.py"
