"""Reads the configuration file: everything that is wrong in one report, everything unknown kept."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from wings.config.environment import apply_container_user, apply_overrides, resolve_secrets
from wings.config.legacy import FOREIGN_KEYS, adopt_directories, translate
from wings.config.models import Config
from wings.config.problems import InvalidConfiguration, Problem
from wings.config.section import Section
from wings.config.timezone import detect_timezone
from wings.config.tree import MapNode, Place, Scalar, find, place_of, put
from wings.config.yaml_loader import parse_document
from wings.errors import shown

# pydantic's own complaints in our words; those of our parsers need no translation.
_WORDS = {
    "missing": "is missing",
    "tuple_type": "does not fit, expected a list",
    "dict_type": "does not fit, expected a mapping of names to values",
}


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration, the file it is from, what the operator should hear, and its unknown keys (dotted)."""

    config: Config
    path: Path
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def load(path: Path, environ: Mapping[str, str], host: Path = Path("/")) -> LoadedConfig:
    """Read ``path`` and apply the environment (config §6) and the rules for foreign files (§11).

    Raises ``InvalidConfiguration`` with every problem and its line: unreadable, not YAML, wrong types,
    duplicate keys, references that lead nowhere. ``host`` is the root of the file system that tells the
    time zone and directories of other daemons. Whether the values make sense together is for ``validate``.
    """
    return parse(_read(path), path, environ, host)


def parse(text: str, path: Path, environ: Mapping[str, str], host: Path = Path("/")) -> LoadedConfig:
    """As ``load``, for text that was to be found at ``path``."""
    source = shown(path)
    tree, problems = parse_document(text, source)
    warnings = translate(tree)
    overridden, unmatched = apply_overrides(tree, environ)
    problems += overridden
    warnings += unmatched
    warnings += adopt_directories(tree, path, host)
    apply_container_user(tree, environ, host)
    secrets, unresolved = resolve_secrets(tree, environ)
    problems += unresolved
    if find(tree, "system.timezone") is None:
        place = Place("time zone of this machine")
        put(tree, "system.timezone", Scalar(detect_timezone(environ, host), plain=False, place=place), place)
    try:
        config = Config.model_validate({**tree, **secrets})
    except ValidationError as error:
        problems += _translated(error, tree, source)
        # Not chained: the library's error holds the values, and a traceback would show them.
        raise InvalidConfiguration(problems) from None
    if problems:
        raise InvalidConfiguration(problems)
    unknown = tuple(_unknown(config))
    warnings += [_about(key, tree, source) for key in unknown if not _is_foreign(key)]
    return LoadedConfig(config, path, tuple(warnings), unknown)


def _read(path: Path) -> str:
    place = Place(shown(path))
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidConfiguration([Problem(place, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidConfiguration([Problem(Place(place.source, line), "", "is not UTF-8 text")]) from None


def _translated(error: ValidationError, tree: MapNode, source: str) -> Iterator[Problem]:
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        # "[key]" marks that the key of a map is wrong, not its value.
        path = tuple(part for part in item["loc"] if part != "[key]")
        yield Problem(
            place_of(tree, path, Place(source, 1)),
            ".".join(map(shown, map(str, path))),
            _WORDS.get(item["type"], item["msg"]),
        )


def _unknown(section: Section, prefix: str = "") -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        entries = {name: value}
        if isinstance(value, dict):
            entries = {f"{name}.{key}": entry for key, entry in value.items()}
        elif isinstance(value, tuple):
            entries = {f"{name}.{index}": entry for index, entry in enumerate(value)}
        for path, entry in entries.items():
            if isinstance(entry, Section):
                yield from _unknown(entry, f"{prefix}{path}.")
    for name in section.model_extra or {}:
        yield f"{prefix}{name}"


def _is_foreign(key: str) -> bool:
    return any(key == known or key.startswith(f"{known}.") for known in FOREIGN_KEYS)


def _about(key: str, tree: MapNode, source: str) -> str:
    *sections, name = key.split(".")
    model: type[Section] | None = Config
    for part in sections:
        field = model.model_fields.get(part) if model is not None else None
        below = field.annotation if field is not None else None
        model = below if isinstance(below, type) and issubclass(below, Section) else None
    alike = difflib.get_close_matches(name, model.model_fields, n=1) if model is not None else []
    hint = f"; did you mean {'.'.join([*sections, *alike])}?" if alike else ""
    place = place_of(tree, tuple(key.split(".")), Place(source, 1))
    return f"{place}: {shown(key)} is not a key of this daemon; it is kept and has no effect{hint}"
