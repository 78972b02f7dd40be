"""A notebook on a borrowed machine: what is installed, what is kept, what is refused."""

import sys

import pytest

from fun import hosted
from project import PROJECT

LINES = ["# a comment", "numpy==2.4.6", "snakemake==9.27.1", "torch==2.15.0"]


@pytest.fixture
def here(monkeypatch):
    """Sets which packages are installed."""
    return lambda **versions: monkeypatch.setattr(hosted, "installed", versions.get)


def test_what_is_there_and_will_do_is_kept(here):
    here(torch="2.9.1+cu128", numpy="2.0.2")
    assert hosted.plan(LINES) == (["snakemake==9.27.1"], ["numpy==2.0.2", "torch==2.9.1+cu128"])


def test_torchvision_is_chosen_for_the_torch_that_is_kept(here):
    lines = ["torch==2.15.0", "torchvision==0.29.2"]
    here(torch="2.9.1")
    assert hosted.plan(lines) == (["torchvision"], ["torch==2.9.1"])
    here()
    assert hosted.plan(lines) == (lines, [])


def test_what_is_too_old_is_replaced_but_for_torch(here):
    here(torch="2.10.0", numpy="1.26.4", snakemake="8.0.0")
    assert hosted.plan(LINES) == (["numpy==2.4.6", "snakemake==9.27.1"], ["torch==2.10.0"])


def test_an_old_torch_is_refused_in_a_sentence(here):
    here(torch="2.5.1")
    with pytest.raises(SystemExit, match="^torch 2.5.1 is too old, and replacing it could break .* torch 2.9 or newer"):
        hosted.plan(LINES)


def test_an_old_python_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 2))
    with pytest.raises(SystemExit, match="Python 3.11 or newer"):
        hosted.plan(LINES)


def test_nothing_is_missing_where_everything_is_pinned():
    missing, kept = hosted.plan((PROJECT / "envs/requirements.txt").read_text().splitlines())
    assert missing == [] and len(kept) > 20


def test_without_a_secret_it_says_how_to_add_one(monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(SystemExit, match="add a secret called HF_TOKEN"):
        hosted.log_in()
