"""Browsing tar archives through their index: a listing reads no archive, a file only the blocks it lies in."""

import os
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from wings.archives.decoders import Decoder, open_decoder
from wings.archives.entry import Entry, EntryKind
from wings.archives.formats import ArchiveFormat, Compression
from wings.archives.index import Block, Indexed, IndexReader
from wings.archives.names import HostileName, judge
from wings.archives.positioned import PositionedFile
from wings.archives.tar_parse import BLOCK, SparseMap, parse_header, sparse_map_from_text
from wings.archives.tar_read import Spread
from wings.archives.tree_listed import Part, clip, order
from wings.archives.work import Unwatched
from wings.errors import Damaged, InvalidInput, NotFound, shown

CHECKED = 16 << 20
"""Decoded bytes of a block up to which it is decoded completely, and so checked, before a byte of it goes out."""

_MOST_LINKS = 16  # hard links that lead to each other
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_LZ4_END = bytes(4)  # EndMark of the lz4 frame format


class TarTree:
    """An open archive with its index. Safe from several threads."""

    def __init__(self, path: Path, format: ArchiveFormat, index: Path) -> None:
        """Open both. Raises ``Damaged`` when the index is none."""
        self._format = format
        self._lock = threading.Lock()
        self._index = IndexReader(index)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self._index.close()
            raise

    def list(self, path: bytes) -> Sequence[Entry]:
        """Directories first, then the rest, each sorted by name without regard to case (backup-drivers §9)."""
        with self._lock:
            found = self._index.list(path)
        return sorted((_shown(self._resolved(one).entry) for one in found), key=order)

    def stat(self, path: bytes) -> Entry:
        """The entry itself. Raises ``NotFound``."""
        return _shown(self._find(path).entry)

    def read(self, path: bytes, offset: int = 0, length: int | None = None) -> "TarPart | Part":
        """A file from ``offset`` on, at most ``length`` bytes."""
        found = self._find(path)
        if found.entry.kind is not EntryKind.FILE:
            raise InvalidInput(f"{shown(path)} is not a file")
        skip, left = clip(found.entry.size, offset, length)
        if sparse := sparse_from_index(found.entry):
            stored = self._part(found.offset, sparse.stored)
            return Part(Spread(stored, sparse), stored, skip, left)
        if self._format is ArchiveFormat.TAR and left:
            self._check_header(found)
        return self._part(found.offset + skip, left)

    def close(self) -> None:
        """Close archive and index; files that are open stay so."""
        with self._lock:
            self._index.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _part(self, position: int, length: int) -> "TarPart":
        with self._lock:
            blocks = self._index.blocks_for(position, length) if length else ()
        return TarPart(os.dup(self._descriptor), self._format, blocks, position, length)

    def _find(self, path: bytes) -> Indexed:
        with self._lock:
            found = self._index.stat(path)
        return self._resolved(found)

    def _resolved(self, found: Indexed) -> Indexed:
        """A hard link as the file it is another name of; one that leads nowhere is an empty file."""
        entry = found.entry
        if entry.kind is not EntryKind.HARDLINK:
            return found
        first = found
        try:
            for _ in range(_MOST_LINKS):
                with self._lock:
                    first = self._index.stat(judge(first.entry.target))
                if first.entry.kind is not EntryKind.HARDLINK:
                    break
        except (NotFound, HostileName):
            pass
        if first.entry.kind is not EntryKind.FILE:
            return Indexed(Entry(entry.path, EntryKind.FILE, entry.mode, entry.mtime_ns), 0)
        target = first.entry
        return Indexed(
            Entry(entry.path, EntryKind.FILE, entry.mode, entry.mtime_ns, target.size, target.target), first.offset
        )

    def _check_header(self, found: Indexed) -> None:
        """Plain tar has no checksum over contents; that a header stands before it shows at least that it is it."""
        try:
            parse_header(os.pread(self._descriptor, BLOCK, found.offset - BLOCK).ljust(BLOCK, b"\0"))
        except ValueError as error:
            raise Damaged(f"{shown(found.entry.path)} is not where it was in the archive: {error}") from error


def sparse_for_index(sparse: SparseMap) -> bytes:
    """How the index keeps the map of a sparse file: as the link text that a file does not have otherwise."""
    return b",".join(b"%d,%d" % segment for segment in sparse.segments) or b"-"


def sparse_from_index(entry: Entry) -> SparseMap | None:
    """The map that ``sparse_for_index`` made; ``None`` for a file that lies in the archive as it is."""
    if not entry.target:
        return None
    return sparse_map_from_text(entry.size, entry.target.split(b",") if entry.target != b"-" else [])


def _shown(entry: Entry) -> Entry:
    if entry.kind is EntryKind.FILE:
        entry.target = b""
    return entry


class TarPart:
    """Bytes of the tar stream from ``position`` on, decoded block by block. Owns its descriptor.

    A block of up to ``CHECKED`` bytes is held against its checksum before any of it goes out. A larger one, as in
    archives that others compressed in one piece, is only checked if it is read to its end.
    """

    def __init__(
        self, descriptor: int, format: ArchiveFormat, blocks: Sequence[Block], position: int, length: int
    ) -> None:
        self._descriptor = descriptor
        self._compression = format.compression or Compression.NONE
        self._blocks = iter(blocks)
        self._position = position
        self._left = length
        self._ready: deque[memoryview] = deque()
        self._decoder: Decoder | None = None
        self._skip = 0

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end. Raises ``Damaged``."""
        if not self._left or size <= 0:
            return b""
        while not self._ready:
            self._refill()
        first = self._ready.popleft()
        data = bytes(first[: min(size, self._left)])
        if len(data) < len(first):
            self._ready.appendleft(first[len(data) :])
        self._position += len(data)
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Release. Safe to call twice."""
        self._end_block()
        self._ready.clear()
        self._left = 0
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _refill(self) -> None:
        """Decode on: a whole block if it is small, else what comes next of it."""
        if self._decoder is not None:
            data = self._decoder.next_block()
            if data:
                self._keep(data)
            else:
                self._end_block()
            return
        decoder = self._decoder = self._open_block()
        size = 0
        while size < CHECKED:
            data = decoder.next_block()
            if not data:
                self._end_block()
                return
            size += len(data)
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if skipped < len(data):
            self._ready.append(memoryview(data)[skipped:])

    def _open_block(self) -> Decoder:
        block = next(self._blocks, None)
        if block is None:
            raise Damaged("the archive is shorter than its index says")
        self._skip = self._position - block.start
        part = PositionedFile(self._descriptor, start=block.position, size=block.size)
        if self._compression is Compression.LZ4 and block.position and part.read(4) != _LZ4_MAGIC:
            # One frame for the whole archive (backup-drivers §17): its head and end mark make a frame of any block.
            part = PositionedFile(
                self._descriptor, start=block.position, size=block.size, before=self._frame_head(), behind=_LZ4_END
            )
        part.seek(0)
        return open_decoder(part, self._compression, threads=1, work=Unwatched())

    def _frame_head(self) -> bytes:
        # Magic, descriptor and header checksum; our own frames carry neither content size nor dictionary.
        return os.pread(self._descriptor, 7, 0)

    def _end_block(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None
