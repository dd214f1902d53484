"""What commands print: for people on a terminal, in a pipe, or as one JSON document."""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from wings.errors import shown

Json = Any  # documents of the API, whose shapes the commands know


def print_json(document: Json) -> None:
    """The one document on stdout, in one line."""
    # Names as they are where the terminal can show them; escapes mean the same to every reader of JSON.
    plain = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
    click.echo(json.dumps(document, ensure_ascii=plain))


def print_failure(message: str, code: str, *, as_json: bool, lines: bool = False) -> None:
    """One line on stderr; with ``--json`` the document on stdout as well. ``lines`` keeps a report's lines."""
    if as_json:
        print_json({"error": message, "code": code})
    text = message if lines else " ".join(message.split())
    click.echo(click.style("error: ", fg="red") + text, err=True)


def print_note(text: str) -> None:
    """One line on stderr that is no error."""
    click.echo(text, err=True)


def print_warnings(warnings: Sequence[str]) -> None:
    """One line each, on stderr."""
    for warning in warnings:
        click.echo(click.style("warning: ", fg="yellow") + shown(warning), err=True)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need, never cut: a pipe gets what a terminal gets."""
    every = [[shown(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(_width(row[column]) for row in every) for column in range(len(headings))]
    for number, row in enumerate(every):
        line = "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values, one per line."""
    width = max(map(len, facts)) + 1
    for name, value in facts.items():
        click.echo(f"{name + ':':<{width}} {shown(value)}")


def size(count: int | None) -> str:
    """Bytes for people: ``1.4 GiB``."""
    if count is None:
        return "?"
    if count < 1024:
        return f"{count} byte{'' if count == 1 else 's'}"
    amount = count / 1024
    for unit in ("KiB", "MiB", "GiB"):
        if amount < 1023.95:  # what would be shown as 1024.0
            return f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def count(number: int | None, what: str) -> str:
    """``1 file``, ``1,234 files``, ``? files``."""
    return f"{'?' if number is None else f'{number:,}'} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """``0:04:10``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def time(text: str | None) -> str:
    """A time of the API in the local zone."""
    if text is None:
        return "-"
    moment = datetime.fromisoformat(text)
    try:
        moment = moment.astimezone()
    except (OverflowError, OSError, ValueError):  # archives may claim years that no time zone knows
        moment = moment.astimezone(UTC)
    return moment.isoformat(" ", "seconds")[:19]


def on_terminal() -> bool:
    """Whether a person watches stderr, where progress goes."""
    return sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Ask a person at a terminal; where nobody sits, what the command line says counts."""
    return not (sys.stdin.isatty() and on_terminal()) or click.confirm(question, err=True)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
