"""Files are complete or absent, and nothing else is left."""

import pytest

from fun.data.files import whole_file


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "folder/file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_after_a_failure_it_is_as_it_was(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(path) as temporary:
        temporary.write_text("half")
        raise OSError("full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_job_left_goes_with_the_next(tmp_path):
    path = tmp_path / "file.safetensors"
    for name in (".file.safetensors.15239", ".file.safetensors.2", ".other.safetensors.3"):
        (tmp_path / name).write_text("half")
    with whole_file(path) as temporary:
        temporary.write_text("whole")
    assert {file.name for file in tmp_path.iterdir()} == {"file.safetensors", ".other.safetensors.3"}
