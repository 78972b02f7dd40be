"""The hub: weights of the cascade that are not folders of this machine.

Needs a network, and a token where a repository is gated; makes results/<cascade>/weights.json, and fills the hub's cache.
"""


rule fetch_cascade:
    """The files that the cascade's parts need, by commit, checked by SHA-256. Who loads them takes weights.json as
    ancient(): that a part was added, or looked for again, changes nothing for the others."""
    input:
        code=library("hub", "hub_errors", "fetched", "memory", "stored") + reporting("job"),
    output:
        "results/{cascade}/weights.json",
    log:
        "results/logs/fetch_cascade/{cascade}.log",
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        parts=hub_parts(),
    script:
        "../scripts/fetch_cascade.py"


onstart:
    preflight()
