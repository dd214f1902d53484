"""Makes config.example.yml and docs/configuration.md out of the models: ``python -m wings.config.reference``.

Tests fail when the two files are not what this makes.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import PlainValidator
from pydantic.fields import FieldInfo

from wings.config.document import document, to_yaml
from wings.config.models import Config
from wings.config.parsers import Parser
from wings.config.section import Section, applies, is_optional

_WIDTH = 110  # columns of comments

EXAMPLE = Path("config.example.yml")
REFERENCE = Path("docs/configuration.md")

_EXAMPLE_HEAD = """\
# Every key with its default. A file needs only the keys that differ; docs/configuration.md explains them all.
# Made from the models by `python -m wings.config.reference`.
"""

_REFERENCE_HEAD = """\
# Configuration reference

Made from the models by `python -m wings.config.reference`; edit the descriptions there.

The daemon reads the file given with `--config`, or the first that exists of `/etc/calagopus-wings/config.yml`,
`/etc/pterodactyl/config.yml`, `/etc/pelican/config.yml` and `./config.yml`. With `--root DIR` it reads
`DIR/config.yml` and makes it on first use.

- It is YAML 1.2: `yes`, `no`, `on` and `off` are text, `0755` is the number 755, `+10:00` is text. Text that looks
  like a number needs no quotes where text is expected.
- Every key may be left out or be empty; then its default applies. Keys that are not listed here are kept.
- Everything that is wrong is reported at once, with its line.
- `{root_directory}` in a path stands for `system.root_directory`.
- A rate is a number of MiB per second, or bytes per second with a unit: `50MiB`, `10 MB`, `500KiB`. 0 = no limit.
- The environment variable `CALAGOPUS_` plus the key in capitals, with `_` for each dot, overrides a key, for example
  `CALAGOPUS_API_PORT=9090`. `WINGS_TOKEN_ID` and `WINGS_TOKEN` override the two tokens without being written to the
  file. In a container, `WINGS_USERNAME`, `WINGS_UID` and `WINGS_GID` name the owner of server files.
- Files of Pterodactyl and Pelican load as they are.
"""


def example() -> str:
    """The text of config.example.yml."""
    return "\n".join([_EXAMPLE_HEAD, *_example_lines(Config(), 0)])


def reference() -> str:
    """The text of docs/configuration.md."""
    parts = [_REFERENCE_HEAD]
    parts += _tables(Config, "", "Top level")
    return "\n".join(parts)


def write_both(directory: Path) -> None:
    """Write the two files below ``directory``, the root of the repository."""
    (directory / EXAMPLE).write_text(example(), encoding="utf-8")
    (directory / REFERENCE).write_text(reference(), encoding="utf-8")


def _example_lines(section: Section, depth: int) -> Iterator[str]:
    indent = "  " * depth
    values = document(section)
    for name, field in type(section).model_fields.items():
        if is_optional(field):
            continue
        value = getattr(section, name)
        yield from textwrap.wrap(f"{indent}# {field.description}", _WIDTH, subsequent_indent=f"{indent}# ")
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _example_lines(value, depth + 1)
        else:
            yield from (f"{indent}{line}" for line in to_yaml({name: values[name]}).splitlines())
        if depth == 0:
            yield ""


def _tables(model: type[Section], prefix: str, title: str) -> Iterator[str]:
    rows = [_row(prefix + name, field) for name, field in model.model_fields.items() if not _below(field)]
    if rows:
        yield f"## {title}\n"
        yield "| Key | Value | Default | What it does | A change takes effect |\n|---|---|---|---|---|"
        yield "\n".join(rows) + "\n"
    for name, field in model.model_fields.items():
        below = _below(field)
        if below is not None:
            yield from _tables(below, f"{prefix}{name}.", f"`{prefix}{name}`: {field.description}")


def _below(field: FieldInfo) -> type[Section] | None:
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section) and _is_direct(field):
            return candidate
    return None


def _is_direct(field: FieldInfo) -> bool:
    """Whether the key is a section itself, perhaps an optional one, and no list or map of sections."""
    return isinstance(field.annotation, type) or type(None) in get_args(field.annotation)


def _row(path: str, field: FieldInfo) -> str:
    if field.is_required():
        default = "must be given"
    elif is_optional(field):
        default = "not set"
    else:
        default = f"`{_default(path, field)}`"
    cells = (f"`{path}`", _allowed(field), default, field.description or "", applies(field))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(path: str, field: FieldInfo) -> str:
    name = path.rpartition(".")[2]
    one = _One.model_validate({name: field.get_default(call_default_factory=True)})
    text = to_yaml(document(one)).removeprefix(f"{name}:").strip()
    if not text.startswith("-") and "\n" not in text:
        return text
    items = [line.strip().removeprefix("- ") for line in text.splitlines()]
    return f"[{', '.join(items)}]" if text.startswith("-") else f"{{{', '.join(items)}}}"


class _One(Section):
    """Holds one value, to have it written as a file would."""


def _allowed(field: FieldInfo) -> str:
    parser = _parser(field.metadata)
    if parser:
        return parser
    kind = str(field.annotation)
    inner = [part for argument in get_args(field.annotation) for part in _words(argument)]
    if kind.startswith("tuple"):
        return f"a list of: {inner[0]}"
    if kind.startswith("dict"):
        return f"a mapping of names to: {inner[-1]}"
    return inner[0]


def _words(annotation: object) -> Iterator[str]:
    """What each typed part of an annotation accepts."""
    parser = _parser(getattr(annotation, "__metadata__", ()))
    if parser:
        yield parser
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield ", ".join(f"`{name}`" for name in annotation.model_fields)
    else:
        for argument in get_args(annotation):
            yield from _words(argument)


def _parser(metadata: object) -> str:
    for item in metadata if isinstance(metadata, (list, tuple)) else ():
        if isinstance(item, PlainValidator) and isinstance(item.func, Parser):
            return item.func.allowed
    return ""


if __name__ == "__main__":
    write_both(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
