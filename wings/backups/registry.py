"""Which storages there are: the one place a newcomer reads, and where a ninth is added.

A driver of ours is one line in ``BUILT_IN``. Somebody else's comes as a package with an entry point in
the group ``wings.backup_drivers``: its name is the adapter's name, its object a ``DriverFactory``.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from wings.backups.drivers.local import LocalDriver, LocalSettings
from wings.backups.drivers.local_layout import LocalLayout
from wings.backups.protocol import BackupDriver
from wings.backups.wrappers.limits import Bucket
from wings.config.models import Config
from wings.errors import ConfigurationError, NotFound
from wings.host.threads import Pools

ENTRY_POINTS = "wings.backup_drivers"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every driver may need to be built. ``state`` is a directory for what it has to remember."""

    config: Config
    backups: Path
    state: Path
    pools: Pools
    write_limit: Bucket
    read_limit: Bucket


DriverFactory = Callable[[Surroundings], BackupDriver]


def local(around: Surroundings) -> BackupDriver:
    """``wings``: archives on the node's own disk."""
    backups = around.config.system.backups
    return LocalDriver(
        LocalLayout(around.backups, around.state / "local-storage-id"),
        LocalSettings(
            format=backups.wings.archive_format,
            level=backups.compression_level,
            create_threads=_useful(backups.wings.create_threads),
            restore_threads=_useful(backups.wings.restore_threads),
            reserve=around.config.wings.backups.reserve_space.bytes,
        ),
        around.pools,
        write_limit=around.write_limit,
        read_limit=around.read_limit,
    )


def _useful(threads: int) -> int:
    # The default of 4 is for machines that have as many cores; more threads than cores only wait for one another.
    return max(1, min(threads, len(os.sched_getaffinity(0))))


BUILT_IN: Mapping[str, DriverFactory] = {"wings": local}


class Registry:
    """The drivers of this node, by adapter name, each as the service uses it."""

    def __init__(self, drivers: Sequence[BackupDriver]) -> None:
        self._drivers: dict[str, BackupDriver] = {}
        for driver in drivers:
            name = driver.traits.adapter
            if name in self._drivers:
                raise ConfigurationError(f"two backup drivers call themselves '{name}'; remove one of the packages")
            self._drivers[name] = driver

    def names(self) -> list[str]:
        """Adapter names in the order in which a backup of unknown adapter is looked for."""
        return list(self._drivers)

    def get(self, adapter: str) -> BackupDriver:
        """The driver of this name. Raises ``NotFound`` with those there are."""
        try:
            return self._drivers[adapter]
        except KeyError:
            known = ", ".join(self._drivers)
            raise NotFound(f"there is no backup adapter '{adapter}' on this node; there are: {known}") from None


def build_drivers(around: Surroundings) -> list[BackupDriver]:
    """Make all drivers: ours first, then those of installed packages."""
    factories = dict(BUILT_IN)
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in factories:
            raise ConfigurationError(
                f"the package behind '{point.value}' wants the adapter name '{point.name}' of ours"
            )
        factories[point.name] = point.load()
    return [factory(around) for factory in factories.values()]
