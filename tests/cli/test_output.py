"""What people and scripts get to read."""

import json
from pathlib import Path

import pytest

from wings.cli import output
from wings.cli.output import count, duration, print_facts, print_failure, print_table, print_warnings, size, time


@pytest.mark.parametrize(
    ("bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 50, "1024.0 TiB"),
        (None, "?"),
    ],
)
def test_sizes(bytes: int | None, text: str) -> None:
    assert size(bytes) == text


def test_counts_and_durations() -> None:
    assert [count(number, "file") for number in (0, 1, 1234, None)] == ["0 files", "1 file", "1,234 files", "? files"]
    assert [duration(seconds) for seconds in (0.4, 61, 3725)] == ["0:00:00", "0:01:01", "1:02:05"]


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that archives claim and time zones do not know."""
    assert len(time("2020-09-13T12:26:40Z")) == len("2020-09-13 12:26:40")
    assert time("0001-01-01T00:00:00Z").startswith("0001-01-01") or time("0001-01-01T00:00:00Z").startswith("0000")
    assert time("9999-12-31T23:59:59.999999Z").startswith("9999-12-31")
    assert time(None) == "-"


def test_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is cut, wide characters count as two, control characters cannot play tricks."""
    print_table(["NAME", "SIZE"], [["世界", "1"], ["a" * 200, "2"], ["x\x1b[2J\ny", "3"]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1] == "世界" + " " * 196 + "  1" and lines[2] == "a" * 200 + "  2"
    assert lines[3].startswith("x\\x1b[2J\\x0ay ") and lines[3].endswith("  3")


def test_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"a": "1", "longer": "2\n3"})
    print_warnings(["first\nsecond"])
    print_failure("two\n  lines", "internal", as_json=True)
    told = capsys.readouterr()
    assert told.out.splitlines() == ["a:      1", "longer: 2\\x0a3", '{"error": "two\\n  lines", "code": "internal"}']
    assert told.err.splitlines() == ["warning: first\\x0asecond", "error: two lines"]


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "ascii"])
def test_json_survives_any_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Scripts run under odd locales; the document is the same."""
    with (tmp_path / "out").open("w", encoding=encoding) as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        output.print_json({"name": "wörld 🌍"})
    assert json.loads((tmp_path / "out").read_bytes()) == {"name": "wörld 🌍"}
