"""The life of backups: create, find, look into, restore, verify, download, delete.

The only way in for the HTTP API. Everything long is a job; what is remembered is in the catalogue; what
is true is with the storages, and ``start`` brings the two together after a crash (P5).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from wings.archives.entry import Entry
from wings.archives.formats import ArchiveFormat
from wings.backups.browse import TreeCache
from wings.backups.protocol import (
    BackupRef,
    BackupTree,
    ByteRange,
    CheckReport,
    CreateOptions,
    Depth,
    Download,
    Estimate,
    StoredBackup,
    VerifyReport,
)
from wings.backups.registry import Registry
from wings.backups.source import ServerSource
from wings.backups.streams import TreeFileStream, resolve_range
from wings.errors import Cancelled, Conflict, InvalidInput, NotFound, Unavailable, WingsError, shown
from wings.files.restore import ServerRestoreTarget
from wings.host.threads import Pool, Pools
from wings.jobs.context import JobContext
from wings.jobs.manager import JobManager, JobSpec
from wings.jobs.model import JobKind, JobRecord, JsonObject
from wings.servers.directory import Server, ServerDirectory
from wings.store.backups import BackupRow, BackupState, Catalogue
from wings.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class BackupPolicy:
    """The operator's choices that concern every storage. ``reserve`` is bytes kept free for restores."""

    default_adapter: str
    restore_mode: str
    skip_unreadable_files: bool
    reserve: int
    owner: tuple[int, int] | None


class BackupService:
    """Coordinates drivers, jobs and the catalogue. One per daemon."""

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        jobs: JobManager,
        directory: ServerDirectory,
        pools: Pools,
        metrics: Metrics,
        policy: BackupPolicy,
    ) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._jobs = jobs
        self._directory = directory
        self._pools = pools
        self._metrics = metrics
        self._policy = policy
        self._trees = TreeCache()
        self._log = structlog.stdlib.get_logger("wings.backups")

    def adapters(self) -> list[str]:
        """Names of the storages of this node."""
        return self._registry.names()

    async def start(self) -> None:
        """Before the first job: sweep leftovers, and make the catalogue agree with the storages.

        A storage that cannot be reached is left for later and said so; its rows stay as they are (P2).
        """
        for adapter in self._registry.names():
            driver = self._registry.get(adapter)
            try:
                await driver.sweep()
                held = {stored.ref.uuid: stored for stored in await driver.list()}
            except (WingsError, OSError) as error:
                self._log.error("storage cannot be used now", adapter=adapter, error=str(error))
                continue
            await self._reconcile(adapter, held)
        for row in await self._catalogue.list():
            if row.state is BackupState.AVAILABLE and row.server is not None:
                self._metrics.last_success(row.server, row.finished or row.created)

    async def close(self) -> None:
        """Close what browsing holds open."""
        self._trees.close()

    def close_idle_trees(self) -> None:
        """Called from time to time by the composition root."""
        self._trees.close_idle()

    async def create(
        self,
        server: Server,
        *,
        adapter: str | None = None,
        format: ArchiveFormat | None = None,
        ignore: Sequence[str] = (),
        uuid: UUID | None = None,
    ) -> JobRecord:
        """Queue a backup of ``server``. Raises ``Conflict`` for a known uuid, ``NotFound`` for an unknown adapter."""
        driver = self._registry.get(adapter or self._policy.default_adapter)
        ref = BackupRef(uuid or uuid4(), server.uuid)
        await self._check_new(ref.uuid)
        if self._jobs.active_for(ref.uuid):
            raise Conflict(f"backup {ref.uuid} is being worked on already")
        row = BackupRow(
            uuid=ref.uuid,
            server=server.uuid,
            adapter=driver.traits.adapter,
            format=format,
            state=BackupState.CREATING,
            created=datetime.now(UTC),
        )

        async def run(job: JobContext) -> JsonObject:
            await self._check_new(ref.uuid)  # again: others may have waited in the queue before us
            await self._catalogue.add(row)
            source = ServerSource(
                server.uuid,
                server.path,
                ignore=ignore,
                estimate=await self._estimate(server.uuid),
                skip_unreadable_files=self._policy.skip_unreadable_files,
            )
            begun = datetime.now(UTC)
            try:
                stored = await driver.create(source, ref, CreateOptions(format), job)
            except BaseException as error:
                await self._create_failed(row, error)
                raise
            finally:
                await self._pools.run(Pool.FILES, source.close)
            await self._catalogue.update(_row(stored, row))
            self._metrics.backup_created(
                stored.adapter, server.uuid, stored.size, (datetime.now(UTC) - begun).total_seconds()
            )
            return {"uuid": str(ref.uuid)}

        return await self._jobs.submit(JobSpec(JobKind.CREATE, server=server.uuid, backup=ref.uuid), run)

    async def list(self, server: UUID | None = None) -> Sequence[BackupRow]:
        """What the catalogue knows, oldest first; of one server, or of all."""
        return await self._catalogue.list(server)

    async def resolve(self, text: str) -> BackupRow:
        """Find by uuid or by the start of one that only one backup has; asks the storages as a last resort."""
        rows = await self._catalogue.find_prefix(text.lower()) if text else []
        if len(rows) == 1:
            return rows[0]
        if rows:
            names = ", ".join(str(row.uuid) for row in rows[:5])
            raise InvalidInput(f"'{shown(text)}' is ambiguous: {names}; give more of the uuid")
        try:
            uuid = UUID(text)
        except ValueError:
            raise NotFound(f"there is no backup '{shown(text)}'; 'wings backup list' shows those there are") from None
        return await self._search(uuid)

    async def tree(self, uuid: UUID, path: bytes) -> Sequence[Entry]:
        """Entries directly inside ``path`` of a backup, ``b""`` being its root."""
        row, stored = await self._stored(uuid)
        async with self._trees.borrow(row.adapter, uuid, lambda: self._open_tree(stored)) as tree:
            return await self._pools.run(Pool.BROWSE, tree.list, path)

    async def open_file(self, uuid: UUID, path: bytes, range: ByteRange | None) -> Download:
        """One file out of a backup as a stream."""
        row, stored = await self._stored(uuid)
        async with self._trees.borrow(row.adapter, uuid, lambda: self._open_tree(stored)) as tree:
            entry = await self._pools.run(Pool.BROWSE, tree.stat, path)
            start, length = resolve_range(range, entry.size) if entry.size or range else (0, 0)
            file = await self._pools.run(Pool.BROWSE, tree.read, path, start, length)
        return Download(
            name=shown(path.rpartition(b"/")[2]),
            mime="application/octet-stream",
            size=entry.size,
            stream=TreeFileStream(file, length, self._pools, Pool.BROWSE),
            first=None if range is None else start,
            last=None if range is None else start + length - 1,
        )

    async def restore(self, uuid: UUID, server: Server | None, *, truncate: bool) -> JobRecord:
        """Queue a restore into ``server``, or into the one it was taken from."""
        row, stored = await self._stored(uuid)
        if server is None:
            if row.server is None:
                raise InvalidInput(f"it is not known whose backup {uuid} is; say into which server with --server")
            server = await self._directory.get(row.server)
        driver = self._registry.get(row.adapter)
        path = server.path

        async def run(job: JobContext) -> JsonObject:
            target = ServerRestoreTarget(
                path,
                owner=self._policy.owner,
                denylist=(),
                truncate=truncate,
                mode=self._policy.restore_mode,
                disk_limit=None,
                used_bytes=lambda: 0,
                reserve=self._policy.reserve,
                fsync=True,
            )
            try:
                summary = await driver.restore(stored, target, job)
                job.stage("committing")
                await self._pools.run(Pool.ARCHIVE, target.commit)
            except BaseException as error:
                job.stage("rolling back")
                await asyncio.shield(self._pools.run(Pool.ARCHIVE, target.roll_back))
                self._metrics.restore_finished(row.adapter, ok=False)
                if isinstance(error, WingsError) and target.warnings:
                    error.args = ("; ".join([str(error), *target.warnings]),)
                raise
            self._metrics.restore_finished(row.adapter, ok=True)
            return {
                "successful": True,
                "files": summary.files,
                "directories": summary.directories,
                "symlinks": summary.symlinks,
                "bytes": summary.bytes,
                "refused": summary.refused,
                "warnings": [*summary.warnings, *target.warnings],
            }

        return await self._jobs.submit(
            JobSpec(JobKind.RESTORE, server=server.uuid, backup=uuid, server_exclusive=True), run
        )

    async def verify(self, uuid: UUID, depth: Depth) -> JobRecord:
        """Queue a verification. That something is wrong is a result, not a failure of the job."""
        row, stored = await self._stored(uuid)
        driver = self._registry.get(row.adapter)

        async def run(job: JobContext) -> JsonObject:
            report = await driver.verify(stored, depth, job)
            await self._remember_verification(uuid, report)
            return {
                "ok": report.ok,
                "depth": report.depth,
                "checked_bytes": report.checked_bytes,
                "checked": list(report.checked),
                "problems": list(report.problems),
            }

        return await self._jobs.submit(JobSpec(JobKind.VERIFY, server=row.server, backup=uuid), run)

    async def download(self, uuid: UUID, format: ArchiveFormat | None, range: ByteRange | None) -> Download:
        """The backup as one file."""
        row, stored = await self._stored(uuid)
        return await self._registry.get(row.adapter).download(stored, format, range)

    async def delete(self, uuid: UUID) -> JobRecord:
        """Queue its removal. Idempotent: what is gone already counts as deleted."""
        known = await self.resolve(str(uuid))
        driver = self._registry.get(known.adapter)

        async def run(job: JobContext) -> JsonObject:
            job.stage("deleting")
            row = await self._catalogue.get(uuid)  # again: others may have been in the queue before us
            if row is None:
                return {"deleted": False}
            await self._catalogue.update(replace(row, state=BackupState.DELETING))
            self._trees.forget(row.adapter, uuid)
            try:
                removed = await driver.delete(BackupRef(uuid, row.server))
            except BaseException:
                await self._catalogue.update(row)
                raise
            self._trees.forget(row.adapter, uuid)
            await self._catalogue.remove(uuid)
            return {"deleted": removed}

        return await self._jobs.submit(JobSpec(JobKind.DELETE, server=known.server, backup=uuid), run)

    async def check(self, adapter: str | None = None) -> Sequence[CheckReport]:
        """Ask one storage, or all, whether it can work right now."""
        names = [adapter] if adapter is not None else self._registry.names()
        return [await self._registry.get(name).check() for name in names]

    async def _check_new(self, uuid: UUID) -> None:
        if await self._catalogue.get(uuid) is not None:
            raise Conflict(f"backup {uuid} already exists; it is left as it is")

    async def _open_tree(self, stored: StoredBackup) -> BackupTree:
        return await self._registry.get(stored.adapter).open_tree(stored)

    async def _estimate(self, server: UUID) -> Estimate:
        # The last backup of the same server stands in for a second walk of the tree (W-25).
        known = [row for row in await self._catalogue.list(server) if row.content_bytes]
        if not known:
            return Estimate()
        last = max(known, key=lambda row: row.created)
        return Estimate(last.content_bytes or 0, last.files or 0)

    async def _stored(self, uuid: UUID) -> tuple[BackupRow, StoredBackup]:
        """The backup as its storage has it now."""
        row = await self.resolve(str(uuid))
        if row.state is BackupState.CREATING:
            raise Conflict(f"backup {uuid} is still being made; wait for its job")
        if row.state is BackupState.DELETING:
            raise Conflict(f"backup {uuid} is being deleted")
        if row.state is BackupState.FAILED:
            raise NotFound(f"backup {uuid} failed and holds nothing: {row.error or 'reason unknown'}")
        stored = await self._registry.get(row.adapter).locate(BackupRef(uuid, row.server))
        if stored is None:
            await self._catalogue.update(replace(row, state=BackupState.MISSING))
            raise NotFound(
                f"backup {uuid} is in the catalogue, but its storage '{row.adapter}' does not hold it any more; "
                "'wings backup delete' forgets it"
            )
        return row, stored

    async def _search(self, uuid: UUID) -> BackupRow:
        unreachable: list[str] = []
        for adapter in self._registry.names():
            try:
                stored = await self._registry.get(adapter).locate(BackupRef(uuid))
            except Unavailable as error:
                unreachable.append(str(error))
                continue
            if stored is not None:
                row = _row(stored, None)
                await self._catalogue.add(row)
                return row
        if unreachable:
            raise Unavailable(f"whether backup {uuid} exists cannot be said now: {'; '.join(unreachable)}")
        raise NotFound(f"there is no backup {uuid}; 'wings backup list' shows those there are")

    async def _create_failed(self, row: BackupRow, error: BaseException) -> None:
        reason = str(error) if isinstance(error, WingsError) else "the daemon hit an unexpected error; see its log"
        cancelled = isinstance(error, Cancelled | asyncio.CancelledError)
        code = error.code if isinstance(error, WingsError) else Cancelled.code if cancelled else WingsError.code
        await self._catalogue.update(
            replace(row, state=BackupState.FAILED, finished=datetime.now(UTC), error=reason, error_code=code)
        )
        self._metrics.backup_failed(row.adapter, code)

    async def _remember_verification(self, uuid: UUID, report: VerifyReport) -> None:
        row = await self._catalogue.get(uuid)
        if row is not None:
            await self._catalogue.update(replace(row, verified=datetime.now(UTC), verified_ok=report.ok))
        self._metrics.verified(ok=report.ok)

    async def _reconcile(self, adapter: str, held: dict[UUID, StoredBackup]) -> None:
        for row in await self._catalogue.list():
            if row.adapter != adapter:
                continue
            stored = held.pop(row.uuid, None)
            if stored is not None and row.state is not BackupState.AVAILABLE:
                # Made whole, or not yet deleted, when the daemon was killed: what its storage holds is the truth.
                self._log.info("backup is whole after all", backup=str(row.uuid), was=row.state)
                await self._catalogue.update(_row(stored, row))
            elif stored is None and row.state is BackupState.CREATING:
                await self._catalogue.update(
                    replace(
                        row,
                        state=BackupState.FAILED,
                        finished=datetime.now(UTC),
                        error="the daemon was stopped while this backup was made",
                        error_code="interrupted",
                    )
                )
            elif stored is None and row.state is BackupState.DELETING:
                await self._catalogue.remove(row.uuid)  # it was gone already when the daemon was stopped
            elif stored is None and row.state is BackupState.AVAILABLE:
                self._log.error("backup is missing from its storage", backup=str(row.uuid), adapter=adapter)
                await self._catalogue.update(replace(row, state=BackupState.MISSING))
        for stored in held.values():
            self._log.info("found a backup that was not in the catalogue", backup=str(stored.ref.uuid))
            await self._catalogue.add(_row(stored, None))


def _row(stored: StoredBackup, known: BackupRow | None) -> BackupRow:
    return BackupRow(
        uuid=stored.ref.uuid,
        server=stored.ref.server or (known.server if known else None),
        adapter=stored.adapter,
        format=stored.format,
        state=BackupState.AVAILABLE,
        created=stored.created,
        finished=datetime.now(UTC) if known else stored.created,
        size=stored.size,
        files=stored.files,
        content_bytes=stored.content_bytes,
        checksum_type=stored.checksum_type,
        checksum=stored.checksum,
        browsable=stored.browsable,
        streaming=stored.streaming,
        warnings=stored.warnings,
        job=known.job if known else None,
    )
