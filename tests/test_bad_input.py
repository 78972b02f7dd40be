"""Whatever stands in config.yaml or among the experiments: refused in one sentence that names the entry, or run safely."""

import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from conftest import PROJECT
from generated import documents, spoilt
from reporting.schema import check

CONFIG = yaml.safe_load((PROJECT / "rules/config.schema.yaml").read_text())
EXPERIMENTS = yaml.safe_load((PROJECT / "rules/experiments.schema.yaml").read_text())
SCRIPTS = sorted(PROJECT.glob("scripts/**/*.py"))
# The machine may be busy, and a refusal of a large document is slow: what matters here is what is said.
thorough = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def refusal(document, schema, name):
    """The sentence with which a document is refused, or None. Nothing else than a ValueError may be raised."""
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
            # The entry itself, or the one that holds it, or the top of the document.
            parents = ["/".join(map(str, way[:n])) for n in range(1, len(way) + 1)]
            assert any(parent in said for parent in parents) or "the document" in said or repr(way[-1]) in said

    refused()


NAME = r"[a-z][a-z0-9_]*"


def folders(document):
    """The names in a document that become names of folders."""
    return list(document["mnist"]["models"]) if "mnist" in document else list(document)
