import os
import subprocess
import sys

import pytest

from fun.data.prompts import embedding_key, encoder_identity, normalise, prompts_of, respelled, spelled_prompts
from project import PROJECT

SCRIPTS = PROJECT / "scripts"
ENCODER = {"identity": "abc", "dtype": "float32", "max_length": 77}


@pytest.fixture
def folder(tmp_path):
    for name in ("text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/spiece.model"):
        path = tmp_path / "encoder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "encoder"


def test_normalise_as_the_pipelines_do():
    assert normalise("  A Dog\n") == "a dog"
    assert normalise("a  {dog} <b>") == "a  {dog} <b>", "no further cleaning"


def test_key_is_the_hash_of_all_that_determines_it():
    key = embedding_key("A dog", ENCODER)
    assert key == embedding_key(" a dog ", ENCODER) == embedding_key("a dog", dict(reversed(ENCODER.items())))
    others = [embedding_key("a cat", ENCODER), embedding_key("", ENCODER)]
    others += [embedding_key("a dog", ENCODER | change) for change in ({"dtype": "float16"}, {"max_length": 78})]
    assert len({key, *others}) == 5
    assert len(key) == 32 and set(key) <= set("0123456789abcdef")


def test_prompts_of_every_kind_of_experiment():
    assert prompts_of({"image": "a.png"}) == []
    assert prompts_of({"prompt": "A dog"}) == ["", "a dog"]
    assert prompts_of({"prompt": "A dog", "negative_prompt": "Fog "}) == ["a dog", "fog"]
    assert prompts_of({"prompts": ["b", "A", "a "]}) == ["", "a", "b"]
    assert prompts_of({"views": [{"view": "identity", "prompt": "x"}, {"view": "negate", "prompt": "Y"}]}) == [
        "",
        "x",
        "y",
    ]


def test_samples_have_their_prompts_as_they_were_written():
    written = {normalise(prompt): prompt for prompt in spelled_prompts({"prompts": ["A Dog", "a cat "]})}
    assert respelled({"prompt": "a dog", "seed": 1}, written) == {"prompt": "A Dog", "seed": 1}
    assert respelled({"pair": ["a cat", "a dog"], "seed": 1}, written) == {"pair": ["a cat ", "A Dog"], "seed": 1}
    assert respelled({"seed": 1}, written) == {"seed": 1}


def test_identity_of_a_repository_is_its_revision():
    assert encoder_identity("DeepFloyd/IF-I-XL-v1.0", "c03d510") == "DeepFloyd/IF-I-XL-v1.0@c03d510"


def test_identity_of_a_folder_is_its_contents(folder, tmp_path):
    before = encoder_identity(folder, None)
    os.utime(folder / "tokenizer/spiece.model", (0, 0))
    (folder / "unet").mkdir()
    (folder / "unet/config.json").write_text("not of the encoder")
    copy = tmp_path / "copy"
    folder.rename(copy)
    assert encoder_identity(copy, None) == before
    (copy / "tokenizer/spiece.model").write_text("another")
    assert encoder_identity(copy, None) != before
    (copy / "text_encoder/model.safetensors").unlink()
    with pytest.raises(ValueError, match="copy has no text encoder"):
        encoder_identity(copy, None)


def test_cache_spares_reading_and_is_never_wrong(folder, tmp_path, monkeypatch):
    cache = tmp_path / "new" / "hashes.json"
    identity = encoder_identity(folder, None, cache)
    read = []
    monkeypatch.setattr("hashlib.file_digest", lambda *_: read.append(1))
    assert encoder_identity(folder, None, cache) == identity and not read
    monkeypatch.undo()
    (folder / "tokenizer/spiece.model").write_text("another length")
    changed = encoder_identity(folder, None, cache)
    assert changed != identity and changed == encoder_identity(folder, None)
    cache.write_text('{"cut off')
    assert encoder_identity(folder, None, cache) == changed
    assert [path.name for path in cache.parent.iterdir()] == ["hashes.json"]


def test_needs_no_torch():
    code = "import sys, fun.data.prompts, fun.data.images, fun.diffusion.views; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(SCRIPTS)}).returncode == 0
