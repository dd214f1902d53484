"""Every driver operation in the log and in the metrics, written once."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from wings.archives.formats import ArchiveFormat
from wings.backups.protocol import (
    BackupDriver,
    BackupRef,
    BackupSource,
    BackupTree,
    ByteRange,
    CheckReport,
    CreateOptions,
    Depth,
    Download,
    Job,
    RestoreSummary,
    RestoreTarget,
    StoredBackup,
    SweepReport,
    Traits,
    VerifyReport,
)
from wings.errors import WingsError


class LoggedDriver:
    """A driver that says what it did, to what, for how long, and how it ended."""

    def __init__(self, driver: BackupDriver) -> None:
        self._driver = driver
        self._log = structlog.stdlib.get_logger("wings.backups").bind(adapter=driver.traits.adapter)

    @property
    def traits(self) -> Traits:
        """Those of the driver inside."""
        return self._driver.traits

    @asynccontextmanager
    async def _told(self, action: str, ref: BackupRef) -> AsyncIterator[None]:
        log = self._log.bind(backup=str(ref.uuid), server=str(ref.server) if ref.server else None)
        log.info(f"{action} started")
        begun = time.monotonic()
        try:
            yield
        except WingsError as error:
            log.warning(f"{action} failed", code=error.code, error=str(error), seconds=_since(begun))
            raise
        log.info(f"{action} done", seconds=_since(begun))

    async def check(self) -> CheckReport:
        """Passed through: asked by a person, who sees the answer."""
        return await self._driver.check()

    async def create(self, source: BackupSource, ref: BackupRef, options: CreateOptions, job: Job) -> StoredBackup:
        """Told with size and warnings."""
        async with self._told("create", ref):
            stored = await self._driver.create(source, ref, options, job)
        for warning in stored.warnings:
            self._log.warning("backup is whole, but", backup=str(ref.uuid), warning=warning)
        return stored

    async def locate(self, ref: BackupRef) -> StoredBackup | None:
        """Passed through: too frequent to be news."""
        return await self._driver.locate(ref)

    async def list(self) -> Sequence[StoredBackup]:
        """Passed through."""
        return await self._driver.list()

    async def restore(self, stored: StoredBackup, target: RestoreTarget, job: Job) -> RestoreSummary:
        """Told."""
        async with self._told("restore", stored.ref):
            return await self._driver.restore(stored, target, job)

    async def delete(self, ref: BackupRef) -> bool:
        """Told."""
        async with self._told("delete", ref):
            return await self._driver.delete(ref)

    async def open_tree(self, stored: StoredBackup) -> BackupTree:
        """Passed through."""
        return await self._driver.open_tree(stored)

    async def download(self, stored: StoredBackup, format: ArchiveFormat | None, range: ByteRange | None) -> Download:
        """Passed through: the access log has it."""
        return await self._driver.download(stored, format, range)

    async def verify(self, stored: StoredBackup, depth: Depth, job: Job) -> VerifyReport:
        """Told, every problem on a line of its own."""
        async with self._told(f"{depth} verification", stored.ref):
            report = await self._driver.verify(stored, depth, job)
        for problem in report.problems:
            self._log.error("backup is damaged", backup=str(stored.ref.uuid), problem=problem)
        return report

    async def sweep(self) -> SweepReport:
        """Told when there was something."""
        report = await self._driver.sweep()
        for path in report.removed:
            self._log.info("removed what an interrupted run left", path=path)
        for problem in report.problems:
            self._log.warning("could not sweep", problem=problem)
        return report


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)
