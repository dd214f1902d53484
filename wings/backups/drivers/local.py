"""The ``wings`` adapter (panel: "local"): one archive file per backup in the backup directory.

Layout and rules: backup-drivers §18.1, with its weaknesses W-10 to W-12 mended: an archive gets its name
when it is whole and durable, its SHA-256 is computed while it is written, and both are checked before a
restore changes anything.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wings.archives.extract import Limits, extract
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.index import IndexWriter
from wings.archives.read import open_archive
from wings.archives.trees import build_index, index_fits, open_tree
from wings.archives.verify import Contents, verify_full, verify_structure
from wings.archives.work import Unwatched, Work
from wings.archives.write import Written, write_archive
from wings.backups.drivers.local_layout import Found, LocalLayout
from wings.backups.durable import PartialFile, sync_directory
from wings.backups.protocol import (
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
from wings.backups.records import Record, read_record, write_record
from wings.backups.streams import FileRange, file_digest
from wings.backups.wrappers.limits import Bucket, LimitedReader, LimitedSink
from wings.errors import Conflict, Damaged, NoSpace, NotFound, Unavailable, WingsError, shown
from wings.host.threads import Pool, Pools

ADAPTER = "wings"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What the operator chose; threads are at least 1, ``reserve`` is bytes kept free on the disk."""

    format: ArchiveFormat
    level: CompressionLevel
    create_threads: int
    restore_threads: int
    reserve: int


class LocalDriver:
    """Archives on the node's own disk."""

    def __init__(
        self, layout: LocalLayout, settings: LocalSettings, pools: Pools, *, write_limit: Bucket, read_limit: Bucket
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._pools = pools
        self._write_limit = write_limit
        self._read_limit = read_limit

    @property
    def traits(self) -> Traits:
        """The stored archive is what a download gives."""
        return Traits(ADAPTER, streaming=False)

    async def check(self) -> CheckReport:
        """Look at the directory, its identity, permission to write, and the free space."""
        return await self._pools.run(Pool.FILES, self._check)

    async def create(self, source: BackupSource, ref: BackupRef, options: CreateOptions, job: Job) -> StoredBackup:
        """Write one archive; see ``BackupDriver.create``."""
        format = options.format or self._settings.format
        return await self._pools.run(Pool.ARCHIVE, self._create, source, ref, format, job)

    async def locate(self, ref: BackupRef) -> StoredBackup | None:
        """Look under every extension."""
        return await self._pools.run(Pool.FILES, self._locate, ref)

    async def list(self) -> Sequence[StoredBackup]:
        """Every archive in the directory, of whichever daemon."""
        return await self._pools.run(Pool.FILES, self._list)

    async def restore(self, stored: StoredBackup, target: RestoreTarget, job: Job) -> RestoreSummary:
        """Check the archive byte by byte, then extract it; see ``BackupDriver.restore``."""
        return await self._pools.run(Pool.ARCHIVE, self._restore, stored, target, job)

    async def delete(self, ref: BackupRef) -> bool:
        """Remove the archive, then what is remembered about it."""
        return await self._pools.run(Pool.FILES, self._delete, ref)

    async def open_tree(self, stored: StoredBackup) -> BackupTree:
        """Open the archive for browsing; a tar without a fitting index is read through once to make one."""
        return await self._pools.run(Pool.BROWSE, self._open_tree, stored)

    async def download(self, stored: StoredBackup, format: ArchiveFormat | None, range: ByteRange | None) -> Download:
        """The stored file, whatever ``format`` says (backup-drivers §18.1), with byte ranges."""
        found = await self._pools.run(Pool.FILES, self._must_find, stored)
        body = await self._pools.run(Pool.FILES, FileRange.open, found.path, range)
        return Download(
            name=found.path.name,
            mime=found.format.mime,
            size=body.size,
            stream=body.stream(self._pools, Pool.BROWSE),
            first=body.first,
            last=body.last,
        )

    async def verify(self, stored: StoredBackup, depth: Depth, job: Job) -> VerifyReport:
        """Quick: there, size, structure. Full: checksum, and every byte decoded."""
        return await self._pools.run(Pool.ARCHIVE, self._verify, stored, depth, job)

    async def sweep(self) -> SweepReport:
        """Remove partial archives, and memories of archives that are gone."""
        return await self._pools.run(Pool.FILES, self._sweep)

    # Everything below runs on worker threads.

    def _check(self) -> CheckReport:
        items: list[tuple[str, bool, str]] = []
        directory = self._layout.directory
        try:
            self._layout.prepare()
            items.append(("directory", True, shown(directory)))
        except WingsError as error:
            return CheckReport(ADAPTER, (("directory", False, str(error)),))
        probe = self._layout.partial / "check"
        try:
            descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, b"check\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
                probe.unlink()
            items.append(("writable", True, "a file was written, synced and removed"))
        except OSError as error:
            items.append(("writable", False, f"cannot write there: {error.strerror}"))
        facts = os.statvfs(directory)
        free = facts.f_bavail * facts.f_frsize
        items.append(
            (
                "free space",
                free > self._settings.reserve,
                f"{free >> 20} MiB free, {self._settings.reserve >> 20} MiB of them are kept free",
            )
        )
        return CheckReport(ADAPTER, tuple(items))

    def _create(self, source: BackupSource, ref: BackupRef, format: ArchiveFormat, job: Job) -> StoredBackup:
        self._layout.prepare()
        if (existing := self._layout.find(ref.uuid)) is not None:
            raise Conflict(f"backup {ref.uuid} already exists as {shown(existing.path)}; it is left as it is")
        job.stage("archiving")
        job.expect(source.estimate.bytes, source.estimate.files)
        with _told_apart(f"the backup directory {shown(self._layout.directory)}"):
            return self._write(source, ref, format, job)

    def _write(self, source: BackupSource, ref: BackupRef, format: ArchiveFormat, job: Job) -> StoredBackup:
        partial = PartialFile(self._layout.new_partial(ref.uuid, format.extension), reserve=self._settings.reserve)
        index_path = self._layout.new_partial(ref.uuid, "index")
        try:
            with contextlib.ExitStack() as stack:
                index = stack.enter_context(IndexWriter(index_path, format)) if format.is_tar else None
                written = write_archive(
                    source.walk(job),
                    LimitedSink(partial, self._write_limit, job),
                    format=format,
                    level=self._settings.level,
                    threads=self._settings.create_threads,
                    work=job,
                    index=index,
                )
                if index is not None:
                    index.finish(archive_size=written.size, archive_sha256=written.sha256)
            job.check()
            job.stage("finishing")
            return self._publish(partial, index_path, ref, source, format, written)
        finally:
            partial.discard()
            with contextlib.suppress(FileNotFoundError):
                index_path.unlink()

    def _publish(
        self,
        partial: PartialFile,
        index_path: Path,
        ref: BackupRef,
        source: BackupSource,
        format: ArchiveFormat,
        written: Written,
    ) -> StoredBackup:
        if partial.size != written.size or written.size == 0:
            raise Damaged(f"the archive has {partial.size} bytes where {written.size} were written; nothing is kept")
        record = Record(
            uuid=ref.uuid,
            server=source.server,
            created=datetime.now(UTC),
            format=format,
            size=written.size,
            checksum_type="sha256",
            checksum=written.sha256,
            files=written.files,
            content_bytes=written.content_bytes,
            warnings=tuple(source.warnings()),
        )
        final = self._layout.archive(ref.uuid, format)
        # The memories come first: a crash then leaves orphans, which the sweep knows, and never an archive
        # without its checksum. Nobody finds them before the archive has its name.
        write_record(self._layout.record(ref.uuid), record)
        if format.is_tar:
            index_path.replace(self._layout.index(ref.uuid))
        try:
            partial.publish(final)
        except BaseException:
            if not final.exists():
                self._forget(ref)
            raise
        return self._stored(Found(ref.uuid, final, format, None), record)

    def _locate(self, ref: BackupRef) -> StoredBackup | None:
        self._layout.check_reachable()
        found = self._layout.find(ref.uuid)
        return None if found is None else self._stored(found, read_record(self._layout.record(ref.uuid)))

    def _list(self) -> Sequence[StoredBackup]:
        self._layout.check_reachable()
        return [self._stored(found, read_record(self._layout.record(found.uuid))) for found in self._layout.scan()]

    def _stored(self, found: Found, record: Record | None) -> StoredBackup:
        facts = found.path.stat()
        if record is None or record.format != found.format:
            return StoredBackup(
                adapter=ADAPTER,
                ref=BackupRef(found.uuid, found.server),
                created=datetime.fromtimestamp(facts.st_mtime, UTC),
                size=facts.st_size,
                checksum_type="",
                checksum="",
                browsable=True,
                streaming=False,
                format=found.format,
            )
        return StoredBackup(
            adapter=ADAPTER,
            ref=BackupRef(found.uuid, record.server),
            created=record.created,
            size=record.size,
            checksum_type=record.checksum_type,
            checksum=record.checksum,
            browsable=True,
            streaming=False,
            files=record.files,
            content_bytes=record.content_bytes,
            format=found.format,
            warnings=record.warnings,
        )

    def _must_find(self, stored: StoredBackup) -> Found:
        self._layout.check_reachable()
        found = self._layout.find(stored.ref.uuid)
        if found is None:
            raise NotFound(f"the archive of backup {stored.ref.uuid} is gone from {shown(self._layout.directory)}")
        return found

    def _restore(self, stored: StoredBackup, target: RestoreTarget, job: Job) -> RestoreSummary:
        found = self._must_find(stored)
        job.stage("verifying")
        content_bytes, files, limits = self._prove(found, job)
        destination = target.prepare(content_bytes, files)
        job.stage("extracting")
        with (
            _told_apart("the directory of the server"),
            found.path.open("rb") as file,
            open_archive(
                LimitedReader(file, self._read_limit, job),
                found.format,
                threads=self._settings.restore_threads,
                work=job,
            ) as reader,
        ):
            job.expect(found.path.stat().st_size, files)
            done = extract(reader, destination, work=job, writers=self._settings.restore_threads, limits=limits)
        return RestoreSummary(
            files=done.files,
            directories=done.directories,
            symlinks=done.symlinks,
            bytes=done.bytes,
            refused=done.refused,
            warnings=done.warnings,
        )

    def _prove(self, found: Found, work: Work) -> tuple[int, int, Limits]:
        """Bytes and files that will come out, after proof that they can; raises ``Damaged`` (W-11, W-12, W-13).

        What we wrote ourselves needs no limit: its checksum says that it is what it was, and a file that was
        stored twice because it changed while it was read counts once in the record.
        """
        record = read_record(self._layout.record(found.uuid))
        if record is not None and record.format == found.format:
            if problem := self._compare(found, record, work):
                raise Damaged(f"{problem}; nothing was changed, restore another backup")
            return record.content_bytes, record.files, Limits()
        contents = self._decode(found, work)
        return contents.content_bytes, contents.files, Limits(contents.content_bytes, contents.entries)

    def _compare(self, found: Found, record: Record, work: Work) -> str | None:
        """What is wrong with the archive by its size and checksum, in words."""
        size = found.path.stat().st_size
        if size != record.size:
            return f"{shown(found.path)} has {size} bytes, it was stored with {record.size}"
        digest = file_digest(found.path, record.checksum_type, work)
        if digest != record.checksum:
            return f"{shown(found.path)} has another {record.checksum_type} than when it was stored: it was altered"
        return None

    def _decode(self, found: Found, work: Work) -> Contents:
        with found.path.open("rb") as file:
            return verify_full(file, found.format, work=work, threads=self._settings.restore_threads)

    def _verify(self, stored: StoredBackup, depth: Depth, job: Job) -> VerifyReport:
        self._layout.check_reachable()
        found = self._layout.find(stored.ref.uuid)
        if found is None:
            return VerifyReport(depth, 0, ("exists",), (f"the archive of backup {stored.ref.uuid} is gone",))
        size = found.path.stat().st_size
        checked = ["exists", "size", "structure"]
        problems: list[str] = []
        record = read_record(self._layout.record(found.uuid))
        if record is None:
            checked.remove("size")
        elif record.size != size:
            problems.append(f"{shown(found.path)} has {size} bytes, it was stored with {record.size}")
        try:
            with found.path.open("rb") as file:
                verify_structure(file, found.format)
            if depth is Depth.FULL and not problems:
                for what, problem in self._every_byte(found, record, job):
                    checked.append(what)
                    if problem is not None:
                        problems.append(problem)
        except Damaged as error:
            problems.append(str(error))
        return VerifyReport(depth, size if depth is Depth.FULL else 0, tuple(checked), tuple(problems))

    def _every_byte(self, found: Found, record: Record | None, job: Job) -> Iterator[tuple[str, str | None]]:
        """What is checked, each with what is wrong about it; ends at the first problem."""
        job.expect(found.path.stat().st_size * (2 if record else 1))
        if record is not None:
            job.stage("checksum")
            problem = self._compare(found, record, job)
            yield record.checksum_type, problem
            if problem is not None:
                return
        job.stage("decoding")
        self._decode(found, job)
        yield "every entry decoded", None

    def _delete(self, ref: BackupRef) -> bool:
        self._layout.check_reachable()
        removed = False
        while (found := self._layout.find(ref.uuid)) is not None:
            found.path.unlink()
            sync_directory(found.path.parent)
            removed = True
        self._forget(ref)
        return removed

    def _forget(self, ref: BackupRef) -> None:
        for path in (self._layout.record(ref.uuid), self._layout.index(ref.uuid)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _open_tree(self, stored: StoredBackup) -> BackupTree:
        found = self._must_find(stored)
        index = self._layout.index(found.uuid)
        if found.format.is_tar and not index_fits(index, found.path):
            fresh = self._layout.new_partial(found.uuid, "index")
            try:
                build_index(found.path, found.format, fresh, Unwatched())
                fresh.replace(index)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    fresh.unlink()
        return open_tree(found.path, found.format, index if found.format.is_tar else None)

    def _sweep(self) -> SweepReport:
        self._layout.prepare()
        removed, problems = [], []
        for path in [*self._layout.leftovers(), *self._layout.orphans()]:
            try:
                path.unlink()
                removed.append(shown(path))
            except OSError as error:
                problems.append(f"{shown(path)} is left over and cannot be removed: {error.strerror}")
        return SweepReport(tuple(removed), tuple(problems))


@contextlib.contextmanager
def _told_apart(where: str) -> Iterator[None]:
    """Give failures of the operating system, which know only a number, a kind and words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"the disk of {where} is full; free some space and try again") from error
        raise Unavailable(f"{where} failed: {error.strerror or error}; look at the disk and its permissions") from error
