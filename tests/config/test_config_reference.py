"""The example file and the reference are what the models say."""

import re

from tests.config.conftest import Load, key_paths
from tests.conftest import ROOT
from wings.config.document import document
from wings.config.models import Config
from wings.config.reference import EXAMPLE, REFERENCE, example, reference
from wings.config.section import Section, applies

REMEDY = "run: python -m wings.config.reference"


def test_the_example_is_not_stale() -> None:
    assert (ROOT / EXAMPLE).read_text() == example(), REMEDY


def test_the_reference_is_not_stale() -> None:
    assert (ROOT / REFERENCE).read_text() == reference(), REMEDY


def test_the_example_loads_and_holds_the_defaults(loads: Load) -> None:
    loaded = loads(example())
    assert loaded.warnings == ()
    assert document(loaded.config) == document(Config())


def test_every_key_is_in_the_reference() -> None:
    listed = set(re.findall(r"^\| `([^`]+)` \|", reference(), re.MULTILINE))
    keys = {path for path in key_paths(document(Config())) if not path.startswith("docker.log_config.config.")}
    assert keys - listed == set()


def test_every_key_is_described_and_says_when_it_applies() -> None:
    def check(section: Section) -> None:
        for name, field in type(section).model_fields.items():
            assert field.description, name
            value = getattr(section, name)
            if isinstance(value, Section):
                check(value)
            else:
                assert applies(field), name

    check(Config())
