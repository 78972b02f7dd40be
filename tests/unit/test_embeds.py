"""Embeddings made elsewhere: read, checked, and used instead of the text encoder."""

import pytest
import torch

from fun.data.embeds import check_embeds, embeds_files, read_embeds
from fun.data.tensors import save_tensors

PROMPTS = ["", "a red one", "a blue five"]


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


def test_what_is_not_a_dict_of_tensors_is_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "embeds.pth"
    for content, message in [
        ({"a": Evil()}, "holds something other than tensors"),
        (torch.zeros(1), "must hold a dict of prompt to tensor"),
        ({1: torch.zeros(1)}, "must hold a dict of prompt to tensor"),
        ({"a dog": torch.zeros(1), " A Dog": torch.ones(1)}, "two different embeddings of 'a dog'"),
    ]:
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            read_embeds(path)
    assert not (tmp_path / "touched").exists()
    for content in (b"", b"no archive at all", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged or holds something other than tensors"):
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
