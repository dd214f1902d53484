"""A configuration file to load, on a machine that has nothing."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from wings.config.document import Document
from wings.config.load import LoadedConfig, load

Load = Callable[..., LoadedConfig]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root of a file system without /etc/timezone, os-release or other daemons."""
    root = tmp_path / "host"
    root.mkdir()
    return root


@pytest.fixture
def loads(tmp_path: Path, host: Path) -> Load:
    """Loads text as a configuration file, in an empty environment unless told otherwise."""

    def load_text(text: str, environ: Mapping[str, str] = MappingProxyType({"TZ": "UTC"})) -> LoadedConfig:
        path = tmp_path / "config.yml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ, host)

    return load_text


def key_paths(data: Document, prefix: str = "") -> Iterator[str]:
    """Dotted paths of all leaves in order; empty containers count as leaves."""
    for name, value in data.items():
        if isinstance(value, dict) and value:
            yield from key_paths(dict(value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
