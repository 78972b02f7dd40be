"""The benchmark as briefly as can be: training beside the one contender that needs no package of its own, sampling, the table.

What its other parts measure (plans and jobs of the default run, contenders that have to be installed) `make benchmark` alone runs.
"""

from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml

from project import PROJECT

pytestmark = pytest.mark.alone
MADE = "results/side_by_side"
MEASURED = ("--cores", "all", f"{MADE}/training_scores.csv", f"{MADE}/sampling.csv")
TARGET = ("--cores", "all", "benchmark")
RULES = ("train_epoch", "sample_epoch", "stage_1", "stage_2", "encode_prompts")


@pytest.fixture(scope="module")
def finished(new_workflow, short_mnist):
    """A copy of the project that has measured training and sampling, and was told what its workflow takes."""
    workflow = new_workflow()
    config = yaml.safe_load((PROJECT / "config.yaml").read_text())
    config["mnist"] |= {"data": str(short_mnist[0]), "classifier_epochs": 1, "calls": None}
    config["benchmark"] = {"peers": ["the assignment's U-Net"], "seeds": [180], "seconds": 1, "slice": 0.5}
    config["benchmark"] |= {"judged": 120, "judged_peers": 100, "steps": 2, "repeats": 1}
    workflow.configure(config)
    workflow.run(*MEASURED)
    pd.DataFrame({"experiments": [10, 10, 100], "seconds": [2.0, 3.0, 4.0]}).to_csv(
        workflow.folder / MADE / "plans.csv", index=False
    )
    job = {
        "planned": 2,
        "measured": 1,
        "seconds": 9.0,
        "first_step": 4.0,
        "first_step_low": 3.0,
        "first_step_high": 5.0,
    }
    jobs = pd.DataFrame([{"rule": rule} | job | {"peak_mb": 600.0, "between": 0.5} for rule in RULES])
    jobs.to_csv(workflow.folder / MADE / "jobs.csv", index=False)
    workflow.run("--cores", 1, f"{MADE}/table.csv")
    return workflow


def test_training_and_sampling_are_measured_and_stand_in_the_table(finished):
    made = finished.folder / MADE
    table = pd.read_csv(made / "table.csv").set_index("what")
    assert set(table["part"]) == {"training", "sampling", "workflow"} and table["median"].notna().all()
    assert len((made / "table.md").read_text().splitlines()) == len(table) + 2
    assert (table["lowest"] <= table["median"]).all() and (table["median"] <= table["highest"]).all()
    for what, least, most in (
        ("images/s, times those of the assignment's U-Net", 2, 50),
        ("share of the core's convolution rate", 20, 150),
        ("a step of denoise(), stage II, times the network alone", 0.5, 2),
        ("eight pictures, IFPipeline: a call for each seed, times ours", 1, 10),
    ):
        assert least < table.loc[what, "median"] < most, what
    told = {
        "stage_2: start of the job to its first step": 4,
        "snakemake -n with 10 experiments": 2.5,
        "default run, on one core": 5 * 2 * 9.5 / 60,
        "default run outside useful work": 100 * 4.5 / 9.5,
        "train_epoch: peak memory": 600,
    }
    assert table.loc[list(told), "median"].to_dict() == pytest.approx(told)
    contenders = {text.text for text in ElementTree.parse(made / "curves.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {"ours, seed 180", "the assignment's U-Net"} <= contenders


def test_a_part_is_measured_again_when_its_file_is_gone(finished):
    assert finished.planned(*TARGET) == {}
    (finished.folder / MADE / "sampling.csv").unlink()
    assert finished.planned(*TARGET) == dict.fromkeys(("benchmark_sampling", "benchmark_table", "benchmark"), 1)


def test_full_size_is_measured_on_a_gpu_only(finished, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = finished.run("--cores", 1, "gpu_speed", check=False)
    assert done.returncode != 0 and "gpu_speed: this machine has no GPU that torch can use" in done.stdout
    assert not (finished.folder / MADE / "gpu/gpu.json").exists()
