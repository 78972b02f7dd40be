"""DeepFloyd's weights as a user meets them: fetched from a hub, or refused in a sentence before the first job.

The hub is a server on this machine; its client and the client's exceptions are the real ones.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from fun.data.tensors import load_arrays
from fun.reporting.figure import read_figure
from hub_cache import COMMIT, hub_cache, repositories
from hub_server import Hub
from project import PROJECT, SMALL, sentence

# The optional parts come from other repositories; they would only take longer.
WITHOUT = ("stage_3", "clip_judge", "safety_checker", "watermark")
SHIPPED = yaml.safe_load((PROJECT / "config.yaml").read_text())["cascades"]["deepfloyd"]
SHIPPED = {key: entry for key, entry in SHIPPED.items() if key not in WITHOUT}
EXPERIMENTS = {"prompts": {"task": "text_to_image", "prompts": ["a red one"], "seeds": 1}}
FIGURE = "results/deepfloyd/prompts/figure.json"
TOKEN, STRANGER = "hf_markedTokenOfTheTests", "hf_markedTokenOfAStranger"
XL = "DeepFloyd/IF-I-XL-v1.0"
PARTS = ("text_encoder", "stage_1", "stage_2")


@pytest.fixture(scope="module")
def files():
    """{repository: {path: content}} with everything that is there besides what is needed."""
    return repositories(SHIPPED, decoys=True)


@pytest.fixture
def hub(files):
    """A hub whose repositories are gated and have the shipped revisions."""
    revisions = {SHIPPED[part]["model"]: SHIPPED[part]["revision"] for part in ("stage_1", "stage_2")}
    hub = Hub({name: {revisions[name]: files[name]} for name in files}, tokens=(TOKEN,), known=(STRANGER,))
    yield hub
    hub.shutdown()
    hub.server_close()


@pytest.fixture(scope="module")
def project(new_workflow, short_mnist):
    """A copy of the project with the shipped cascade, few steps and one experiment."""
    workflow = new_workflow()
    config = yaml.safe_load(SMALL) | {"cascade": "deepfloyd"}
    config["cascades"] = {"deepfloyd": SHIPPED | {"stage_1": shorter("stage_1"), "stage_2": shorter("stage_2")}}
    config["mnist"] |= {"data": str(short_mnist[0]), "epochs": 1}
    workflow.configure(config)
    (workflow.folder / "experiments/deepfloyd.yaml").write_text(yaml.safe_dump(EXPERIMENTS))
    return workflow


def shorter(stage):
    return SHIPPED[stage] | {"sampling": SHIPPED[stage]["sampling"] | {"steps": 2}}


@pytest.fixture
def workflow(project, tmp_path, monkeypatch):
    """The same with no results, on a machine with no token and an empty cache."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    shutil.rmtree(project.folder / "results", ignore_errors=True)
    shutil.rmtree(project.folder / ".snakemake", ignore_errors=True)
    return project


def weights(workflow):
    """What was fetched, by part."""
    files = (workflow.folder / "results/deepfloyd/weights").glob("*.json")
    return {part: entry for file in files for part, entry in json.loads(file.read_text()).items()}


REFUSALS = {
    "no token": ({}, {}, rf"{XL} is gated and there is no token: accept its licence at http\S+/{XL}, .*hf auth login"),
    "licence not accepted": (
        {"HF_TOKEN": STRANGER},
        {},
        rf"{XL} is gated and your token has no access to it: accept its licence",
    ),
    "token not valid": ({"HF_TOKEN": "hf_old"}, {}, r"127\S+ does not accept your token: create a new one"),
    "no such repository": ({}, {"repositories": {}}, rf"there is no repository {XL} at 127\S+: check its name"),
    "no such repository, with a token": ({"HF_TOKEN": TOKEN}, {"repositories": {}}, rf"there is no repository {XL}"),
    "no such revision": ({"HF_TOKEN": TOKEN}, {"repositories": {XL: {"main": {}}}}, rf"{XL} has no revision c03d510"),
    "files missing": (
        {"HF_TOKEN": TOKEN},
        {"lacks": "unet/diffusion_pytorch_model.fp16.safetensors"},
        r".* has no safetensors of variant fp16 in unet",
    ),
    "a hub that hangs": (
        {"HF_TOKEN": TOKEN, "HF_HUB_ETAG_TIMEOUT": "1"},
        {"hangs": True},
        r"127\S+ did not answer in time when asked for .*HF_HUB_ETAG_TIMEOUT",
    ),
    "a hub that is broken": ({"HF_TOKEN": TOKEN}, {"breaks": True}, r"127\S+ answered with HTTP 500"),
    "no network": ({"HF_TOKEN": TOKEN, "HF_ENDPOINT": "http://127.0.0.1:9"}, {}, r"127.0.0.1:9 cannot be reached"),
    "offline": (
        {"HF_HUB_OFFLINE": "1"},
        {},
        rf"{XL} at revision c03d510\w+ is not complete in the hub cache .*HF_HUB_OFFLINE",
    ),
    "a proxy that refuses": (
        {"HF_ENDPOINT": "https://hub.example", "HTTPS_PROXY": "{hub}"},
        {},
        r"the proxy blocks access to hub.example",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_fetched_is_one_sentence_before_the_first_job(workflow, hub, monkeypatch, case):
    environment, faults, message = REFUSALS[case]
    for name, value in faults.items():
        setattr(hub, name, value)
    for name, value in ({"HF_ENDPOINT": "{hub}"} | environment).items():
        monkeypatch.setenv(name, value.format(hub=hub.address))
    done = workflow.run("--cores", 1, "all", check=False)
    assert re.fullmatch(message + ".*", sentence(done)), done.stdout
    assert not (workflow.folder / "results").exists()
    assert not [path for path in Path(os.environ["HF_HOME"]).rglob("*") if path.is_file()]
    assert_token_is_nowhere(workflow, done.stdout)


def needed(path):
    """Whether a file of the tests' repositories is one that the cascade needs."""
    variant = ".fp16" in path or not path.endswith((".safetensors", ".index.json"))
    return "/" in path and variant and not path.endswith(".bin")


def test_fetched_once_and_then_used_without_a_network(workflow, hub, monkeypatch, tmp_path, files):
    """Text encoder, stages and figure, with a token that must leave no trace; again, with nothing to do; without the cache."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    said = workflow.run("--cores", 1, "fetch_cascade").stdout
    assert 'gpu=Resource("gpu", 1)' in said, "more than one network at a time would share the GPU"
    wanted = {name: {path for path in tree if needed(path)} for name, tree in files.items()}
    assert sorted(hub.sent) == sorted(path for tree in wanted.values() for path in tree)
    fetched = weights(workflow)
    assert {part: entry["commit"] for part, entry in fetched.items()} == {p: SHIPPED[p]["revision"] for p in PARTS}
    for entry in fetched.values():
        assert entry["files"] == {path: len(files[entry["model"]][path]) for path in entry["files"]}

    hub.tokens, asked = (), len(hub.asked)  # the licence is withdrawn, and nobody notices
    said += workflow.run("--cores", 1, FIGURE).stdout
    assert len(hub.asked) == asked
    assert workflow.planned("--cores", 1, FIGURE) == {}
    assert_token_is_nowhere(workflow, said, tmp_path)
    (workflow.folder / "other.yaml").write_text("cascades: {deepfloyd: {stage_1: {revision: main}}}")
    planned = workflow.planned("--cores", 1, FIGURE, "--configfile", "config.yaml", "other.yaml")
    assert planned == {"fetch_cascade": 1, "stage_1": 1, "stage_2": 1, "figure": 1}

    (workflow.folder / FIGURE).unlink()
    (workflow.folder / "results/deepfloyd/prompts/stage_1.safetensors").unlink()
    next((tmp_path / "hf/hub").glob("models--DeepFloyd--IF-I-XL*/snapshots/*/unet/*.safetensors")).unlink()
    done = workflow.run("--cores", 1, FIGURE, check=False)
    assert re.fullmatch(
        rf"{XL} was fetched, but the hub cache {tmp_path}/hf/hub has no unet/\S+: set HF_HOME to the folder it was "
        rf"fetched into, or fetch it again with `hf download {XL} unet/\S+ --revision \w+ --force-download`",
        sentence(done),
    )


def test_a_file_damaged_on_its_way_is_refused_removed_and_fetched_again(workflow, hub, monkeypatch, tmp_path):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/token").write_text(TOKEN)  # as `hf auth login` leaves it
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.corrupts = True
    done = workflow.run("--cores", 1, FIGURE, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert re.search(
        r"^fetch_cascade: \S+ at revision \w+: \S+ was damaged .* and has been removed: start again", done.stdout, re.M
    )
    assert not weights(workflow)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert_token_is_nowhere(workflow, done.stdout, tmp_path / "hf/hub")
    hub.corrupts = False
    workflow.run("--cores", 1, "fetch_cascade")


def test_with_embeddings_made_elsewhere_the_text_encoder_is_not_fetched(workflow, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    torch.save({prompt: torch.zeros(1, 77, 32).half() for prompt in ("", "a red one")}, workflow.folder / "embeds.pth")
    workflow.run("--cores", 1, "fetch_cascade", "--config", "prompt_embeds=embeds.pth")
    assert {path.partition("/")[0] for path in hub.sent} == {"unet", "scheduler", "image_noising_scheduler"}


def test_optional_parts_that_are_gone_from_the_hub_are_left_out(workflow, hub, monkeypatch):
    """The run ends with stage II, and without CLIP's readings."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    shipped = yaml.safe_load((PROJECT / "config.yaml").read_text())["cascades"]["deepfloyd"]
    gone = {
        "cascades": {"deepfloyd": {part: shipped[part] for part in ("stage_3", "clip_judge")}},
        "experiments": "gone.yaml",
    }
    (workflow.folder / "more.yaml").write_text(yaml.safe_dump(gone))
    views = [{"view": view, "prompt": "a red one"} for view in ("identity", "rotate_180")]
    experiment = {"task": "visual_anagram", "views": views, "seeds": 1, "caption": "One.", "enlarge": "all"}
    (workflow.folder / "gone.yaml").write_text(yaml.safe_dump({"prompts": experiment}))
    printed = "results/deepfloyd/prompts/print.pdf"
    arguments = ("--cores", 2, FIGURE, printed, "--configfile", "config.yaml", "more.yaml")
    done = workflow.run(*arguments)
    upscaler, clip = (shipped[part]["model"] for part in ("stage_3", "clip_judge"))
    assert re.search(rf"^stage_3 is left out: there is no repository {upscaler} at 127", done.stdout, re.MULTILINE)
    assert re.search(rf"^clip_judge is left out: there is no repository {clip} at 127", done.stdout, re.MULTILINE)
    figure = read_figure(workflow.folder / FIGURE)
    assert re.match(
        f"One. CLIP's readings are left out: there is no repository {clip}.* Stage III is left out: .*{upscaler}",
        figure.caption,
    )
    assert {panel["provenance"]["stage"] for block in figure.blocks for panel in block["panels"]} == {
        "Stage I",
        "Stage II",
    }
    assert (workflow.folder / printed).read_bytes().count(b"/Type /Page\n") == 1
    assert workflow.planned(*arguments) == {}
    next((workflow.folder / "results/deepfloyd/weights").glob("stage_3_*.json")).unlink()  # to ask the hub again
    assert {"fetch_cascade", "stage_3", "figure", "printout"} <= {*workflow.planned(*arguments)}


def test_a_cache_that_is_whole_is_enough_even_for_a_branch(workflow, monkeypatch, tmp_path):
    config = yaml.safe_load((workflow.folder / "config.yaml").read_text())
    for part in PARTS:
        config["cascades"]["deepfloyd"][part] |= {"revision": "main"}
    branch = config["cascades"]["deepfloyd"]
    (workflow.folder / "branch.yaml").write_text(yaml.safe_dump(config))
    hub_cache(tmp_path / "hf", branch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    stage_1 = "results/deepfloyd/prompts/stage_1.safetensors"
    workflow.run("--cores", 1, "fetch_cascade", stage_1, "--configfile", "branch.yaml")
    assert {entry["commit"] for entry in weights(workflow).values()} == {COMMIT}
    assert load_arrays(workflow.folder / stage_1)[1]["model"]["revision"] == COMMIT


def assert_token_is_nowhere(workflow, said, *folders):
    """No trace of a token in the output, the results, Snakemake's own files, or other folders."""
    assert "hf_marked" not in said
    for folder in (workflow.folder / "results", workflow.folder / ".snakemake", *folders):
        for path in folder.rglob("*"):
            assert not path.is_file() or b"hf_marked" not in path.read_bytes(), path
