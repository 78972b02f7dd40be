"""Embeddings made elsewhere, instead of the text encoder.

Needs the file or folder that prompt_embeds names; makes results/<cascade>/prompt_embeds/.
"""


rule read_embeds:
    """Every prompt's embedding as the stages read it, or a note that the source has none, under a name that depends on what
    is in the source."""
    input:
        source=PARTS.embeds_source(),
        fetched=ancient(PARTS.fetched("stage_1", "stage_2")),
        code=modules("read_embeds"),
    output:
        TO_ENCODE,
    log:
        "results/logs/read_embeds.log",
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        path=PARTS.embeds_path,
        prompts=prompts_to_encode,
        tokens=lookup(f"cascades/{CASCADE}/text_encoder/max_length", within=config),
        made_with=PARTS.encoder(),
        stages={stage: PARTS.folder(stage) for stage in STAGES},
    script:
        "../scripts/read_embeds.py"
