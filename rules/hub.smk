"""The hub: the cascade's weights that are not folders on this machine.

Needs a network, and a token if a repository is gated; makes results/<cascade>/weights/, and fills the hub's cache.
"""


rule fetch_cascade:
    """The files that the cascade's parts need, by commit, checked by SHA-256."""
    input:
        code=modules("fetch_cascade"),
    output:
        still_to_make(PARTS.fetched()),
    log:
        "results/logs/fetch_cascade.log",
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        parts=PARTS.to_fetch(),
    script:
        "../scripts/fetch_cascade.py"
