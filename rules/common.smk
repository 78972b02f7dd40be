"""The checked configuration: refused in one sentence, before any work. No rules."""

import yaml

from fun.data.prompts import prompts_of
from fun.workflow.digits import denoisers, networks, predictions
from fun.workflow.experiments import read_experiments, read_schema
from fun.workflow.parts import Parts, still_to_make
from fun.workflow.plan import check_walks, complete_config
from fun.workflow.refusals import canonical, nearest


def experiments_file():
    """The file of the cascade's experiments, as it was named."""
    return config.get("experiments", f"experiments/{CASCADE}.yaml")


EXPERIMENTS_SCHEMA = read_schema(BASE / "rules/experiments.schema.yaml")
CONFIG_SCHEMA = yaml.safe_load((BASE / "rules/config.schema.yaml").read_text(encoding="utf-8"))
with refusals():
    # workflow.configfiles: read a second time, since Snakemake forgets the first of two entries of one name.
    FILES = [
        Document(Path(file), min(file, os.path.relpath(file), key=len))
        for file in dict.fromkeys(map(str, workflow.configfiles))
    ]
    complete_config(config, CONFIG_SCHEMA, FILES)
config.update(canonical(config))
MNIST = config["mnist"]
MODELS = list(MNIST["models"])  # in the order in which charts and tables show them
COMPARED, DENOISERS, NETWORKS = predictions(MNIST), denoisers(MNIST), networks(MNIST)
CASCADE, EXPERIMENTS, PROMPTS = config.get("cascade"), {}, {}
if CASCADE is not None:
    if CASCADE not in config["cascades"]:
        known = ", ".join(config["cascades"])
        raise SystemExit(
            f"config.yaml: cascade must be one of {known}, not {CASCADE}{nearest(CASCADE, config['cascades'])}"
        )
    PARTS = Parts(CASCADE, config["cascades"][CASCADE], in_project, config["prompt_embeds"])
    with refusals():
        PARTS.check_folders()
        EXPERIMENTS = read_experiments(experiments_file(), EXPERIMENTS_SCHEMA, BASE, PARTS.grid())
        check_walks(config["sampling"], PARTS.entry, EXPERIMENTS, experiments_file())
    if None not in (PARTS.entry["judge"], PARTS.entry["clip_judge"]):
        raise SystemExit(f"config.yaml: cascades/{CASCADE} has both judge and clip_judge: leave one of them out")
    with refusals():
        PROMPTS = {
            PARTS.embedding(prompt): prompt for prompt in sorted({"", *sum(map(prompts_of, EXPERIMENTS.values()), [])})
        }
TO_ENCODE = still_to_make(PROMPTS)  # looked for once: a network file system may show more of them later


wildcard_constraints:
    cascade=CASCADE or "-",
    experiment="|".join(EXPERIMENTS) or "-",
    model="|".join(NETWORKS),
    epoch=r"[1-9]\d*",
    stage="1|2",
