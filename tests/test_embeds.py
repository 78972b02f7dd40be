"""Embeddings made elsewhere: read, checked, and used in the text encoder's place."""

import shutil

import pytest
import torch

from diffusion.checkpoints import load_arrays, save_tensors
from diffusion.embeds import check_embeds, embeds_files, read_embeds
from test_hub import sentence

PROMPTS = ["", "a red one", "a blue five"]


@pytest.fixture
def course(tmp_path):
    """A file as the course hands one out: (1, 77, D) in half precision, prompts as somebody typed them."""
    torch.manual_seed(0)
    path = tmp_path / "embeds.pth"
    torch.save({prompt: torch.randn(1, 77, 32).half() for prompt in ("", " A red one", "a blue five")}, path)
    return path


def test_a_file_of_the_course_and_a_folder_of_ours_say_the_same(course, tmp_path):
    embeds = read_embeds(course)
    assert set(embeds) == set(PROMPTS)
    assert all(tensor.shape == (77, 32) and tensor.dtype == torch.float32 for tensor in embeds.values())
    for i, (prompt, tensor) in enumerate(embeds.items()):
        save_tensors(tmp_path / f"folder/{i}.safetensors", {"prompt_embeds": tensor}, {"prompt": prompt})
    again = read_embeds(tmp_path / "folder")
    assert set(again) == set(embeds) and all(torch.equal(again[prompt], embeds[prompt]) for prompt in embeds)
    assert len(embeds_files(tmp_path / "folder")) == 3 and embeds_files(course) == [course]
    check_embeds(course, embeds, PROMPTS, 77, 32)
    check_embeds(course, embeds, PROMPTS, 77, None)


class Evil:
    def __reduce__(self):
        return (open, ("touched", "w"))


def test_what_is_no_dict_of_tensors_is_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "embeds.pth"
    for content, message in [
        ({"a": Evil()}, "holds anything but tensors"),
        (torch.zeros(1), "must hold a dict of prompt to tensor"),
        ({1: torch.zeros(1)}, "must hold a dict of prompt to tensor"),
        ({"a dog": torch.zeros(1), " A Dog": torch.ones(1)}, "two embeddings of 'a dog'"),
    ]:
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            read_embeds(path)
    assert not (tmp_path / "touched").exists()
    for content in (b"", b"no archive at all", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged or holds anything but tensors"):
            read_embeds(path)


def test_missing_prompts_shapes_and_numbers_are_refused(course):
    embeds = read_embeds(course)
    with pytest.raises(ValueError, match="no embedding of 'a dog', 'a cat' .it has: '', 'a red one', 'a blue five'"):
        check_embeds(course, embeds, ["", "a dog", "a cat"], 77, 32)
    with pytest.raises(ValueError, match=r"'' must be of shape \(77, 4096\), not \(77, 32\)"):
        check_embeds(course, embeds, PROMPTS, 77, 4096)
    with pytest.raises(ValueError, match=r"'' must be of shape \(64, 32\), not \(77, 32\)"):
        check_embeds(course, embeds, PROMPTS, 64, 32)
    embeds["a red one"][3, 4] = torch.nan
    with pytest.raises(ValueError, match="'a red one' is not finite"):
        check_embeds(course, embeds, PROMPTS, 77, 32)


@pytest.fixture(scope="module")
def workflow(small_workflow):
    """A project whose cascade has no text encoder."""
    workflow = small_workflow()
    (workflow.folder / "tiny/SHA256SUMS").unlink()  # it would miss them
    for folder in ("text_encoder", "tokenizer"):
        shutil.rmtree(workflow.folder / "tiny/stage_1" / folder)
    return workflow


STAGE_1 = "results/tiny/prompts/stage_1.safetensors"


def test_with_embeddings_made_elsewhere_no_text_encoder_is_needed(workflow, course):
    shutil.copy(course, workflow.folder / "embeds.pth")
    given = ("--config", "prompt_embeds=embeds.pth")
    workflow.run("--cores", 1, STAGE_1, *given)
    assert {path.name for path in (workflow.folder / "results/logs").glob("*.log")} == {"read_embeds.log"}
    made = sorted((workflow.folder / "results/tiny/prompt_embeds").iterdir())
    read = {header["prompt"]: arrays["prompt_embeds"] for arrays, header in map(load_arrays, made)}
    expected = read_embeds(course)
    assert set(read) == set(PROMPTS) and all((read[prompt] == expected[prompt].numpy()).all() for prompt in PROMPTS)
    assert workflow.planned("--cores", 1, STAGE_1, *given) == {}

    # The same file elsewhere is the same; another content is another.
    shutil.copy(course, workflow.folder / "moved.pth")
    assert workflow.planned("--cores", 1, STAGE_1, "--config", "prompt_embeds=moved.pth").keys() <= {"read_embeds"}
    torch.save({prompt: tensor + 1 for prompt, tensor in expected.items()}, workflow.folder / "moved.pth")
    assert workflow.planned("--cores", 1, STAGE_1, "--config", "prompt_embeds=moved.pth") == {
        "read_embeds": 1,
        "stage_1": 1,
    }


@pytest.mark.parametrize(
    ("embeds", "message"),
    [
        ({"": (77, 32), "a blue five": (77, 32)}, "x.pth has no embedding of 'a red one' (it has: '', 'a blue five')"),
        (dict.fromkeys(PROMPTS, (77, 4096)), "x.pth: the embedding of '' must be of shape (77, 32), not (77, 4096)"),
        (None, "x.pth is damaged or holds anything but tensors, and is not opened"),
    ],
)
def test_embeddings_that_will_not_do_are_refused_before_the_first_job(workflow, embeds, message):
    path = workflow.folder / "x.pth"
    path.write_bytes(b"cut off")
    if embeds is not None:
        torch.save({prompt: torch.zeros(shape) for prompt, shape in embeds.items()}, path)
    shutil.rmtree(workflow.folder / "results", ignore_errors=True)
    done = workflow.run("--cores", 1, "all", "--config", "prompt_embeds=x.pth", check=False)
    assert sentence(done) == message
    assert not (workflow.folder / "results").exists()


def test_embeddings_that_are_not_there_are_refused_while_planning(workflow):
    done = workflow.run("-n", "all", "--config", "prompt_embeds=nowhere.pth", check=False)
    assert done.returncode != 0
    assert done.stdout.strip().splitlines()[-1].startswith("config.yaml: prompt_embeds cannot be read: ")
