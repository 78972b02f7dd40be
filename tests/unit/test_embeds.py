"""Embeddings made elsewhere: read, checked, and used instead of the text encoder."""

import pytest
import torch

from fun.data.embeds import check_embeds, embeds_files, load_embeds, problem_with, read_embeds
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
        (torch.zeros(1), "must hold a dict of prompt to tensor, not Tensor"),
        ({1: torch.zeros(1)}, "must hold a dict of prompt to tensor, but one key is 1"),
        ({"a dog": torch.zeros(1), "note": "mine"}, "must hold a dict of prompt to tensor, but 'note' is of type str"),
        ({"embeds": {"a dog": torch.zeros(1)}}, "must hold a dict of prompt to tensor, but 'embeds' is of type dict"),
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
    with pytest.raises(ValueError, match=r"'' must be of shape \(77, 4096\), not \(77, 32\)"):
        check_embeds(course, embeds, PROMPTS, 77, 4096)
    with pytest.raises(ValueError, match=r"'' must be of shape \(64, 32\), not \(77, 32\)"):
        check_embeds(course, embeds, PROMPTS, 64, 32)
    for number in (torch.nan, torch.inf, -70000.0):
        embeds["a red one"][3, 4] = number
        with pytest.raises(ValueError, match="'a red one' is not finite in float16: it has NaN, infinity or a number"):
            check_embeds(course, embeds, PROMPTS, 77, 32)
        check_embeds(course, embeds, ["", "a blue five"], 77, 32)
    embeds["a red one"].zero_()
    with pytest.raises(ValueError, match="'a red one' is all zeros"):
        check_embeds(course, embeds, PROMPTS, 77, 32)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda x: x.to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (lambda x: x.to(torch.int8), "int8"),
        (lambda x: x > 0, "bool"),
        (lambda x: x + 1j, "complex64"),
        (lambda x: x.to_sparse(), "sparse_coo"),
        (lambda x: x[0].to_sparse_csr(), "sparse_csr"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "qint8"),
        (lambda x: x.to("meta"), "meta"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's, about sparse and quantised tensors
def test_only_dense_tensors_of_floats_are_embeddings(tmp_path, made, kind):
    path = tmp_path / "embeds.pth"
    torch.save({"": torch.randn(1, 77, 32), "A dog": made(torch.randn(1, 77, 32))}, path)
    with pytest.raises(ValueError, match=f"{path}: the embedding of 'A dog' must be a dense tensor of .*, not {kind}$"):
        read_embeds(path)


def test_one_prompt_twice_is_one_if_the_numbers_are_equal(tmp_path):
    path, tensor = tmp_path / "embeds.pth", torch.randn(1, 77, 32).half()
    torch.save({"a dog": tensor, "A dog": tensor.float()[0]}, path)
    assert set(read_embeds(path)) == {"a dog"}
    tensor[0, 3, 4] = torch.nan
    torch.save({"a dog": tensor, "A dog": tensor}, path)
    with pytest.raises(ValueError, match="'a dog' is not finite"):
        check_embeds(path, read_embeds(path), ["a dog"])


def test_a_missing_prompt_is_named_with_its_nearest_in_the_file_and_the_sentence_stays_short():
    embeds = dict.fromkeys(["a photo of the amalfi cost", *(f"number {i}" for i in range(300))], torch.ones(77, 32))
    with pytest.raises(
        ValueError,
        match="^x.pth has no embedding of 'a photo of the amalfi coast' .nearest: 'a photo of "
        "the amalfi cost'. .prompts in the file: 301.: spell prompts as the file does, or add them to it$",
    ):
        check_embeds("x.pth", embeds, ["a photo of the amalfi coast"])
    with pytest.raises(ValueError, match="of 'z0', 'z1', 'z2' and 47 more .prompts in the file: 301.: ") as refused:
        check_embeds("x.pth", embeds, [f"z{i}" for i in range(50)])
    assert len(str(refused.value)) < 200
    with pytest.raises(ValueError, match=r"of 'x{77}\.\.\.' .prompts in the file: 0.") as refused:
        check_embeds("x.pth", {}, ["x" * 2000])


def test_a_note_stands_for_an_embedding_that_the_source_lacks(tmp_path):
    """A stage that needs it says so; a later run that reads the folder overlooks it."""
    good, bad = tmp_path / "good.safetensors", tmp_path / "note.safetensors"
    embeds = {"a dog": torch.ones(77, 32)}
    save_tensors(good, {"prompt_embeds": embeds["a dog"]}, {"prompt": "a dog"} | problem_with("a dog", "x.pth", embeds))
    save_tensors(bad, {}, {"prompt": "a cat"} | problem_with("a cat", "x.pth", embeds))
    assert set(load_embeds([good])) == set(read_embeds(tmp_path)) == {"a dog"}
    with pytest.raises(ValueError, match="^x.pth has no embedding of 'a cat'"):
        load_embeds([good, bad])


def test_a_folder_of_other_files_is_refused(tmp_path):
    save_tensors(tmp_path / "stage_1.safetensors", {"x_0": torch.zeros(1)}, {"samples": []})
    with pytest.raises(ValueError, match="stage_1.safetensors is not a prompt's embedding"):
        read_embeds(tmp_path)
