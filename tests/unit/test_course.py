"""docs/course.md tells the truth: what it names exists, and makes what it says."""

import re

import yaml

from fun.reporting.page import SECTIONS
from fun.workflow.digits import class_names
from project import PROJECT

PAGE = (PROJECT / "docs/course.md").read_text()
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ") and "`#" in line]
DEEPFLOYD, MINIATURE = (
    yaml.safe_load((PROJECT / f"experiments/{name}.yaml").read_text()) for name in ("deepfloyd", "miniature")
)
FIGURES = {"mnist_single_step", "mnist_curves", "time_conditioned_samples", "class_conditioned_samples"}


def test_every_deliverable_has_a_maker_and_a_place():
    assert len(ROWS) >= 27
    rules = set(re.findall(r"^rule (\w+):", (PROJECT / "rules/mnist.smk").read_text(), re.MULTILINE))
    for deliverable, editions, made_by, place in ROWS:
        assert {edition.strip() for edition in editions.split(",")} <= {"2024", "2026"}, deliverable
        (figure,) = re.findall(r"`#figure-(\w+)`", place)
        named = re.findall(r"`(\w+)`", made_by)
        if "experiment" in made_by:
            assert named and set(named) <= DEEPFLOYD.keys(), deliverable
            assert figure.removeprefix("deepfloyd_") in named, deliverable
        else:
            assert figure in FIGURES, deliverable
            assert "rule" not in made_by or set(named) <= rules, deliverable


def test_the_figures_of_part_b_are_called_so():
    words = "".join(path.read_text() for path in (PROJECT / "scripts/fun/reporting").glob("digit_*.py"))
    for figure in FIGURES:
        assert f'"id": "{figure}"' in words or '"id": f"{model.key}_samples"' in words and figure.endswith("_samples")


def test_the_parameters_are_the_assignments():
    """What the lists of 2024 and 2026 fix: timesteps, guidance, kernel."""
    assert (
        DEEPFLOYD["iterative_denoising"]["timesteps"] == [690] and DEEPFLOYD["iterative_denoising"]["keep_every"] == 5
    )
    assert DEEPFLOYD["guidance"]["guidance_scales"][-1] == 7 and DEEPFLOYD["unguided"]["seeds"] == 5
    assert DEEPFLOYD["sdedit_cat"]["starts"] == [960, 900, 840, 780, 690, 390]
    for experiments in (DEEPFLOYD, MINIATURE):
        assert experiments["flow_updates"]["timesteps"] == [0.25, 0.5, 0.75]
        assert experiments["flow_steps"]["timesteps"] == [0.5] and experiments["flow_steps"]["keep_every"] == 5
        assert experiments["sdedit_flow"]["starts"] == [0.02, 0.04, 0.06, 0.10, 0.14, 0.25, 0.5]
        for name in ("flow_updates", "flow_steps", "sdedit_flow"):
            how = experiments[name]["stage_1"]
            assert (how["path"], how["sampler"], how["steps"]) == ("flow", "ddim", 50)
    assert DEEPFLOYD["sdedit_flow"]["stage_1"]["guidance_scale"] == 1 + 7
    assert DEEPFLOYD["hybrid_skull"]["kernel_size"] == 33 and DEEPFLOYD["hybrid_skull"]["sigmas"] == [2.0]


def test_every_section_says_which_part_of_the_course_it_is():
    for heading in SECTIONS.values():
        assert heading.course.startswith(("Part A", "Part B")) and heading.short
    assert {"CFG", "SDEdit"} <= {heading.short for heading in SECTIONS.values()}


def test_data_sets_that_the_page_names_are_known():
    for dataset in re.findall(r"mnist/dataset: (\w+)", PAGE):
        assert len(class_names({"classes": None, "dataset": dataset})) == 10
