"""Time what the workflow costs besides the work: planning, start-up, a few jobs of the default run, their memory."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import ast
import re
import shutil
import statistics
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

from fun.data.files import write_json, write_whole

params, project = dict(snakemake.params.items()), Path(snakemake.params.project).resolve()
experiments = yaml.safe_load(Path(snakemake.params.experiments).read_text(encoding="utf-8"))
plans = []


def workflow(folder, *arguments, **overlay):
    """Run Snakemake in `folder` with the project's configuration, changed by `overlay`: (output, seconds)."""
    changes = Path(folder) / "overlay.yaml"
    write_whole(changes, yaml.safe_dump(overlay))
    command = [sys.executable, "-m", "snakemake", "--snakefile", project / "Snakefile", "--directory", folder]
    command += ["--nocolor", "--cores", "1", *arguments, "--configfile", project / "config.yaml", changes]
    start = time.perf_counter()
    done = subprocess.run([*map(str, command)], cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"snakemake {' '.join(map(str, arguments))} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr, time.perf_counter() - start


def planned(output):
    """{rule: number of jobs}, from the output of a dry run."""
    table = output.split("Job stats:")[1].split("\n\n")[0]
    return {
        rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if rule not in ("total", "all")
    }


def seconds_to_import(script):
    """Seconds that a new Python process takes for a script's imports."""
    tree = ast.parse((project / "scripts" / f"{script}.py").read_text(encoding="utf-8"))
    imports = "\n".join(ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import snakemake\n{imports}"], cwd=project / "scripts", check=True)
    return time.perf_counter() - start


# --- planning, with more and more experiments ---

with TemporaryDirectory() as folder:
    for n in progress(params["plans"], "plans"):
        many = dict(zip((f"experiment_{i}" for i in range(n)), islice(cycle(experiments.values()), n), strict=True))
        write_json(Path(folder) / "many.yaml", many)  # which is also YAML
        for _ in range(params["plan_repeats"]):
            _, seconds = workflow(folder, "-n", "all", experiments=f"{folder}/many.yaml")
            plans.append({"experiments": n, "seconds": seconds})
    plan = planned(workflow(folder, "-n", "all")[0])

# --- some jobs of the default run, one core ---


def first_of(rule, folder):
    """Seconds that each job of a rule took to get to its first step, from its log; without one, those of its imports."""
    logs = [*(folder / "results/logs").glob(f"{rule}/*.log"), *(folder / "results/logs").glob(f"{rule}.log")]
    said = [
        float(n) for log in logs for n in re.findall(r"the first after ([\d.]+) s", log.read_text(encoding="utf-8"))[:1]
    ]
    return said or [seconds_to_import(rule) for _ in range(params["plan_repeats"])]


jobs = []
with TemporaryDirectory() as folder:
    results = Path(folder) / "results"
    for file in [*snakemake.input.data, *snakemake.input.classifier]:  # already there, as in a resumed run
        copy = Path(folder) / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    figures = [results / "miniature" / name / "figure.json" for name in list(experiments)[:: params["every"]]]
    others = ["mnist/class_conditioned/epoch_1/scores.json", "mnist/schedules/figure.json", "model_sizes.json"]
    targets = [str(path.relative_to(folder)) for path in (*figures, *(results / other for other in others))]
    _, wall = workflow(folder, *targets)
    tables = {path: pd.read_csv(path, sep="\t") for path in sorted((results / "benchmarks").rglob("*.tsv"))}
    between = (wall - sum(table["s"].iloc[0] for table in tables.values())) / len(tables)
    classifier = Path("results/benchmarks/train_classifier.tsv")
    if classifier.exists():
        tables[results / "benchmarks/train_classifier.tsv"] = pd.read_csv(classifier, sep="\t")
    for rule in progress(sorted({path.relative_to(results).parts[1].removesuffix(".tsv") for path in tables}), "rules"):
        mine = [
            table for path, table in tables.items() if path.relative_to(results).parts[1].removesuffix(".tsv") == rule
        ]
        first = first_of(rule, Path(folder) if rule != "train_classifier" else Path("."))
        jobs.append(
            {
                "rule": rule,
                "planned": plan[rule],
                "measured": len(mine),
                "seconds": sum(table["s"].iloc[0] for table in mine) / len(mine),
                "first_step": statistics.median(first),
                "first_step_low": min(first),
                "first_step_high": max(first),
                "peak_mb": max(table["max_rss"].iloc[0] for table in mine),
                "between": between,
            }
        )
write_whole(snakemake.output.plans, pd.DataFrame(plans).to_csv(index=False))
write_whole(snakemake.output.jobs, pd.DataFrame(jobs).to_csv(index=False))
