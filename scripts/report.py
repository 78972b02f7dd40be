"""Make one page of all figures."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from importlib.metadata import version
from pathlib import Path

from fun.data.files import read_json, write_whole
from fun.reporting.figure import read_figure
from fun.reporting.page import render_page
from fun.reporting.play import playground
from fun.reporting.score_table import score_table

params = snakemake.params
figures = [read_figure(path) for path in params.figures]
versions = {name: version(name) for name in params.packages}
comparison = read_json(snakemake.input.sizes)["rows"] if snakemake.input.sizes else None

play, files = None, snakemake.input
if "miniature" in files.keys():
    folder = next(Path(path).parent for path in files.miniature if path.endswith("/README.md"))
    digits, classifier = params.digits, files.get("classifier")
    if digits is not None:
        digits = digits | {"checkpoints": dict(zip(digits["epochs"], files.checkpoints, strict=True))}
    play = playground(params.dataset["classes"], digits, classifier, folder)
table, scores = score_table(figures), snakemake.output.scores
page = render_page(figures, params.config, versions, comparison, params.options, params.out_of, play, Path(scores).name)
write_whole(scores, table.to_csv(index=False))
write_whole(snakemake.output.page, page)
print(f"{len(figures)} figures, {len(table)} numbers, {len(page) / 1e6:.1f} MB")
