"""Whatever is in config.yaml or the experiments is refused in one sentence that names the entry, or runs safely."""

import ast
import json
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from fun.workflow.experiments import read_schema
from fun.workflow.refusals import check
from generated import documents, spoilt
from project import PROJECT

CONFIG = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text())
EXPERIMENTS = read_schema(PROJECT / "rules/experiments.schema.yaml")
SCRIPTS = sorted(PROJECT.glob("scripts/**/*.py"))
# The machine may be busy, and refusing a large document is slow: only the message matters here.
thorough = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def refusal(document, schema, name):
    """The sentence with which a document is refused, or None. Nothing but a ValueError may be raised."""
    try:
        check(document, schema, name)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("schema", [CONFIG, EXPERIMENTS], ids=["config", "experiments"])
def test_what_fits_the_schema_is_accepted(schema):
    @thorough
    @given(documents(schema))
    def accepted(document):
        assert refusal(document, schema, "name") is None

    accepted()


@pytest.mark.parametrize("schema", [CONFIG, EXPERIMENTS], ids=["config", "experiments"])
def test_what_is_spoilt_is_refused_in_a_sentence_that_names_the_entry_or_is_harmless(schema):
    @thorough
    @given(spoilt(documents(schema)))
    def refused(case):
        document, way = case
        said = refusal(document, schema, "config.yaml")
        if said is None:
            assert all(isinstance(name, str) and re.fullmatch(NAME, name) for name in folders(document))
        else:
            assert re.fullmatch(r"config\.yaml: [^\n\0]+", said) and len(said) < 1500
            # The entry itself, one that contains it, or the top of the document; odd characters in a name are escaped.
            names = [json.dumps(str(part))[1:-1][:57] for part in way]
            assert any(name in said for name in names if name) or "the document" in said

    refused()


NAME = r"[a-z][a-z0-9_]*"


def folders(document):
    """The names in a document that become folder names."""
    return list(document["mnist"]["models"]) if "mnist" in document else list(document)


def calls(path):
    """(name, call) of each call in a Python file, with the dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_shell_string_is_ever_made():
    for path in SCRIPTS:
        for name, call in calls(path):
            assert name not in ("os.system", "os.popen", "eval", "exec", "subprocess.getoutput"), path
            assert not any(keyword.arg == "shell" for keyword in call.keywords), path
            if name.startswith("subprocess."):
                assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr | ast.BinOp), path
    for path in [PROJECT / "Snakefile", *PROJECT.glob("rules/*.smk")]:
        assert not re.search(r"^\s*(shell|run):|shell\(", path.read_text(), re.MULTILINE), path


def test_nothing_is_ever_unpickled():
    for path in SCRIPTS:
        assert not re.search(
            r"^\s*(import|from) (pickle|joblib|dill|shelve|marshal)\b", path.read_text(), re.MULTILINE
        ), path
        for name, call in calls(path):
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name in ("torch.load", "pd.read_pickle"):
                assert said.get("weights_only") == "True", path
            if name == "np.load":
                assert said.get("allow_pickle", "False") == "False", path
            if name.endswith(
                ("Model.from_pretrained", "UNet2DConditionModel.from_pretrained", "EncoderModel.from_pretrained")
            ):
                assert "True" in (said.get("use_safetensors"), said.get("weights_only")), path
            assert "trust_remote_code" not in said, path
