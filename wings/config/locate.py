"""Which configuration file is meant, and the one that local mode makes for itself (config §1.1)."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from wings.config.change import with_values
from wings.config.document import changes, to_yaml
from wings.config.load import LoadedConfig, load
from wings.config.models import Config
from wings.config.paths import PLACEHOLDER
from wings.config.problems import NoConfiguration
from wings.config.quantities import Secret
from wings.config.write import create
from wings.errors import ConfigurationError, InvalidInput, shown

DEFAULT_PATH = Path("/etc/calagopus-wings/config.yml")
SEARCHED = (
    DEFAULT_PATH,
    Path("/etc/pterodactyl/config.yml"),
    Path("/etc/pelican/config.yml"),
    Path("config.yml"),
)

_HEADER = """\
# Local mode: no panel, everything below this directory. Only what differs from the defaults stands here;
# docs/configuration.md lists all keys.
"""
_SOCKET = "wings.sock"


def open_config(config: Path | None, root: Path | None, environ: Mapping[str, str]) -> LoadedConfig:
    """The configuration that ``--config`` and ``--root`` mean: at most one of them, or a file found by itself.

    Raises ``NoConfiguration``, whose text says how to get one, and whatever ``load`` and ``local_config`` do.
    """
    if config is not None and root is not None:
        raise InvalidInput("--config and --root exclude each other: --root DIR uses DIR/config.yml")
    if root is not None:
        return local_config(root, environ)
    return load(config or find_config(), environ)


def find_config(host: Path = Path("/")) -> Path:
    """The first of the usual files that exists, relative ones below the current directory.

    ``host`` is the root of the file system for the absolute ones. Raises ``NoConfiguration``.
    """
    for path in SEARCHED:
        candidate = host / path.relative_to("/") if path.is_absolute() else path
        try:
            candidate.stat()
        except FileNotFoundError:
            continue
        except OSError:
            pass  # it may be there: reading it will say why it cannot be used
        return candidate
    looked = ", ".join(f"./{path}" if not path.is_absolute() else str(path) for path in SEARCHED)
    raise NoConfiguration(
        f"there is no configuration file (looked for {looked}).\n"
        "To make this machine a node of a panel:  wings configure  (the panel shows the whole command)\n"
        "To try it here without a panel:          wings --root DIR  (keeps everything below DIR)"
    )


def local_config(root: Path, environ: Mapping[str, str], *, make: bool = True) -> LoadedConfig:
    """The configuration of local mode below ``root``; made on first use, with a token of its own.

    Needs no rights but to write there. The directory and the file are for their owner only (0700, 0600).
    With ``make=False`` a missing file is ``NoConfiguration``. A directory that was moved since works from
    where it is now.
    """
    root = Path(os.path.abspath(root))
    path = root / "config.yml"
    if not os.path.exists(path):
        if not make:
            raise NoConfiguration(
                f"there is nothing at {shown(root)} yet. To start a daemon there:  wings --root {shown(root)}"
            )
        _make(path)
    # The file belongs to one operator's trial, not to a container image: no user comes from there.
    loaded = load(path, {name: value for name, value in environ.items() if name != "OCI_CONTAINER"})
    return _at(root, loaded)


def _make(path: Path) -> None:
    root = path.parent
    config = with_values(
        Config(),
        {
            "uuid": uuid4(),
            "token": Secret(secrets.token_urlsafe(48)),
            "api.host": str(root / _SOCKET),
            "system.root_directory": str(root),
            "system.log_directory": f"{PLACEHOLDER}/logs",
            "system.tmp_directory": f"{PLACEHOLDER}/tmp",  # noqa: S108 - below the root, not the shared one
            "system.sftp.enabled": False,
        },
    )
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        create(path, _HEADER + to_yaml(changes(config)))
    except OSError as error:
        raise ConfigurationError(f"{shown(path)} cannot be made: {error.strerror}") from error


def _at(root: Path, loaded: LoadedConfig) -> LoadedConfig:
    config = loaded.config
    old = config.system.root_directory
    if old == str(root):
        return loaded
    values: dict[str, object] = {"system.root_directory": str(root)}
    if config.api.host == str(Path(old) / _SOCKET):
        values["api.host"] = str(root / _SOCKET)
    warning = f"{shown(loaded.path)}: system.root_directory is {shown(old)}; using {shown(root)}, where the file is"
    return replace(loaded, config=with_values(config, values), warnings=(*loaded.warnings, warning))
