"""Put what was measured into one table, with the goals beside it, and draw a chart of quality over seconds."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

import pandas as pd

from fun.benchmarking.table import Table, seconds_to, shares
from fun.data.files import write_whole
from fun.reporting.charts import chart_svg

rates, scores, sampling, plans, jobs = (pd.read_csv(path) for path in snakemake.input[:5])
params = dict(snakemake.params.items())
seconds, few, many = params["seconds"], params["judged_peers"], params["judged"]
table = Table()

# --- training: images a second, in each slice of the clock ---

by_slice = rates.pivot(index="slice", columns="contender", values="images_per_second")
ours = by_slice[[name for name in by_slice if name.startswith("ours, seed")]].mean(axis=1)
alone = by_slice.pop("ours, convolutions alone")
peers = [name for name in by_slice if not name.startswith("ours")]
table.add("training", "images/s, small U-Net", ours)
table.add("training", "share of the core's convolution rate", 100 * ours / alone, "%", at_least=70)
table.add("training", "images/s, times those in float32", (ours / by_slice["ours, float32"]).dropna())
for name in peers:
    goal = {"at_least": 12} if "assignment" in name else {}
    table.add("training", f"images/s, times those of {name}", ours / by_slice[name], **goal)

# --- training: seconds to quality ---

good = scores[(scores["n"] == many) & scores["contender"].str.startswith("ours")].groupby("contender")
for target, goal in ((0.90, {}), (0.95, {}), (0.98, {"at_most": 100}), (0.99, {"at_most": 150})):
    reached = good.apply(lambda runs, target=target: seconds_to(runs, "class_accuracy", target))
    table.add("training", f"seconds to a class accuracy of {target:.2f} (n = {many:,})", reached, "s", **goal)
last = scores[scores["seconds"] >= seconds].set_index("contender")
final = last[last["n"] == many]
table.add("training", f"class accuracy after {seconds} s (n = {many:,})", 100 * final["class_accuracy"], "%")
table.add("training", f"Fréchet distance after {seconds} s (n = {many:,})", final["frechet_distance"])
quick = scores[(scores["n"] == few) & scores["contender"].str.startswith("ours")].groupby("contender")
for name in peers:
    theirs = last.loc[name]
    table.add(
        "training", f"class accuracy of {name} after {seconds} s (n = {few})", [100 * theirs["class_accuracy"]], "%"
    )
    table.add("training", f"Fréchet distance of {name} at that time (n = {few})", [theirs["frechet_distance"]])
    there = quick.apply(lambda runs, d=theirs["frechet_distance"]: seconds_to(runs, "frechet_distance", d))
    goal = {"at_least": 30} if "assignment" in name else {}
    table.add("training", f"seconds to that distance, times ours: {name}", theirs["seconds"] / there, **goal)

# --- sampling ---

for (what, against), group in sampling.groupby(["what", "against"], sort=False):
    if against == "the network alone":
        table.add("sampling", f"{what}, times {against}", group["seconds"] / group["other_seconds"], at_most=1.05)
    else:
        ratio = group["other_seconds"] / group["seconds"]
        table.add("sampling", f"{what}: {against}, times ours", ratio, at_least=1.5)

# --- workflow ---

jobs = jobs.set_index("rule")
for rule in ("train_epoch", "sample_epoch", "stage_1", "stage_2"):
    first = jobs.loc[rule, ["first_step", "first_step_low", "first_step_high"]]
    table.add("workflow", f"{rule}: start of the job to its first step", first, "s", at_most=3)
for rule in ("stage_1", "stage_2"):
    share = 100 * jobs.loc[rule, "first_step"] / jobs.loc[rule, "seconds"]
    table.add("workflow", f"{rule}: share of a job before its first step", [share], "%")
outside, total = shares(jobs)
table.add("workflow", "default run, on one core", [total / 60], "min")
table.add("workflow", "default run outside useful work", [100 * outside / total], "%", at_most=25)
for (n, runs), limit in zip(plans.groupby("experiments"), (5, 10, 60), strict=False):
    table.add("workflow", f"snakemake -n with {n:,} experiments", runs["seconds"], "s", at_most=limit)
table.add("workflow", "loads of the text encoder in a run", [jobs.loc["encode_prompts", "planned"]], at_most=1)
long = jobs[jobs["seconds"] > 1]  # Snakemake sees a shorter job's memory only at its start
for rule, memory in long["peak_mb"].items():
    table.add("workflow", f"{rule}: peak memory", [memory], "MB")

frame = table.frame()
write_whole(snakemake.output.table, frame.to_csv(index=False))
write_whole(snakemake.output.page, table.markdown())
print(frame.to_string())

# --- the chart ---

curves = [
    {"name": name, "x": runs["seconds"].tolist(), "y": (100 * runs["class_accuracy"]).tolist()}
    for name, runs in scores[scores["n"] == few].groupby("contender", sort=False)
]
chart = {
    "kind": "line",
    "x": {"label": "training", "unit": "s", "min": 0},
    "y": {"label": "digits read as asked", "unit": "%", "min": 0, "max": 100},
    "series": curves,
}
drawn = chart_svg(chart, "Class accuracy over seconds of training")
write_whole(snakemake.output.chart, table.standalone(drawn, curves))
