"""What the environment changes in a configuration that was read (config §6)."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

from wings.config.models import Config
from wings.config.parsers import Address
from wings.config.problems import Problem
from wings.config.quantities import Secret
from wings.config.section import Section
from wings.config.tree import MapNode, Place, Scalar, find, put
from wings.config.yaml_loader import parse_value

PREFIX = "CALAGOPUS_"
_CONTAINER_ID = "988"  # user and group in the official image
_SECRETS = {"token_id": "WINGS_TOKEN_ID", "token": "WINGS_TOKEN"}
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_FILE = "file://"


def apply_overrides(tree: MapNode, environ: Mapping[str, str]) -> tuple[list[Problem], list[str]]:
    """Put ``CALAGOPUS_<PATH>`` variables into the tree; returns problems and warnings.

    The name is the dotted path in capitals with ``_`` for each dot. Keys that hold text take the value as
    it is, all others as YAML. The result is written back to the file, as the reference does.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    keys = dict(variable_names())
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        path = keys.get(variable.removeprefix(PREFIX))
        if path is None:
            warnings.append(f"the environment variable {variable} names no key of the configuration")
            continue
        place = Place(f"environment variable {variable}")
        if _holds_text(path):
            put(tree, path, Scalar(text, plain=False, place=place), place)
        else:
            value, wrong = parse_value(text, place)
            problems += wrong
            put(tree, path, value, place)
    return problems, warnings


def apply_container_user(tree: MapNode, environ: Mapping[str, str], host: Path = Path("/")) -> None:
    """In a container the user comes from ``WINGS_USERNAME``, ``WINGS_UID``, ``WINGS_GID``, at every start."""
    if not (environ.get("OCI_CONTAINER") or _is_distroless(host)):
        return
    default_name: str = Config().system.username
    for variable, path, default in (
        ("WINGS_USERNAME", "system.username", default_name),
        ("WINGS_UID", "system.user.uid", _CONTAINER_ID),
        ("WINGS_GID", "system.user.gid", _CONTAINER_ID),
    ):
        place = Place(f"environment variable {variable}")
        text = environ.get(variable) or default
        put(tree, path, Scalar(text, plain=path != "system.username", place=place), place)


def resolve_secrets(tree: MapNode, environ: Mapping[str, str]) -> tuple[dict[str, Secret], list[Problem]]:
    """The two tokens with what they refer to: ``WINGS_TOKEN…``, ``file:///path``, ``$NAME``, ``${NAME}``.

    The file keeps the text it has.
    """
    secrets: dict[str, Secret] = {}
    problems: list[Problem] = []
    for key, variable in _SECRETS.items():
        node = find(tree, key)
        if node is not None and not isinstance(node, Scalar):
            continue  # validation says what is wrong with it
        written = node.text if node is not None else ""
        place = tree.places.get(key, Place(f"environment variable {variable}"))
        text = written
        if environ.get(variable):
            text, place = environ[variable], Place(f"environment variable {variable}")
        try:
            secrets[key] = Secret(_resolved(text, environ), written)
        except _Unresolved as error:
            problems.append(Problem(place, key, str(error)))
    return secrets, problems


class _Unresolved(Exception):
    pass


def _resolved(text: str, environ: Mapping[str, str]) -> str:
    if not text.startswith(("$", _FILE)):
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in environ:
            raise _Unresolved(f"refers to the environment variable {name}, which is not set")
        return environ[name]

    text = _REFERENCE.sub(value, text)
    if not text.startswith(_FILE):
        return text
    path = Path(text.removeprefix(_FILE))
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _Unresolved(f"refers to the file {path}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _Unresolved(f"refers to the file {path}, which holds no text") from None


def _is_distroless(host: Path) -> bool:
    try:
        return "distroless" in (host / "etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def variable_names(model: type[Section] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Variable (without ``PREFIX``) and dotted path of every key that is no section itself."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from variable_names(field.annotation, f"{path}.")
        else:
            yield path.upper().replace(".", "_"), path


def _holds_text(path: str) -> bool:
    model: type[Section] = Config
    *sections, last = path.split(".")
    for name in sections:
        below = model.model_fields[name].annotation
        assert isinstance(below, type) and issubclass(below, Section)
        model = below
    kind = model.model_fields[last].annotation
    # An address is written as text, too: "::" alone would be a mapping.
    return kind == Address or (isinstance(kind, type) and issubclass(kind, (str, Secret, UUID)))
