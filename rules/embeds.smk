"""In place of the text encoder: embeddings that were made elsewhere.

Needs the file or folder of prompt_embeds; makes results/<cascade>/prompt_embeds/.
"""


rule read_embeds:
    """Every prompt's embedding as the stages read them, under a name that depends on what is in the file."""
    input:
        source=embeds_source(),
        fetched=ancient(fetched("stage_1", "stage_2")),
        code=library("embeds", "prompts", "checkpoints") + weights("folders") + reporting("job"),
    output:
        still_to_make(PROMPTS),
    log:
        "results/logs/read_embeds.log",
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        path=embeds_path(),
        prompts=prompts_to_encode,
        tokens=lookup(f"cascades/{CASCADE}/text_encoder/max_length", within=config),
        made_with=text_encoder(),
        stages={stage: model_folder(stage) for stage in STAGES},
    script:
        "../scripts/read_embeds.py"
