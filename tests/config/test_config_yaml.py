"""Scalars mean what their key says, not what YAML 1.1 makes of them (config §1.3)."""

import pytest

from tests.config.conftest import Load
from wings.config.problems import InvalidConfiguration
from wings.config.tree import MapNode, Scalar
from wings.config.yaml_loader import parse_document


def complaints(loads: Load, text: str) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        loads(text)
    return [f"{problem.place.line}: {problem.key}: {problem.message}" for problem in caught.value.problems]


def test_text_survives_that_other_readers_take_for_something_else(loads: Load) -> None:
    config = loads(
        "app_name: 2026-08-01\n"
        "token_id: 1234567890123456\n"
        "token: 0123456789\n"
        "system: {timezone: +10:00, username: on, tcp_congestion_control: no}\n"
        "docker:\n"
        "  network: {name: 0o17, mode: 1e3, interfaces: {v4: {subnet: 12:30:45}}}\n"
        "  log_config: {config: {max-size: 0755, compress: false, max-file: 1, empty: }}\n"
    ).config
    assert config.app_name == "2026-08-01"
    assert config.token_id.get_secret_value() == "1234567890123456"
    assert config.token.get_secret_value() == "0123456789"
    assert config.system.timezone == "+10:00"
    assert config.system.username == "on"
    assert config.system.tcp_congestion_control == "no"
    assert config.docker.network.name == "0o17"
    assert config.docker.network.mode == "1e3"
    assert config.docker.network.interfaces.v4.subnet == "12:30:45"
    assert config.docker.log_config.config == {"max-size": "0755", "compress": "false", "max-file": "1", "empty": ""}


@pytest.mark.parametrize(("word", "value"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_booleans_of_the_core_schema(loads: Load, word: str, value: bool) -> None:
    assert loads(f"debug: {word}\n").config.debug is value


@pytest.mark.parametrize("word", ["yes", "on", "y", "1", "tRUE", "'true'"])
def test_other_booleans_are_refused(loads: Load, word: str) -> None:
    (said,) = complaints(loads, f"\ndebug: {word}\n")
    assert said.startswith("2: debug: ")
    assert said.endswith("expected true or false")


def test_numbers_are_decimal_and_unquoted(loads: Load) -> None:
    assert loads("api: {port: 0755}\n").config.api.port == 755
    assert loads("docker: {cfs_burst: {multiple: 1}, overhead: {default_multiplier: 1.5e0}}\n").config.docker
    for word in ["0x50", "8_080", "'8080'", "80.0", "-1", "65536", "1:30", "9" * 5000]:
        (said,) = complaints(loads, f"api:\n  port: {word}\n")
        assert said.startswith("2: api.port: ")
        assert said.endswith("expected a whole number from 0 to 65535")
        assert len(said) < 200
    for word in [".inf", ".nan", "-1", "much"]:
        (said,) = complaints(loads, f"docker: {{overhead: {{default_multiplier: {word}}}}}\n")
        assert said.endswith("expected a number from 0 up, such as 1.05")


def test_duplicate_keys_are_an_error_with_both_lines(loads: Load) -> None:
    said = complaints(loads, "debug: true\napi:\n  port: 1\n  port: 2\n'debug': false\n")
    assert said == ["4: api.port: is given twice (first in line 3)", "5: debug: is given twice (first in line 1)"]


def test_anchors_aliases_and_merge_keys(loads: Load) -> None:
    config = loads(
        "x: &base {enabled: false, gateway: 10.0.0.1}\n"
        "docker: {network: {interfaces: {v4: {<<: *base, gateway: 10.9.0.1}, v6: {<<: [*base]}}}}\n"
    ).config
    assert config.docker.network.interfaces.v4.enabled is False
    assert config.docker.network.interfaces.v4.gateway == "10.9.0.1"
    assert config.docker.network.interfaces.v6.gateway == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2\n", "2: : not valid YAML"),
        ("debug: true\n\tapi: 1\n", "2: : not valid YAML"),
        ("a: 1\n---\nb: 2\n", "2: : not valid YAML"),
        ("debug: tr\x01ue\n", "1: : not valid YAML: it contains a control character"),
        ("- 1\n", "1: : the file must be a mapping"),
        ("just text\n", "1: : the file must be a mapping"),
        ("debug: !!python/name:os.system x\n", "1: debug: the tag tag:yaml.org,2002:python/name:os.system is not"),
        ("a: &a [*a]\n", "1: a.0: refers to itself"),
        ("? [a, b]\n: 1\n", "1: : a key must be text"),
        ("api: {<<: 5}\n", "1: api: << needs a mapping"),
        ("[" * 5000 + "]" * 5000, "1: : not usable: nested too deeply"),
    ],
)
def test_broken_documents(loads: Load, text: str, said: str) -> None:
    assert any(line.startswith(said) for line in complaints(loads, text)), complaints(loads, text)


def test_aliases_that_multiply_are_stopped(loads: Load) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert complaints(loads, "\n".join(lines)) == ["1: : not usable: more than 100000 values"]


def test_a_file_that_is_no_text(loads: Load, tmp_path: object) -> None:
    assert loads("\ufeffdebug: true\n").config.debug is True


def test_values_without_a_model_follow_the_core_schema() -> None:
    tree, problems = parse_document("a: 12\nb: 1.5\nc: yes\nd: '12'\ne: True\nf: ~\ng: 012\nh: 1:30\ni: |\n  x\n", "f")
    assert problems == []
    assert isinstance(tree, MapNode)
    values = {name: node.value for name, node in tree.items() if isinstance(node, Scalar)}
    assert values == {
        "a": 12, "b": 1.5, "c": "yes", "d": "12", "e": True, "f": None, "g": 12, "h": "1:30", "i": "x\n",
    }  # fmt: skip
