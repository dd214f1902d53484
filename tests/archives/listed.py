"""A source whose entries a test writes down, with contents that misbehave on request; and sinks."""

import errno
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator

from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.report import SourceReport
from wings.errors import Cancelled

YEAR_2020 = 1_577_836_800_000_000_000


class Bytes:
    """Content from memory, ``step`` bytes at a time; it ends after ``data`` whatever was announced."""

    def __init__(self, data: bytes, step: int = 1 << 30) -> None:
        self._data = memoryview(data)
        self._step = step
        self.closed = False

    def read(self, size: int, /) -> bytes:
        piece = self._data[: min(size, self._step)]
        self._data = self._data[len(piece) :]
        return bytes(piece)

    def close(self) -> None:
        self.closed = True


class Zeros:
    """Content of any length that takes no memory."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._piece = bytes(1 << 20)

    def read(self, size: int, /) -> bytes:
        piece = self._piece[: min(size, self._left, len(self._piece))]
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        pass


class Broken:
    """Content that cannot be read."""

    def __init__(self) -> None:
        self.closed = False

    def read(self, size: int, /) -> bytes:
        raise OSError(errno.EIO, "the disk is broken")

    def close(self) -> None:
        self.closed = True


def file(path: bytes, data: bytes = b"", *, mode: int = 0o644, mtime_ns: int = YEAR_2020, size: int = -1) -> Item:
    """A file that announces ``size`` bytes, by default as many as it has."""
    announced = len(data) if size < 0 else size
    return Item(Entry(path, EntryKind.FILE, mode, mtime_ns, announced), Bytes(data))


def directory(path: bytes, *, mode: int = 0o755, mtime_ns: int = YEAR_2020) -> Item:
    return Item(Entry(path, EntryKind.DIRECTORY, mode, mtime_ns))


def symlink(path: bytes, target: bytes, *, mtime_ns: int = YEAR_2020) -> Item:
    return Item(Entry(path, EntryKind.SYMLINK, 0o777, mtime_ns, 0, target))


class Listed:
    """A source of these items. ``again`` hands out what ``tries`` has for a path, one after the other."""

    def __init__(self, items: Iterable[Item], tries: dict[bytes, list[Item]] | None = None) -> None:
        self.report = SourceReport()
        self._items = items
        self._tries = tries or {}

    def __iter__(self) -> Iterator[Item]:
        yield from self._items

    def again(self, entry: Entry) -> Item | None:
        left = self._tries.get(entry.path, [])
        return left.pop(0) if left else None


class MemorySink:
    """Keeps what is written; can go back, and says whether anybody did."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self.was_read = False

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self._file.write(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int, /) -> bytes:
        self.was_read = True
        return self._file.read(size)

    @property
    def data(self) -> bytes:
        return self._file.getvalue()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class StreamSink:
    """A sink that cannot go back; calls ``before`` before each write."""

    def __init__(self, before: Callable[[int], None] = lambda size: None) -> None:
        self.size = 0
        self._before = before

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self._before(self.size)
        self.size += len(data)


class Counted:
    """Work that counts, and is cancelled once ``limit`` bytes went through or ``cancel`` was called."""

    def __init__(self, limit: int | None = None) -> None:
        self.bytes = 0
        self.files = 0
        self.cancelled = False
        self._limit = limit

    def check(self) -> None:
        if self.cancelled or (self._limit is not None and self.bytes >= self._limit):
            raise Cancelled("stopped by the test")

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        self.bytes += bytes
        self.files += files
