"""The hub: weights of the cascade that are not folders of this machine.

Needs a network, and a token where a repository is gated; makes results/<cascade>/weights/, and fills the hub's cache.
"""


rule fetch_cascade:
    """The files that the cascade's parts need, by commit, checked by SHA-256."""
    input:
        code=weights("hub", "hub_errors", "folders", "memory", "stored") + reporting("job"),
    output:
        still_to_make(fetched()),
    log:
        "results/logs/fetch_cascade.log",
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        parts=parts_to_fetch(),
    script:
        "../scripts/fetch_cascade.py"


onstart:
    preflight()
