"""The browse index: where each entry of a tar archive lies, so that listing it needs no reading of it.

Layout: ``docs/internals/index-format.md``. The writer takes entries in any order, duplicates included
(the last one wins), and keeps only names of directories in memory, at most ``SPILL_DIRECTORIES`` of them.
"""

import heapq
import os
import struct
import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import ormsgpack
import zstandard

from wings.archives.entry import Entry, EntryKind
from wings.archives.formats import ArchiveFormat
from wings.errors import Damaged, InvalidInput, NotFound, shown

MAGIC = b"WINGSIX\x01"  # the last byte is the version of the layout
CHUNK_ENTRIES = 1024
PAGE_DIRECTORIES = 1024
SPILL_DIRECTORIES = 200_000
CACHED_PARTS = 32
_LENGTH = struct.Struct("<I")
_TRAILER = struct.Struct("<QI8s")  # position of the footer, CRC-32 of these eight bytes, magic
_LARGEST_PART = 1 << 30  # more than any writer makes; a damaged length must not ask for more memory

_KINDS = (EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.SYMLINK, EntryKind.HARDLINK)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_INT64 = 2**63 - 1

_Row = tuple[bytes, int, int, int, int, bytes, int]  # name, kind, mode, mtime_ns, size, target, offset
_Page = list[tuple[bytes, list[int]]]  # directories by sort key, with the chunks that hold entries of them


@dataclass(frozen=True, slots=True)
class Indexed:
    """An entry and where its content starts, counted in bytes of the tar stream."""

    entry: Entry
    offset: int


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the archive that can be unpacked by itself.

    ``start`` counts bytes of the tar stream, ``position`` and ``size`` bytes of the archive.
    """

    start: int
    position: int
    size: int


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """The archive an index belongs to: ``size`` in bytes and ``sha256`` in hex tell whether the index is stale.

    ``entries`` counts all entries, repeated ones each time.
    """

    format: ArchiveFormat
    size: int
    sha256: str
    entries: int


class IndexWriter:
    """Writes an index. A context manager that closes the file; what was not finished is no index to a reader.

    The caller gives a temporary path and renames it. ``add`` is called by one thread, ``block`` by one thread,
    which may be two different ones.
    """

    def __init__(self, path: Path, format: ArchiveFormat) -> None:
        """Create ``path``, replacing what is there. Raises ``OSError``."""
        self._format = format
        self._file = path.open("w+b")
        self._file.write(MAGIC)
        self._position = len(MAGIC)
        self._compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        self._decompressor = zstandard.ZstdDecompressor()
        self._chunks = array("Q")
        self._parent = b""
        self._rows: list[_Row] = []
        self._chunk: dict[bytes, list[_Row]] = {b"": self._rows}
        self._pending = 0
        self._directories: dict[bytes, list[int]] = {}
        self._spilled: list[list[int]] = []
        self._starts = array("Q")
        self._positions = array("Q")
        self._entries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add(self, entry: Entry, offset: int) -> None:
        """Record an entry; ``offset`` is where its content starts in the tar stream.

        ``entry.path`` is as ``Entry`` describes it: relative, without ``./`` or a trailing ``/``. The
        root itself (``b""``) is left out. Raises ``InvalidInput`` for a NUL in the path.
        """
        path = entry.path
        parent, _, name = path.rpartition(b"/")
        if parent != self._parent:
            self._parent = parent
            self._rows = self._chunk.setdefault(parent, [])
        if not name or b"\0" in path:
            if not path:
                return
            raise InvalidInput(f"an index cannot hold the path {shown(path)}")
        mtime_ns = entry.mtime_ns
        if not -_INT64 <= mtime_ns <= _INT64:
            mtime_ns = _INT64 if mtime_ns > 0 else -_INT64
        self._rows.append((name, _CODES[entry.kind], entry.mode, mtime_ns, entry.size, entry.target, offset))
        self._pending += 1
        if self._pending >= CHUNK_ENTRIES:
            self._flush()

    def block(self, start: int, position: int) -> None:
        """Record that byte ``start`` of the tar stream begins a part at ``position`` of the archive. In order."""
        self._starts.append(start)
        self._positions.append(position)

    def finish(self, *, archive_size: int, archive_sha256: str) -> None:
        """Complete and close it: ``archive_size`` in bytes, ``archive_sha256`` in hex.

        Not synced: an index that a power cut damaged is found out by its checksums and built again.
        """
        self._flush()
        pages = array("Q")
        keys = []
        directories = self._merged()
        while page := list(islice(directories, PAGE_DIRECTORIES)):
            keys.append(page[0][0])
            pages.append(self._write(page))
        footer = self._write(
            (
                str(self._format),
                archive_size,
                archive_sha256,
                self._entries,
                _little(self._chunks),
                keys,
                _little(pages),
                self._write((_little(self._starts), _little(self._positions))),
            )
        )
        where = struct.pack("<Q", footer)
        self._file.write(_TRAILER.pack(footer, zlib.crc32(where), MAGIC))
        self._file.close()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._file.close()

    def _flush(self) -> None:
        if not self._pending:
            return
        number = len(self._chunks)
        directories = self._directories
        chunk = [(parent, rows) for parent, rows in self._chunk.items() if rows]
        for parent, _ in chunk:
            if parent in directories:
                directories[parent].append(number)
            else:
                directories[parent] = [number]
        self._chunks.append(self._write(chunk))
        self._entries += self._pending
        self._pending = 0
        self._rows = []
        self._chunk = {self._parent: self._rows}
        if len(directories) >= SPILL_DIRECTORIES:
            run = iter(self._sorted())
            directories.clear()
            positions = []
            while page := list(islice(run, PAGE_DIRECTORIES)):
                positions.append(self._write(page))
            self._spilled.append(positions)

    def _write(self, plain: object) -> int:
        position = self._position
        data = self._compressor.compress(ormsgpack.packb(plain))
        self._file.write(_LENGTH.pack(len(data)))
        self._file.write(data)
        self._position += _LENGTH.size + len(data)
        return position

    def _sorted(self) -> _Page:
        return sorted((_key(path), chunks) for path, chunks in self._directories.items())

    def _merged(self) -> Iterator[tuple[bytes, list[int]]]:
        self._file.flush()
        runs = [self._reread(positions) for positions in self._spilled]
        ordered = heapq.merge(*runs, self._sorted())
        for key, same in groupby(ordered, key=itemgetter(0)):
            yield key, [chunk for _, chunks in same for chunk in chunks]

    def _reread(self, positions: Sequence[int]) -> Iterator[tuple[bytes, list[int]]]:
        for position in positions:
            page: list[tuple[bytes, list[int]]] = _part(self._file.fileno(), position, self._decompressor)
            yield from ((key, chunks) for key, chunks in page)


class IndexReader:
    """Reads an index. Every method raises ``Damaged`` when its bytes do not check out. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises ``Damaged`` when it is no whole index of this layout, ``OSError`` as ``open`` does."""
        self._path = path
        self._decompressor = zstandard.ZstdDecompressor()
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._blocks: tuple[array[int], array[int]] | None = None
        self._file = path.open("rb")
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    @property
    def facts(self) -> ArchiveFacts:
        """What was recorded about the archive."""
        return self._facts

    def list(self, directory: bytes) -> Sequence[Indexed]:
        """Entries directly inside (``b""``: the root), directories first, sorted by name.

        A directory that no entry names but that holds entries appears with mode 0755 and time 0. Raises
        ``NotFound`` for a path that is not in the archive and ``InvalidInput`` for one that is no directory.
        """
        prefix = directory + b"/" if directory else b""
        found: dict[bytes, Indexed] = {}
        for row in self._rows(directory):
            found[row[0]] = _indexed(prefix, row)
        for name in self._inner(directory):
            known = found.get(name)
            if known is None or known.entry.kind is not EntryKind.DIRECTORY:
                found[name] = _implied(prefix + name)
        if not found and directory and self.stat(directory).entry.kind is not EntryKind.DIRECTORY:
            raise InvalidInput(f"{shown(directory)} is not a directory")
        return sorted(found.values(), key=lambda one: (one.entry.kind is not EntryKind.DIRECTORY, one.entry.path))

    def stat(self, path: bytes) -> Indexed:
        """The entry itself, the last one where an archive repeats it. Raises ``NotFound``."""
        if not path:
            return _implied(b"")
        parent, _, name = path.rpartition(b"/")
        holds_entries = self._page_entry(_key(path)) is not None or next(self._inner(path), None) is not None
        for number in reversed(self._chunks_of(parent)):
            for row in reversed(self._chunk_rows(number, parent)):
                if row[0] == name:
                    found = _indexed(parent + b"/" if parent else b"", row)
                    if holds_entries and found.entry.kind is not EntryKind.DIRECTORY:
                        return _implied(path)
                    return found
        if holds_entries:
            return _implied(path)
        raise NotFound(f"{shown(path)} is not in this backup")

    def blocks_for(self, offset: int, length: int) -> Sequence[Block]:
        """The blocks that hold ``length`` bytes of the tar stream from ``offset`` on, in order.

        Of a plain tar these are the bytes themselves. Without any recorded block the whole archive is one.
        """
        if self._facts.format is ArchiveFormat.TAR:
            return [Block(offset, offset, length)]
        starts, positions = self._load_blocks()
        first = max(bisect_right(starts, offset) - 1, 0)
        end = max(bisect_left(starts, offset + length), first + 1)
        size = self._facts.size
        return [
            Block(starts[i], positions[i], (positions[i + 1] if i + 1 < len(positions) else size) - positions[i])
            for i in range(first, end)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._cache.clear()
        self._file.close()

    def _open(self) -> None:
        descriptor = self._file.fileno()
        length = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, _TRAILER.size, max(length - _TRAILER.size, 0))
        if len(tail) < _TRAILER.size or length < len(MAGIC) + _TRAILER.size:
            self._damaged("it is too short")
        footer, crc, magic = _TRAILER.unpack(tail)
        if magic != MAGIC or os.pread(descriptor, len(MAGIC), 0) != MAGIC or crc != zlib.crc32(tail[:8]):
            self._damaged("it is no index of this version, or its end is missing")
        try:
            format, size, sha256, entries, chunks, keys, pages, blocks = self._read(footer)
            self._facts = ArchiveFacts(ArchiveFormat(format), size, sha256, entries)
        except (ValueError, TypeError) as error:
            raise Damaged(f"{shown(self._path)}: {error}") from error
        self._chunk_positions = _unlittle(chunks)
        self._page_keys: list[bytes] = keys
        self._page_positions = _unlittle(pages)
        self._blocks_position: int = blocks

    def _damaged(self, reason: str) -> NoReturn:
        raise Damaged(f"the index {shown(self._path)} cannot be used: {reason}")

    def _read(self, position: int) -> Any:
        """One decoded part; the shapes are those the writer gave them, their bytes are checksummed."""
        if position in self._cache:
            self._cache.move_to_end(position)
            return self._cache[position]
        try:
            part = _part(self._file.fileno(), position, self._decompressor)
        except (ValueError, struct.error, zstandard.ZstdError) as error:
            raise Damaged(f"the index {shown(self._path)} is damaged: {error}") from error
        self._cache[position] = part
        if len(self._cache) > CACHED_PARTS:
            self._cache.popitem(last=False)
        return part

    def _page_after(self, key: bytes) -> Iterator[tuple[bytes, Sequence[int]]]:
        """Directories from ``key`` on, in order of their keys."""
        number = max(bisect_right(self._page_keys, key) - 1, 0)
        while number < len(self._page_positions):
            page: _Page = self._read(self._page_positions[number])
            at = bisect_left(page, key, key=itemgetter(0))
            for i in range(at, len(page)):
                yield page[i]
            number += 1

    def _page_entry(self, key: bytes) -> Sequence[int] | None:
        found = next(self._page_after(key), None)
        return found[1] if found is not None and found[0] == key else None

    def _chunks_of(self, directory: bytes) -> Sequence[int]:
        found = self._page_entry(_key(directory))
        return [] if found is None else found

    def _inner(self, directory: bytes) -> Iterator[bytes]:
        """Names of directories directly inside that themselves hold entries, at any depth."""
        prefix = _key(directory) + b"\0" if directory else b""
        key = prefix or b"\1"
        while True:
            found = next(self._page_after(key), None)
            if found is None or not found[0].startswith(prefix):
                return
            name = found[0][len(prefix) :].partition(b"\0")[0]
            yield name
            key = prefix + name + b"\1"

    def _chunk_rows(self, number: int, directory: bytes) -> Sequence[_Row]:
        for parent, rows in self._read(self._chunk_positions[number]):
            if parent == directory:
                found: Sequence[_Row] = rows
                return found
        return []

    def _rows(self, directory: bytes) -> Iterator[_Row]:
        for number in self._chunks_of(directory):
            yield from self._chunk_rows(number, directory)

    def _load_blocks(self) -> tuple["array[int]", "array[int]"]:
        if self._blocks is None:
            starts, positions = self._read(self._blocks_position)
            self._cache.pop(self._blocks_position)
            self._blocks = (_unlittle(starts), _unlittle(positions))
            if not starts:
                self._blocks = (array("Q", [0]), array("Q", [0]))
        return self._blocks


def _key(path: bytes) -> bytes:
    """Sort key that puts a directory's whole inside directly behind it: no other byte is below NUL."""
    return path.replace(b"/", b"\0")


def _part(descriptor: int, position: int, decompressor: zstandard.ZstdDecompressor) -> Any:
    (length,) = _LENGTH.unpack(os.pread(descriptor, _LENGTH.size, position))
    if length > _LARGEST_PART:
        raise ValueError("impossible length")
    return ormsgpack.unpackb(decompressor.decompress(os.pread(descriptor, length, position + _LENGTH.size)))


def _indexed(prefix: bytes, row: _Row) -> Indexed:
    name, kind, mode, mtime_ns, size, target, offset = row
    return Indexed(Entry(prefix + name, _KINDS[kind], mode, mtime_ns, size, target), offset)


def _implied(path: bytes) -> Indexed:
    return Indexed(Entry(path, EntryKind.DIRECTORY, 0o755, 0), 0)


def _little(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _unlittle(data: bytes) -> "array[int]":
    numbers = array("Q")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
