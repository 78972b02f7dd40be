"""Files of tensors: whole or absent, equal bytes for equal contents, damage detected."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from fun.data.tensors import load_tensors, save_tensors

TENSORS = {"b": torch.arange(6.0).view(2, 3).T, "a": torch.tensor(7), "flags": torch.tensor([1, 2], dtype=torch.uint8)}
MADE_WITH = {"prompt": "a {dog} <b>", "epoch": 3, "nested": {"x": [1, 2.5, None]}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "new" / "file.safetensors"
    save_tensors(path, TENSORS, MADE_WITH)
    return path


def test_what_is_saved_is_loaded(path):
    tensors, made_with = load_tensors(path)
    assert made_with == MADE_WITH
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], TENSORS[k]) and tensors[k].dtype == TENSORS[k].dtype for k in TENSORS)


def test_equal_contents_give_equal_bytes(path):
    first = path.read_bytes()
    save_tensors(path, dict(reversed(TENSORS.items())), dict(reversed(MADE_WITH.items())))
    assert path.read_bytes() == first


def test_who_may_read_other_files_may_read_these(path):
    beside = path.with_name("other.txt")
    beside.touch()
    assert path.stat().st_mode == beside.stat().st_mode


def test_nothing_is_left_beside_the_file(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_none_are_not_saved(path, value):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="file.safetensors was not written: a holds numbers that are not finite"):
        save_tensors(path, TENSORS | {"a": torch.tensor([0, value])}, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("position", [0, 12, -1])
def test_a_flipped_byte_is_seen(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="file.safetensors is damaged"):
        load_tensors(path)


def test_every_flipped_bit_of_the_tensors_is_seen(path):
    content = path.read_bytes()
    for position in range(len(content) - 6 * 4 - 8 - 2, len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 128]) + content[position + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            load_tensors(path)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_seen(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="file.safetensors is damaged"):
        load_tensors(path)


def test_a_failed_write_keeps_the_old_file(path):
    first = path.read_bytes()
    with pytest.raises(TypeError):
        save_tensors(path, TENSORS, {"not": {"json"}})
    assert path.read_bytes() == first


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="gone.safetensors does not exist"):
        load_tensors(tmp_path / "gone.safetensors")


def test_a_pickle_is_never_run(tmp_path):
    path = tmp_path / "evil.safetensors"

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="damaged"):
        load_tensors(path)
    assert not (tmp_path / "ran").exists()


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="not written by this project"):
        load_tensors(tmp_path / "foreign.safetensors")
