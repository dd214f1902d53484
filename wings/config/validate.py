"""Whether values make sense together (config §5). Run after every load and before every save."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType

from wings.config.models import Config
from wings.config.paths import ResolvedPaths
from wings.config.problems import InvalidConfiguration, Problem
from wings.config.tree import Place
from wings.config.values import DiskLimiterMode

_DEFAULT_NETWORK = "calagopus_nw"


class Mode(StrEnum):
    """Whom the daemon works for."""

    PANEL = "panel"
    LOCAL = "local"


def mode_of(config: Config) -> Mode:
    """Local exactly when no panel is named."""
    return Mode.PANEL if config.remote else Mode.LOCAL


def validate(
    config: Config,
    mode: Mode,
    environ: Mapping[str, str] = MappingProxyType({}),
    source: str = "configuration",
) -> tuple[str, ...]:
    """Check the configuration for a mode; returns warnings for the log.

    Raises ``InvalidConfiguration`` with all errors, which name ``source`` as their place. Local mode needs
    no panel and may run as any user.
    """
    problems = [Problem(Place(source), key, text) for key, text in _errors(config, mode)]
    if problems:
        raise InvalidConfiguration(problems)
    return tuple(_warnings(config, environ))


def _errors(config: Config, mode: Mode) -> Iterator[tuple[str, str]]:
    if mode is Mode.PANEL:
        user = config.system.user
        if user.uid == 0 or user.gid == 0:
            yield (
                "system.user",
                "refusing to use user with UID or GID of 0 (root), please check your wings config "
                "and change system.username to a non-root user",
            )
        if not config.remote:
            yield "remote", "invalid remote configuration, cannot connect to panel without a remote"
        elif not config.remote.startswith(("http://", "https://")):
            yield (
                "remote",
                "invalid remote configuration, cannot connect to panel without http:// or https:// protocol",
            )
    for directory, path in ResolvedPaths.of(config).all():
        # "." vanishes when a path is normalised and ".." is no name either: neither says where.
        if not any(part not in ("/", "//", "..") for part in path.parts):
            yield f"system.{directory.key}", f"the {directory.name} '{path}' must have at least 1 segment(s)"


def _warnings(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    docker = config.docker
    if config.api.send_offline_server_logs and docker.delete_container_on_stop:
        yield (
            "api.send_offline_server_logs: no logs will be sent for stopped servers, because "
            "docker.delete_container_on_stop removes the containers that hold them"
        )
    if config.system.disk_limiter_mode is DiskLimiterMode.FUSE_QUOTA:
        if not docker.delete_container_on_stop:
            yield (
                "docker.delete_container_on_stop: false is not recommended together with "
                "system.disk_limiter_mode: fuse_quota"
            )
        if environ.get("OCI_CONTAINER"):
            yield (
                "system.disk_limiter_mode: fuse_quota inside a container is fragile: the mounts end with the "
                "container, and every running server loses its files at that moment"
            )
    if docker.network.mode == _DEFAULT_NETWORK != docker.network.name:
        yield (
            f"docker.network.mode: containers would be attached to the network {_DEFAULT_NETWORK}, which does not "
            f"exist; set it to {docker.network.name}, the value of docker.network.name"
        )
