"""Writing back: whole, in order, quoted so that every reader agrees, and never half."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.conftest import Load
from wings.config.change import with_values
from wings.config.document import document, to_yaml
from wings.config.load import load, parse
from wings.config.models import Config
from wings.config.problems import InvalidConfiguration
from wings.config.quantities import Secret
from wings.config.tree import MapNode, Scalar
from wings.config.write import write
from wings.config.yaml_loader import parse_document
from wings.errors import ConfigurationError

AMBIGUOUS = [
    "", "~", "null", "NULL", "true", "False", "yes", "NO", "on", "Off", "y", "n", "1", "0755", "0o17", "0x1F", "0b11",
    "1_000", "1,000", "1.5", ".5", "5.", "1e3", "1E-3", "-1", "+1", ".inf", "-.Inf", ".nan", "12:30", "12:30:45",
    "+10:00", "2026-08-01", "2026-08-01T10:00:00Z", "<<", "=", "- a", "? a", "a: b", "a #b", "#a", "&a", "*a", "!a",
    "%a", "@a", "`a", "|", ">", "'", '"', "{", "[", "}", ",", " a", "a ", "a\nb", "\n", "\ta", "a\x07b", "\x85",
    "\u2028", "\ufeff", "ü", "日本", "😀", "a\\b", "---", "...", "--- a", "::1", "fe80::/10", "a" * 300,
]  # fmt: skip


def assert_survives(text: str) -> None:
    written = to_yaml({"key": text, "list": [text], text: "value"})
    tree, problems = parse_document(written, "file")
    assert problems == []
    assert isinstance(tree["key"], Scalar)
    assert tree["key"].text == text
    assert tree["key"].value == text, f"{written!r} reads as something else by YAML 1.2"
    assert text in tree
    if text not in ("key", "list"):
        again = yaml.safe_load(written)
        assert again["key"] == text, f"{written!r} reads as something else by YAML 1.1"
        assert again["list"] == [text]
        assert again[text] == "value"


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_text_that_could_be_mistaken_is_quoted(text: str) -> None:
    assert_survives(text)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_survives_writing_and_reading(text: str) -> None:
    assert_survives(text)


@settings(deadline=None)
@given(st.text(alphabet="+-0123456789_.:,eExobafnTruyslNOY~<= '\"#&*!|>%@`{}[]\n\t", max_size=12))
def test_text_like_figures_and_words_survives(text: str) -> None:
    assert_survives(text)


@settings(deadline=None, max_examples=40)  # a whole document is written each time, 30 ms
@given(
    st.builds(
        dict,
        app_name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        debug=st.booleans(),
        remote_headers=st.dictionaries(st.text("abc-:0", max_size=5), st.text("no1: #'\"\n", max_size=8)),
        throttles=st.fixed_dictionaries({"lines": st.integers(0, 2**64 - 1)}),
        docker=st.fixed_dictionaries(
            {"overhead": st.fixed_dictionaries({"default_multiplier": st.floats(0, 1e300)})},
            optional={"unknown": st.recursive(st.text("ab1~\n"), lambda inner: st.lists(inner, max_size=3))},
        ),
        allowed_mounts=st.lists(st.text("/ab.-: ", max_size=9), max_size=3),
    )
)
def test_any_configuration_survives_writing_and_reading(values: dict[str, Any]) -> None:
    path = Path("config.yml")
    first = parse(to_yaml(values), path, {"TZ": "UTC"}, Path("/nonexistent")).config
    again = parse(to_yaml(document(first)), path, {"TZ": "UTC"}, Path("/nonexistent")).config
    assert again == first
    assert first.app_name == values["app_name"]
    assert first.docker.overhead.default_multiplier == values["docker"]["overhead"]["default_multiplier"]


def test_style() -> None:
    text = to_yaml(document(Config()))
    assert "  host: 0.0.0.0\n" in text
    assert "  redirects: {}\n" in text
    assert "  remote_download_blocked_cidrs:\n  - 127.0.0.0/8\n" in text
    assert "  trusted_proxies: []\n" in text
    assert "token: ''\n" in text
    assert "  data: '{root_directory}/volumes'\n" in text
    assert "    multiple: 1.0\n" in text
    assert "      compress: 'false'\n      max-file: '1'\n      max-size: 5m\n" in text
    assert "  timezone: '+00:00'\n" in text
    assert "uuid: 00000000-0000-0000-0000-000000000000\n" in text


def test_a_new_file_is_for_its_owner_only(tmp_path: Path, host: Path) -> None:
    path = tmp_path / "config.yml"
    assert write(path, Config()).changed
    assert path.stat().st_mode & 0o7777 == 0o600
    assert load(path, {}, host).config == Config()
    assert [entry.name for entry in tmp_path.iterdir() if entry != host] == ["config.yml"]


def test_an_existing_file_keeps_mode_and_owner(tmp_path: Path, needs_root: None) -> None:
    path = tmp_path / "config.yml"
    path.write_text("debug: true\n")
    path.chmod(0o640)
    os.chown(path, 1234, 4321)
    assert write(path, Config()).changed
    status = path.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1234, 4321)


def test_nothing_is_written_when_nothing_changed(loads: Load, tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    loaded = loads("")
    full = "# mine\n" + to_yaml(document(loaded.config)).replace("port: 8080", "port:   8080  # http")
    full = full.replace("multiple: 1.0", "multiple: 1").replace("app_name: Calagopus", 'app_name: "Calagopus"')
    path.write_text(full)
    before = path.stat()
    assert not write(path, loads(full).config).changed
    assert path.read_text() == full
    assert path.stat().st_mtime_ns >= before.st_mtime_ns
    changed = with_values(loaded.config, {"api.port": 1})
    assert write(path, changed).changed
    assert "# mine" not in path.read_text()
    assert loads(path.read_text()).config == changed


def test_missing_keys_are_a_change(loads: Load, tmp_path: Path) -> None:
    loaded = loads("debug: true\n")
    assert write(tmp_path / "config.yml", loaded.config).changed
    assert "shutdown_timeout" in (tmp_path / "config.yml").read_text()


def test_placeholders_and_references_are_written_literally(loads: Load, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("xyz")
    loaded = loads(f"token: file://{secret}\nsystem: {{data: '{{root_directory}}/v', root_directory: /srv}}\n")
    write(tmp_path / "config.yml", loaded.config)
    text = (tmp_path / "config.yml").read_text()
    assert "  data: '{root_directory}/v'\n" in text
    assert f"token: file://{secret}\n" in text
    assert "xyz" not in text


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV])
def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path: Path, code: int) -> None:
    path = tmp_path / "config.yml"
    path.write_text("debug: true\n" + "# long\n" * 5000)
    inode = path.stat().st_ino

    def refuse(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    assert write(path, Config(), rename=refuse).changed
    assert path.stat().st_ino == inode
    assert path.read_text() == to_yaml(document(Config()))
    assert not (tmp_path / "config.yml.tmp").exists()


def test_a_read_only_file_system_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("debug: true\n")

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    written = write(path, Config(), rename=refuse)
    assert not written.changed
    assert written.warning == f"{path} is on a read-only file system; changes are not kept"
    assert path.read_text() == "debug: true\n"


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    """P5: an interrupted save shows the old file, and the next one is not disturbed by what it left."""
    path = tmp_path / "config.yml"
    path.write_text("debug: true\n")

    class Crash(BaseException):
        pass

    def crash(source: Path, target: Path) -> None:
        raise Crash

    with pytest.raises(Crash):
        write(path, Config(), rename=crash)
    assert path.read_text() == "debug: true\n"
    assert (tmp_path / "config.yml.tmp").exists()
    assert write(path, Config()).changed
    assert not (tmp_path / "config.yml.tmp").exists()


def test_a_symlink_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target = tmp_path / "real" / "config.yml"
    target.parent.mkdir()
    target.write_text("debug: true\n")
    link = tmp_path / "config.yml"
    link.symlink_to(target)
    assert write(link, Config()).changed
    assert link.is_symlink()
    assert target.read_text() == to_yaml(document(Config()))


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"config.yml cannot be written: No such file or directory$"):
        write(tmp_path / "none" / "config.yml", Config())


def test_a_broken_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_bytes(b"\xff: [")
    assert write(path, Config()).changed


def test_changed_copies_are_checked() -> None:
    config = with_values(Config(), {"system.user.uid": 988, "token": Secret("x"), "debug": True})
    assert (config.system.user.uid, config.token.get_secret_value(), config.debug) == (988, "x", True)
    assert Config().system.user.uid == 0
    with pytest.raises(InvalidConfiguration) as caught:
        with_values(config, {"api.port": 70000}, source="panel")
    assert str(caught.value) == "panel: api.port: 70000 does not fit, expected a whole number from 0 to 65535"
    with pytest.raises(KeyError):
        with_values(config, {"apis.port": 1})


def test_unknown_keys_of_a_changed_copy_stay(loads: Load) -> None:
    config = with_values(loads("api: {other: 007}\n").config, {"api.port": 1})
    assert "  other: 007\n" in to_yaml(document(config))
    assert isinstance(parse_document(to_yaml(document(config)), "f")[0]["api"], MapNode)
