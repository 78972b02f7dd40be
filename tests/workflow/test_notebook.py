"""The notebook, from its first cell to its last, on settings that take a minute."""

import json
import os
import re
import sys

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from project import PROJECT


@pytest.fixture(scope="module")
def executed(new_workflow, short_mnist):
    """(the notebook with its outputs, the copy of the project in which it ran)."""
    workflow = new_workflow()
    preset = yaml.safe_load((PROJECT / "presets/quick.yaml").read_text())
    preset["mnist"] |= {"data": str(short_mnist[0]), "images_per_epoch": 640}
    preset["mnist"]["sampling"] |= {"num_images": 100, "num_images_early": 100, "num_steps": 4}
    (workflow.folder / "presets/quick.yaml").write_text(yaml.safe_dump(preset))
    shown = ("a_prompt", "an_anagram")
    experiments = yaml.safe_load((PROJECT / "experiments/quick.yaml").read_text())
    few = {name: experiments[name] | {"seeds": 1, "upsample": [0]} for name in shown}
    (workflow.folder / "experiments/quick.yaml").write_text(yaml.safe_dump(few))
    notebook = nbformat.read(workflow.folder / "notebooks/fun.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
        kernel = {
            "timeout": 300,
            "kernel_name": "python3",
            "resources": {"metadata": {"path": str(workflow.folder / "notebooks")}},
        }
        NotebookClient(notebook, **kernel).execute()
    return notebook, workflow.folder


def outputs(notebook, kind):
    """What the cells printed ("text/plain") or show as a page ("text/html")."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if kind in output.get("data", {}):
                yield output["data"][kind]


def test_it_ends_with_the_report_and_shows_every_figure(executed):
    notebook, folder = executed
    pages = list(outputs(notebook, "text/html"))
    assert len(pages) == 6 and all(page.startswith("<iframe srcdoc=") for page in pages)
    assert "The same loop, &lt;span&gt;orders of magnitude apart" in pages[-1]
    assert (folder / "results/report.html").exists()
    assert (
        sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])) == 4
    )


def test_after_the_change_only_that_experiment_ran_again(executed):
    notebook, folder = executed
    before, after = (
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code" and "my_seven/figure.json" in cell.source and "snakemake" in cell.source
    )
    counts = re.findall(r"^(\w+) +(\d+)\r?$", after, re.MULTILINE)
    assert "\x1b[J" not in after and dict(counts) == {"stage_1": "1", "judge": "1", "figure": "1", "total": "3"}, after
    made = json.loads((folder / "results/miniature/my_seven/figure.json").read_text())["blocks"][0]["panels"][0][
        "provenance"
    ]
    assert made["guidance_scale"] == 7


def test_nothing_failed_and_nothing_was_installed(executed):
    notebook, _ = executed
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "Installing" not in said and "Error" not in said
