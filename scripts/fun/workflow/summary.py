"""What a run says when it has ended: how long each part took, where the report is, what to try next."""

import csv
from pathlib import Path

SHOWN = 8  # rules; the others together


def job_seconds(folder: Path, since: float) -> dict[str, tuple[int, float]]:
    """{rule: (jobs, seconds in all)} of the jobs that ended after `since` (seconds since the epoch), the longest first. From the
    files that Snakemake writes for `benchmark:`, below `folder`."""
    found: dict[str, tuple[int, float]] = {}
    for file in folder.rglob("*.tsv"):
        if file.stat().st_mtime >= since:
            rule = file.relative_to(folder).with_suffix("").parts[0]
            jobs, seconds = found.get(rule, (0, 0.0))
            with file.open(encoding="utf-8") as lines:
                found[rule] = jobs + 1, seconds + sum(float(row["s"]) for row in csv.DictReader(lines, delimiter="\t"))
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def run_summary(took: float, jobs: dict[str, tuple[int, float]], report: str | None, tries: dict[str, str]) -> str:
    """The last words of a run, each line of at most 80 characters but for commands.

    Args:
        took: seconds.
        jobs: from `job_seconds`.
        report: the path of the report, if this run made it.
        tries: from `next_commands`.
    """
    lines = []
    if jobs:
        lines.append(f"Finished after {clock(took)}. Time in jobs, some of them side by side:")
        shown = list(jobs.items())
        rest = shown[SHOWN:]
        rows = [(rule, n, seconds) for rule, (n, seconds) in shown[:SHOWN]]
        if rest:
            rows.append(("others", sum(n for _, (n, _) in rest), sum(seconds for _, (_, seconds) in rest)))
        lines += [f"  {rule:<20} {clock(seconds):>7}  {n} job{'s' if n > 1 else ''}" for rule, n, seconds in rows]
    if report:
        lines += [
            "",
            f"The report: {report}",
            "Open it in a browser; it needs no network.",
            "",
            "To try next, after `source .venv/bin/activate` or the like:",
        ]
        lines += [line for what, command in tries.items() for line in (f"  {what}", f"    {command}")]
    return "\n".join(lines)


def next_commands(experiments: str | None, digits: dict | None, options: str) -> dict[str, str]:
    """What to try after a run that made the report: {what it does: command}.

    Args:
        experiments: the file of the experiments; None without Part A.
        digits: the network to draw digits from, as from `fun.workflow.digits.played`; None for none.
        options: of Snakemake, as the run was given them.
    """
    tries = {}
    if experiments is not None:
        tries[f"edit {experiments}, then make what has changed:"] = "all"
    if digits is not None:
        drawn = f"results/mnist/{digits['name']}/epoch_{digits['epochs'][-1]}/7777777777_seed_5"
        tries["ten sevens of your own, as pictures in a folder:"] = drawn
    return {what: f"snakemake --cores 1 {target} {options}".rstrip() for what, target in tries.items()}


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds: "14:03"."""
    return "{}:{:02d}".format(*divmod(round(seconds), 60))
