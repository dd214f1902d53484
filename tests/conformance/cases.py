"""How the conformance suite drives a storage: one ``Case`` per driver under test.

A new driver adds a function that builds it in a directory, and a line in ``CASES``. The suite sees
nothing but the protocol.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from tests.trees import Snapshot, differences, storable
from wings.archives.entry import Entry
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.work import Unwatched
from wings.backups.drivers.local import LocalDriver, LocalSettings
from wings.backups.drivers.local_layout import LocalLayout
from wings.backups.protocol import (
    BackupDriver,
    BackupRef,
    BackupTree,
    CreateOptions,
    Estimate,
    RestoreSummary,
    StoredBackup,
)
from wings.backups.source import ServerSource
from wings.errors import Cancelled
from wings.files.restore import ServerRestoreTarget
from wings.host.threads import Pools
from wings.jobs.limits import TokenBucket


class WatchedJob(Unwatched):
    """A job for tests: counts, and cancels itself after so many bytes."""

    def __init__(self, cancel_after: int | None = None) -> None:
        self.bytes = 0
        self.files = 0
        self.stages: list[str] = []
        self.expected = (0, 0)
        self._cancel_after = cancel_after

    def check(self) -> None:
        if self._cancel_after is not None and self.bytes >= self._cancel_after:
            raise Cancelled("cancelled by the test")

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        self.bytes += bytes
        self.files += files

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def expect(self, bytes: int, files: int = 0) -> None:
        self.expected = (bytes, files)


@dataclass(frozen=True)
class Losses:
    """What a format cannot express: names that are no text, times outside of a range, in steps of seconds."""

    names: bool = False
    mtime_range: tuple[int, int] | None = None

    def differences(self, expected: Snapshot, actual: Snapshot) -> list[str]:
        """What differs although the format could have kept it."""
        return differences(
            storable(expected),
            storable(actual),
            mtime_range=self.mtime_range,
            skip=lambda path, facts: self.names and (_is_no_text(path) or _is_no_text(facts.target)),
        )


def _is_no_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return True
    return b"\\x" in name  # the escaped form that stands for such a name


@dataclass
class Case:
    """One driver in its own directory, and what is needed to use it."""

    name: str
    driver: BackupDriver
    reopen: Callable[[], BackupDriver]
    storage: Path
    format: ArchiveFormat | None
    losses: Losses = field(default_factory=Losses)

    async def create(
        self,
        tree: Path,
        *,
        ignore: Sequence[str] = (),
        uuid: UUID | None = None,
        job: WatchedJob | None = None,
        server: UUID | None = None,
    ) -> StoredBackup:
        """Back up ``tree``."""
        ref = BackupRef(uuid or uuid4(), server or uuid4())
        assert ref.server is not None
        source = ServerSource(ref.server, tree, ignore=ignore, estimate=Estimate(), skip_unreadable_files=False)
        try:
            return await self.driver.create(source, ref, CreateOptions(self.format), job or WatchedJob())
        finally:
            await asyncio.to_thread(source.close)

    async def restore(
        self,
        stored: StoredBackup,
        target: Path,
        *,
        truncate: bool = False,
        denylist: Sequence[str] = (),
        disk_limit: int | None = None,
        mode: str = "auto",
        job: WatchedJob | None = None,
    ) -> RestoreSummary:
        """Restore as the service does: commit on success, roll back on failure."""
        where = restore_target(target, truncate=truncate, denylist=denylist, disk_limit=disk_limit, mode=mode)
        try:
            summary = await self.driver.restore(stored, where, job or WatchedJob())
            await asyncio.to_thread(where.commit)
        except BaseException:
            await asyncio.to_thread(where.roll_back)
            raise
        return summary

    @asynccontextmanager
    async def look(self, stored: StoredBackup) -> AsyncIterator["Look"]:
        """The inside of a backup, asked as the service asks: on another thread."""
        look = Look(await self.driver.open_tree(stored))
        try:
            yield look
        finally:
            await asyncio.to_thread(look.tree.close)


@dataclass
class Look:
    """An open tree."""

    tree: BackupTree

    async def list(self, path: bytes) -> "Sequence[Entry]":
        return await asyncio.to_thread(self.tree.list, path)

    async def stat(self, path: bytes) -> Entry:
        return await asyncio.to_thread(self.tree.stat, path)

    async def read(self, path: bytes, offset: int = 0, length: int | None = None) -> bytes:
        """All of the part, read in small pieces."""

        def drain() -> bytes:
            file = self.tree.read(path, offset, length)
            try:
                data = b""
                while chunk := file.read(4096):
                    data += chunk
                return data
            finally:
                file.close()

        return await asyncio.to_thread(drain)


def restore_target(
    target: Path, *, truncate: bool, denylist: Sequence[str] = (), disk_limit: int | None = None, mode: str = "auto"
) -> ServerRestoreTarget:
    """A restore into ``target`` as an operator would have configured it."""
    return ServerRestoreTarget(
        target,
        owner=None,
        denylist=denylist,
        truncate=truncate,
        mode=mode,
        disk_limit=disk_limit,
        used_bytes=lambda: 0,
        reserve=0,
        fsync=False,
    )


def local_driver(place: Path, pools: Pools, format: ArchiveFormat = ArchiveFormat.TAR_GZ) -> LocalDriver:
    """The local driver as the composition root builds it, in ``place``."""
    return LocalDriver(
        LocalLayout(place / "backups", place / "local-storage-id"),
        LocalSettings(
            format=format, level=CompressionLevel.BEST_SPEED, create_threads=2, restore_threads=2, reserve=1 << 20
        ),
        pools,
        write_limit=TokenBucket(None),
        read_limit=TokenBucket(None),
    )


def _local(format: ArchiveFormat) -> Callable[[Path, Pools], Case]:
    def build(place: Path, pools: Pools) -> Case:
        place.mkdir(exist_ok=True)
        return Case(
            f"wings-{format}",
            local_driver(place, pools, format),
            lambda: local_driver(place, pools, format),
            place / "backups",
            format,
            _LOSSES.get(format, Losses()),
        )

    return build


_LOSSES = {
    # Times: signed 32-bit seconds in the extended timestamp (APPNOTE 4.5.3, "UT"); names: UTF-8 in zip, UTF-16 in 7z.
    ArchiveFormat.ZIP: Losses(names=True, mtime_range=(-(2**31), 2**31 - 1)),
    ArchiveFormat.SEVEN_ZIP: Losses(names=True),
}

CASES: dict[str, Callable[[Path, Pools], Case]] = {f"wings-{format}": _local(format) for format in ArchiveFormat}
