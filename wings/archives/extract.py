"""Extracting an archive through a ``Target``: hardened, bounded, with parallel writers behind one reader.

The archive may be made to attack (P8). Names are judged here, nothing is ever followed by the target, what
cannot be restored safely is refused and counted, and damage or a full disk ends everything with an error.
"""

from dataclasses import dataclass
from functools import partial

from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.extract_writers import Writers, is_own_error, reason
from wings.archives.names import HostileName, is_odd, judge, judge_target
from wings.archives.read import ArchiveReader
from wings.archives.refusals import Refusal, Refusals
from wings.archives.report import Example
from wings.archives.target import Target
from wings.archives.work import Work
from wings.errors import Damaged, shown

SMALL = 1 << 20  # bytes; larger files are streamed
_STREAM_READ = 1 << 20
_MOST_PATHS = 1 << 15  # remembered between two times at which the writers are idle


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to at most; more is ``Damaged``, before the file that goes beyond is written.

    There is no limit on the ratio of packed to unpacked bytes: an honest sparse world packs a thousandfold.
    The caller knows from the catalogue, from ``verify_full`` or from ``measure`` what must come out, and has
    compared that with the room there is; ``content_bytes`` holds the archive to it. ``None`` is no limit.
    """

    content_bytes: int | None = None
    entries: int | None = None


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was written. ``files`` counts hard links too; ``bytes`` those of all files.

    ``refused`` is the number of entries kept out or impossible to write; ``warnings`` says in a line for each
    kind which they were, ``refusals`` has more examples.
    """

    files: int
    directories: int
    symlinks: int
    bytes: int
    refused: int
    warnings: tuple[str, ...]
    refusals: Refusals


def extract(reader: ArchiveReader, target: Target, *, work: Work, writers: int, limits: Limits) -> Extracted:
    """Write every entry of ``reader`` through ``target`` and finish it.

    Small files are written by ``writers`` threads at once; what depends on something else waits for it, and of
    several entries for one path the last one wins. Raises ``Damaged`` as the reader does and when limits are
    passed, ``OSError`` and ``NoSpace`` of the target, ``Cancelled``; then ``target.finish`` was not called, and no
    thread writes any more. If not a single entry could be written, the first reason is raised.
    """
    extraction = _Extraction(reader, target, work, writers, limits)
    try:
        for item in reader:
            extraction.take(item)
        extraction.settle()
    finally:
        extraction.close()
    target.finish()
    return extraction.result()


class _InFlight:
    """Paths handed to the writers since these were idle: what must not be touched before they are again."""

    def __init__(self) -> None:
        self._files: set[bytes] = set()
        self._above: set[bytes] = set()  # directories that hold such paths
        self._parent: bytes | None = None  # of the last path; what stands above it is known

    def add(self, path: bytes) -> None:
        parent = path.rpartition(b"/")[0]
        if parent != self._parent:
            self._parent = parent
            while parent and parent not in self._above:
                self._above.add(parent)
                parent = parent.rpartition(b"/")[0]
        self._files.add(path)

    def touches(self, path: bytes, *, directory: bool = False) -> bool:
        """Whether writing ``path`` now could collide: same path, one above it, or one below it."""
        if path in self._files or (not directory and path in self._above):
            return True
        parent = path.rpartition(b"/")[0]
        if parent == self._parent:
            return False
        while parent:
            if parent in self._files:
                return True
            parent = parent.rpartition(b"/")[0]
        return False

    @property
    def full(self) -> bool:
        return len(self._files) >= _MOST_PATHS

    def clear(self) -> None:
        self._files.clear()
        self._above.clear()
        self._parent = None


class _Extraction:
    def __init__(self, reader: ArchiveReader, target: Target, work: Work, writers: int, limits: Limits) -> None:
        self._reader = reader
        self._target = target
        self._work = work
        self._limits = limits
        self._refusals = Refusals()
        self._failures: list[tuple[Example, BaseException]] = []
        self._in_flight = _InFlight()
        self._entries = self._bytes = 0
        self._directories = self._symlinks = self._hard_links = self._renamed = 0
        self._writers = Writers(target, writers, work)
        self._files = self._written = 0

    def take(self, item: Item) -> None:
        self._work.check()
        entry = item.entry
        self._entries += 1
        if self._limits.entries is not None and self._entries > self._limits.entries:
            raise Damaged(f"the archive has more than the {self._limits.entries} entries that are allowed")
        try:
            path = judge(entry.path)
        except HostileName as error:
            self._refusals.note(Refusal.NAME, entry.path, str(error))
            return
        if not path:
            if entry.kind is not EntryKind.DIRECTORY:
                self._refusals.note(Refusal.NAME, entry.path, "no name")
            return  # the root itself is there already and not ours to change
        if self._target.denied(path):
            self._refusals.note(Refusal.DENIED, path)
            return
        if path is not entry.path:
            self._renamed += is_odd(entry.path, path)
            entry.path = path
        self._write(item)

    def settle(self) -> None:
        self._writers.settle()
        self._in_flight.clear()

    def close(self) -> None:
        done = self._writers.close()
        self._files, self._written = done.files, done.bytes
        self._failures += done.failures

    def result(self) -> Extracted:
        self._refusals.take_over(self._reader.refusals)
        for example, _ in self._failures:
            self._refusals.note(Refusal.BLOCKED, example.path, example.reason)
        files = self._files + self._hard_links
        if self._failures and not files + self._directories + self._symlinks:
            raise self._failures[0][1]
        warnings = list(self._refusals.sentences())
        if self._renamed:
            warnings.append(f"{self._renamed} names were absolute or odd and have been made relative")
        return Extracted(
            files,
            self._directories,
            self._symlinks,
            self._written,
            self._refusals.total,
            tuple(warnings),
            self._refusals,
        )

    def _write(self, item: Item) -> None:
        entry = item.entry
        if entry.kind is EntryKind.FILE:
            self._file(item)
            return
        directory = entry.kind is EntryKind.DIRECTORY
        if self._in_flight.touches(entry.path, directory=directory):
            self.settle()
        if directory:
            act = partial(self._target.directory, entry.path, entry.mode, entry.mtime_ns)
            self._directories += self._try(entry, act)
        elif entry.kind is EntryKind.SYMLINK:
            self._symlink(entry)
        else:
            self._hard_link(entry)

    def _symlink(self, entry: Entry) -> None:
        try:
            text = judge_target(entry.target)
        except HostileName as error:
            self._refusals.note(Refusal.LINK, entry.path, str(error))
            return
        self._symlinks += self._try(entry, partial(self._target.symlink, entry.path, text, entry.mtime_ns))
        self._work.advance(files=1)

    def _hard_link(self, entry: Entry) -> None:
        try:
            existing = judge(entry.target)
        except HostileName as error:
            self._refusals.note(Refusal.LINK, entry.path, f"to {shown(entry.target)}: {error}")
            return
        if not existing or self._target.denied(existing):
            self._refusals.note(Refusal.LINK, entry.path, f"to {shown(entry.target)}")
            return
        if self._in_flight.touches(existing):
            self.settle()
        self._hard_links += self._try(entry, partial(self._target.hardlink, entry.path, existing))
        self._work.advance(files=1)

    def _try(self, entry: Entry, act: "partial[None]") -> bool:
        try:
            act()
        except Exception as error:  # judged at once: an entry's own trouble or everybody's
            if not is_own_error(error):
                raise
            self._failures.append((Example(entry.path, reason(error)), error))
            return False
        return True

    def _file(self, item: Item) -> None:
        entry = item.entry
        self._bytes += entry.size
        if self._limits.content_bytes is not None and self._bytes > self._limits.content_bytes:
            raise Damaged(
                f"the archive unpacks to more than the {self._limits.content_bytes} bytes that were announced"
            )
        if self._in_flight.touches(entry.path) or self._in_flight.full:
            self.settle()
        self._in_flight.add(entry.path)
        if entry.size <= SMALL:
            data = _read_whole(item)
            if len(data) != entry.size:
                raise _wrong_size(entry)
            if item.content is not None:
                item.content.close()
            self._writers.small(entry, data)
        else:
            self._stream(item)

    def _stream(self, item: Item) -> None:
        entry, content = item.entry, item.content
        stream = self._writers.stream(entry)
        left = entry.size
        try:
            while content is not None and (chunk := content.read(_STREAM_READ)):
                left -= len(chunk)
                if left < 0:
                    break
                self._work.check()
                if not stream.put(chunk):
                    return  # could not be written; the reader skips the rest
            if left:
                raise _wrong_size(entry)
        except BaseException as error:
            stream.end(error)
            raise
        finally:
            if content is not None:
                content.close()
        stream.end()


def _read_whole(item: Item) -> bytes:
    """All of a small content; no reader gives more than its entry announces."""
    size, content = item.entry.size, item.content
    if content is None or not size:
        return b""
    data = content.read(size)
    if len(data) == size:
        return data
    parts = []
    while data:
        parts.append(data)
        size -= len(data)
        data = content.read(size)
    return b"".join(parts)


def _wrong_size(entry: Entry) -> Damaged:
    return Damaged(f"the content of {shown(entry.path)} has another size than its entry says")
