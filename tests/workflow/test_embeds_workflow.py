"""The workflow with embeddings made elsewhere instead of the text encoder."""

import shutil

import pytest
import torch

from fun.data.embeds import read_embeds
from fun.data.tensors import load_arrays
from project import sentence

PROMPTS = ["", "a red one", "a blue five"]


@pytest.fixture(scope="module")
def workflow(small_workflow):
    """A project whose cascade has no text encoder."""
    workflow = small_workflow()
    (workflow.folder / "tiny/SHA256SUMS").unlink()  # it lists the folders removed here
    for folder in ("text_encoder", "tokenizer"):
        shutil.rmtree(workflow.folder / "tiny/stage_1" / folder)
    return workflow


STAGE_1 = "results/tiny/prompts/stage_1.safetensors"


def test_embeddings_made_elsewhere_serve_the_experiments_whose_prompts_they_have(workflow, course):
    embeds = torch.load(course, weights_only=True)
    del embeds["a blue five"]  # of the other experiment
    torch.save(embeds, workflow.folder / "embeds.pth")
    given = ("--config", "prompt_embeds=embeds.pth")
    workflow.run("--cores", 1, STAGE_1, *given)
    assert {path.name for path in (workflow.folder / "results/logs").glob("*.log")} == {"read_embeds.log"}
    made = sorted((workflow.folder / "results/tiny/prompt_embeds").glob("*/*"))
    read = {header["prompt"]: arrays for arrays, header in map(load_arrays, made)}
    expected = read_embeds(course)
    assert set(read) == set(PROMPTS) and read.pop("a blue five") == {}
    assert all((arrays["prompt_embeds"] == expected[prompt].numpy()).all() for prompt, arrays in read.items())
    assert workflow.planned("--cores", 1, STAGE_1, *given) == {}

    # Nothing is left to read, and yet the experiment whose prompt is missing is refused before its first job.
    done = workflow.run("--cores", 1, "results/tiny/noised/figure.json", *given, check=False)
    assert sentence(done).startswith("embeds.pth has no embedding of 'a blue five' (prompts in the file: 2): ")
    assert not (workflow.folder / "results/logs/stage_1/tiny_noised.log").exists()

    # The same file elsewhere counts as the same; other contents do not.
    shutil.copy(workflow.folder / "embeds.pth", workflow.folder / "moved.pth")
    assert workflow.planned("--cores", 1, STAGE_1, "--config", "prompt_embeds=moved.pth").keys() <= {"read_embeds"}
    torch.save({prompt: tensor + 1 for prompt, tensor in expected.items()}, workflow.folder / "moved.pth")
    assert workflow.planned("--cores", 1, STAGE_1, "--config", "prompt_embeds=moved.pth") == {
        "read_embeds": 1,
        "stage_1": 1,
    }


def test_the_embeddings_of_an_earlier_run_settle(workflow):
    """The folder that is read is the one that is written to."""
    folder = "results/tiny/prompt_embeds"
    (made,) = (workflow.folder / folder).glob("*")
    for file in made.iterdir():
        file.rename(made.parent / file.name)
    given = ("--config", f"prompt_embeds={folder}")
    workflow.run("--cores", 1, STAGE_1, *given)
    assert workflow.planned("--cores", 1, STAGE_1, *given) == {}


@pytest.mark.parametrize(
    ("embeds", "message"),
    [
        (
            {"": (77, 32), "a blue five": (77, 32), "a red ones": (77, 32)},
            "x.pth has no embedding of 'a red one' (nearest: 'a red ones') (prompts in the file: 3): "
            "spell prompts as the file does, or add them to it",
        ),
        (dict.fromkeys(PROMPTS, (77, 4096)), "x.pth: the embedding of '' must be of shape (77, 32), not (77, 4096)"),
        (None, "x.pth is damaged or holds something other than tensors, and was not loaded"),
    ],
)
def test_embeddings_that_will_not_do_are_refused_before_the_first_job(workflow, embeds, message):
    path = workflow.folder / "x.pth"
    path.write_bytes(b"cut off")
    if embeds is not None:
        torch.save({prompt: torch.ones(shape) for prompt, shape in embeds.items()}, path)
    shutil.rmtree(workflow.folder / "results", ignore_errors=True)
    done = workflow.run("--cores", 1, "all", "--config", "prompt_embeds=x.pth", check=False)
    assert sentence(done) == message
    assert not (workflow.folder / "results").exists()


def test_embeddings_that_are_not_there_are_refused_while_planning(workflow):
    done = workflow.run("-n", "all", "--config", "prompt_embeds=nowhere.pth", check=False)
    assert done.returncode != 0
    assert done.stdout.strip().splitlines()[-1].startswith("config.yaml: prompt_embeds cannot be read: ")
