"""What a storage for backups must do, and the data that goes in and out.

A driver implements ``BackupDriver``; the service (``service.py``) is the only caller. Progress, rate
limits, retries and logging are wrapped around a driver (``wrappers/``), so a driver contains only what
its storage is about. The promises P1 to P10 named here are those of ``docs/internals/guarantees.md``.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from wings.archives.entry import Entry, Source
from wings.archives.formats import ArchiveFormat
from wings.archives.target import Target
from wings.archives.work import Work


@dataclass(frozen=True, slots=True)
class Traits:
    """What distinguishes one storage from another, so that nobody asks for its class.

    ``adapter`` is the name on the wire. ``streaming`` means that a download is produced in the format that
    is asked for; otherwise the stored archive is what you get. ``binaries`` are programs the host must have.
    """

    adapter: str
    streaming: bool
    remote: bool = False
    deduplicates: bool = False
    binaries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupRef:
    """Names one backup. ``server`` is absent for a backup whose server is gone."""

    uuid: UUID
    server: UUID | None = None


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup that is durable under its final name, as told by its storage.

    ``size`` is what the adapter reports as size (backup-drivers §1), in bytes. ``files`` counts entries
    that are not directories, ``content_bytes`` the bytes of all files when unpacked; both are ``None``
    when the storage cannot tell cheaply. ``checksum`` is lower-case hex of ``checksum_type``, or ``""``
    where neither the storage nor our memory of it knows one. ``browsable``: its files can be listed and
    read one by one. (What a panel is told about it follows backup-drivers §1, not this.)
    """

    adapter: str
    ref: BackupRef
    created: datetime
    size: int
    checksum_type: str
    checksum: str
    browsable: bool
    streaming: bool
    files: int | None = None
    content_bytes: int | None = None
    format: ArchiveFormat | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """Choices for one create; ``format`` only where the storage keeps archives, ``None`` as configured."""

    format: ArchiveFormat | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Roughly what a create will read, in bytes and entries, from the last known usage; 0 when unknown."""

    bytes: int = 0
    files: int = 0


class BackupSource(Protocol):
    """A server's files for one create. A driver reads the server through this and nothing else."""

    @property
    def server(self) -> UUID:
        """Whose files these are."""

    @property
    def estimate(self) -> Estimate:
        """What to expect; only for progress and for the check of free space."""

    def walk(self, work: Work) -> Source:
        """Start one walk of the tree, ignore rules applied. Synchronous: for a worker thread.

        Its iterator raises at the end of a walk that must not become a backup (P1).
        """

    def warnings(self) -> Sequence[str]:
        """What the last walk met and the user should know, one line each."""


class RestoreTarget(Protocol):
    """A server's directory for one restore. Synchronous: for a worker thread.

    A driver first proves that the backup can be read (P3) and only then calls ``prepare``; the service
    commits when the driver returns and rolls back when it raises. Nothing has changed before ``prepare``.
    """

    def prepare(self, content_bytes: int | None, files: int | None) -> Target:
        """Check the disk limit and the free space, clear the way, and return where to write.

        ``content_bytes`` is what the files take when unpacked. Raises ``NoSpace`` with nothing changed.
        """


class Job(Work, Protocol):
    """What a driver sees of the job it runs in: ``Work`` plus stages and totals."""

    def stage(self, name: str) -> None:
        """Say what is being done now, one word: ``archiving``, ``verifying``, ``extracting``."""

    def expect(self, bytes: int, files: int = 0) -> None:
        """Set the totals that progress is measured against. They may grow."""


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What a restore wrote. ``refused`` are entries kept out: hostile names, links out, denylisted files."""

    files: int
    directories: int
    symlinks: int
    bytes: int
    refused: int = 0
    warnings: tuple[str, ...] = ()


class Depth(StrEnum):
    """How deep to verify: ``quick`` = exists, size, structure; ``full`` = every byte."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked and what was wrong; ``ok`` exactly when there are no problems."""

    depth: Depth
    checked_bytes: int
    checked: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing wrong was found by what was checked."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Whether the storage can work right now, item by item, each ``(what, fine, detail)``."""

    adapter: str
    items: tuple[tuple[str, bool, str], ...]

    @property
    def ok(self) -> bool:
        """All items are fine."""
        return all(fine for _, fine, _ in self.items)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """Leftovers of interrupted runs that were provably ours and are gone now."""

    removed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class FileStream(Protocol):
    """Bytes leaving the daemon. Reading raises when the rest cannot be delivered; it never just ends early."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks in order."""

    async def aclose(self) -> None:
        """Stop early and release everything. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class Download:
    """A body for the outside. ``size`` is the length of the whole (``None``: unknown until the end).

    ``first`` and ``last`` are the byte range actually delivered; both ``None`` for the whole.
    """

    name: str
    mime: str
    size: int | None
    stream: FileStream
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range asked for: ``first`` … ``last`` inclusive, or the last ``suffix`` bytes."""

    first: int = 0
    last: int | None = None
    suffix: int | None = None


class BackupTree(Protocol):
    """The inside of a backup, read lazily. Synchronous: the service calls it on a worker thread.

    Paths are relative raw bytes, ``b""`` is the root. Raises ``NotFound`` for a path that is not in the
    backup, ``InvalidInput`` for listing a file or opening a directory.
    """

    def list(self, path: bytes) -> Sequence[Entry]:
        """Entries directly inside, their ``path`` relative to the backup's root, directories first, sorted by name."""

    def stat(self, path: bytes) -> Entry:
        """The entry itself."""

    def read(self, path: bytes, offset: int = 0, length: int | None = None) -> "TreeFile":
        """Open a file at ``offset``; at most ``length`` bytes will come."""

    def close(self) -> None:
        """Release files and memory. The tree is not used afterwards."""


class TreeFile(Protocol):
    """One file of a backup, opened. Raises ``Damaged`` when the stored bytes do not check out."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` exactly at the end."""

    def close(self) -> None:
        """Release. Safe to call twice."""


class BackupDriver(Protocol):
    """One storage. Every method may raise ``Unavailable`` when the storage cannot be reached (P2)."""

    @property
    def traits(self) -> Traits:
        """Fixed facts about this storage."""

    async def check(self) -> CheckReport:
        """Can it work right now: programs and versions, paths, credentials, free space. Changes nothing."""

    async def create(self, source: BackupSource, ref: BackupRef, options: CreateOptions, job: Job) -> StoredBackup:
        """Store the source. Returns only when it is durable under its final name (P1).

        Raises ``Conflict`` when the storage already holds this uuid, and leaves that one alone (W-46).
        Removes what this very run made when it fails or is cancelled (P3).
        """

    async def locate(self, ref: BackupRef) -> StoredBackup | None:
        """Find it; ``None`` only on proof that it is not there (P2)."""

    async def list(self) -> Sequence[StoredBackup]:
        """Everything this storage holds for this node, so that a lost catalogue can be built again."""

    async def restore(self, stored: StoredBackup, target: RestoreTarget, job: Job) -> RestoreSummary:
        """Prove that it can be read, then write it through ``target`` (P3). Any decode error is a failure."""

    async def delete(self, ref: BackupRef) -> bool:
        """Remove it; whether there was anything to remove. Absent counts as done, unreachable does not."""

    async def open_tree(self, stored: StoredBackup) -> BackupTree:
        """Open its inside for browsing. Raises ``Unsupported`` where that cannot be done."""

    async def download(self, stored: StoredBackup, format: ArchiveFormat | None, range: ByteRange | None) -> Download:
        """Open it as a stream. An error in the middle raises out of the stream, never ends it cleanly (W-20)."""

    async def verify(self, stored: StoredBackup, depth: Depth, job: Job) -> VerifyReport:
        """Check the stored data. What is wrong goes into the report; only unreachable storage raises."""

    async def sweep(self) -> SweepReport:
        """At start, before any job: remove leftovers of interrupted runs that are provably ours (P5)."""
