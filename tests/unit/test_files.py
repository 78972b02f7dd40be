"""Files are complete or absent, and nothing else is left."""

import json
import re

import pytest

from fun.data.files import read_json, whole_file, whole_folder, write_json, write_whole
from project import PROJECT


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


def test_a_folder_is_replaced_at_the_end_or_stays_as_it_was(tmp_path):
    path = tmp_path / "new/folder"
    for text in ("first", "second"):
        with whole_folder(path) as temporary:
            (temporary / text).write_text(text)
            assert not (path / text).exists()
        assert [file.name for file in path.iterdir()] == [text] and list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError, match="full"), whole_folder(path) as temporary:
        (temporary / "third").write_text("half")
        raise OSError("full")
    assert [file.name for file in path.iterdir()] == ["second"] and list(path.parent.iterdir()) == [path]


def test_what_a_killed_job_left_goes_with_the_next(tmp_path):
    path = tmp_path / "file.safetensors"
    for name in (".file.safetensors.15239", ".file.safetensors.2", ".other.safetensors.3"):
        (tmp_path / name).write_text("half")
    with whole_file(path) as temporary:
        temporary.write_text("whole")
    assert {file.name for file in tmp_path.iterdir()} == {"file.safetensors", ".other.safetensors.3"}


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(OSError, match="file/page.html could not be written: "):
        write_whole(tmp_path / "file/page.html", "a page")


def test_text_bytes_and_json_are_written_as_they_are(tmp_path):
    for content in ("ε", b"\xff"):
        write_whole(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == (content if isinstance(content, bytes) else content.encode())
    write_json(tmp_path / "file", {"prompt": "ein Fluß"})
    assert json.loads((tmp_path / "file").read_text(encoding="utf-8")) == {"prompt": "ein Fluß"}
    assert read_json(tmp_path / "file") == {"prompt": "ein Fluß"}


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe"])
def test_what_is_not_json_any_more_is_named(tmp_path, content):
    (tmp_path / "scores.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"scores\.json is not a JSON file any more .*: delete it"):
        read_json(tmp_path / "scores.json")


WRITES = re.compile(
    r"""\.write_(text|bytes)\(|\bopen\([^)]*["'][wax]|\.to_(csv|json)\((?!index=False\))|\.save\((?!encoded)|save_file\(|json\.dump\("""
)
ELSEWHERE = {
    "draw_digits.py": ['Image.fromarray(picture.numpy()).save(folder / f"{name}.png")'],  # in whole_folder
    "fun/data/files.py": ['with whole_file(path) as temporary, open(temporary, "wb") as file:'],
    "fun/workflow/log.py": [
        'log = open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 (open as long as the job runs)',
        'file.with_suffix(".new").write_text(json.dumps([job, description, done, total, began]))',  # gone after the run
    ],
    "fun/data/devices.py": [  # a lock: nothing is written
        'file = open(folder / f"{name}_{slot}.lock", "a")  # noqa: SIM115 (open as long as the process runs)'
    ],
    "fun/hosted.py": ['constraints.write_text("\\n".join(kept))'],  # gone after the installation
}


@pytest.mark.parametrize("path", sorted(PROJECT.glob("scripts/**/*.py")), ids=lambda path: path.stem)
def test_nothing_is_written_in_any_other_way(path):
    """A file that a full disk cut off would count as finished."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if WRITES.search(line)]
    assert lines == ELSEWHERE.get(str(path.relative_to(PROJECT / "scripts")), [])
