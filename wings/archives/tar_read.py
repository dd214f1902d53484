"""Reading tar streams of any origin, one entry after the other, in bounded memory (backup-drivers §17).

Strict where it counts: a header that does not check out, a missing end or anything but zeros behind it is
``Damaged`` (W-12), never a shorter list of files.
"""

from collections.abc import Generator, Iterator
from types import TracebackType
from typing import NoReturn, Self

from wings.archives.decoders import Decoder
from wings.archives.entry import Content, Entry, EntryKind, Item
from wings.archives.refusals import Refusal, Refusals
from wings.archives.tar_parse import (
    BLOCK,
    ZEROS,
    Extended,
    Header,
    SparseMap,
    gnu_sparse_map,
    parse_header,
    parse_pax,
    pax_sparse_map,
    sparse_map_from_text,
    sparse_size,
)
from wings.errors import Damaged, Unsupported, shown

_LONGEST_METADATA = 1 << 20  # bytes of one pax or long-name header
_MOST_EXTENSIONS = 1 << 16  # blocks of a sparse map
_HOLE = bytes(256 << 10)


class TarReader:
    """Iterates once over a tar stream. Entries that cannot be restored are in ``refusals``, not in the items.

    ``Damaged`` is raised by the iterator or by the content that is being read.
    """

    content_bytes: int | None = None
    """Not known before the end."""

    def __init__(self, decoder: Decoder) -> None:
        self.refusals = Refusals()
        self._decoder = decoder
        self._block = b""
        self._at = 0
        self._start = 0  # position in the stream of the block's first byte
        self._left = 0  # bytes of the current entry's content still in the stream
        self._padding = 0
        self._global = Extended()
        self._items = self._read_items()
        self._stored = _Stored(self)
        self.content_offset = 0
        """Position in the stream of the current item's stored content."""
        self.sparse: SparseMap | None = None
        """How the current item's stored content is spread, if it is sparse."""

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop decoding. Safe to call twice."""
        self._items.close()
        self._decoder.close()

    @property
    def position(self) -> int:
        """Bytes of the stream consumed so far."""
        return self._start + self._at

    def _read_items(self) -> Generator[Item, None, None]:
        extended: Extended | None = None
        while True:
            block = self._next_header()
            if block[0] == 0 and block == ZEROS:
                if extended is not None:
                    self._damaged("a header for the next entry, but there is none")
                self._check_end()
                return
            try:
                header = parse_header(block)
                if header.kind in b"LKxXg":
                    extended = self._take_metadata(header, extended)
                    continue
                item = self._item(block, header, self._merge(header, extended))
            except ValueError as error:
                raise Damaged(f"tar data is damaged before byte {self.position}: {error}") from error
            extended = None
            if item is not None:
                yield item

    # The stream.

    def _advance(self) -> bool:
        """Make sure there is at least one byte; ``False`` at the end of the stream."""
        while self._at >= len(self._block):
            self._start += len(self._block)
            self._at = 0
            self._block = self._decoder.next_block()
            if not self._block:
                return False
        return True

    def _next_header(self) -> bytes:
        if self._left or self._padding:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
        at = self._at
        block = self._block[at : at + BLOCK]
        if len(block) == BLOCK:
            self._at = at + BLOCK
            return block
        if not block and not self._advance():
            self._damaged("the end of the archive is missing" if self._start else "it is empty")
        return self._exactly(BLOCK)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            if not self._advance():
                self._damaged("it ends too early, the rest is missing")
            part = self._block[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _skip(self, size: int) -> None:
        while size:
            if not self._advance():
                self._damaged("it ends too early, the rest is missing")
            part = min(len(self._block) - self._at, size)
            self._at += part
            size -= part

    def read_content(self, size: int) -> bytes:
        """The next bytes of the current entry; ``b""`` at its end. For the contents made here."""
        if not self._left or size <= 0:
            return b""
        if not self._advance():
            self._damaged("it ends in the middle of a file, the rest is missing")
        at, block = self._at, self._block
        part = block[at : at + min(size, self._left)]
        self._at = at + len(part)
        self._left -= len(part)
        return part

    def _check_end(self) -> None:
        """Only zeros may follow the first block of zeros; reading on also checks the compression's own end."""
        while self._advance():
            rest = self._block[self._at :]
            if rest.count(0) != len(rest):
                self._damaged("there is data behind the end of the archive")
            self._at = len(self._block)

    def _damaged(self, what: str) -> NoReturn:
        raise Damaged(f"tar data is damaged at byte {self.position}: {what}")

    # Headers about headers.

    def _take_metadata(self, header: Header, extended: Extended | None) -> Extended | None:
        if header.size > _LONGEST_METADATA:
            raise ValueError(f"a header of {header.size} bytes")
        data = self._exactly(header.size)
        self._skip(-header.size % BLOCK)
        if header.kind == b"g":
            self._global = parse_pax(data).over(self._global)
            self._global.size = None  # would be nonsense for more than one file
            return extended
        if header.kind in b"xX":
            return parse_pax(data).over(extended or Extended())
        extended = extended or Extended()
        name = data.partition(b"\0")[0]
        if header.kind == b"L":
            extended.path = name
        else:
            extended.link = name
        return extended

    def _merge(self, header: Header, extended: Extended | None) -> Extended | None:
        if extended is None and self._global.path is None and self._global.mtime_ns is None:
            return None
        known = (extended or Extended()).over(self._global)
        header.name = known.sparse.get(b"name") or known.path or header.name
        header.link = known.link or header.link
        if known.size is not None:
            header.size = known.size
        if known.mtime_ns is not None:
            header.mtime_ns = known.mtime_ns
        return known

    # Entries.

    def _item(self, block: bytes, header: Header, extended: Extended | None) -> Item | None:
        """The entry of this header; ``None`` if it is none or cannot be restored."""
        self.sparse = None
        if header.kind in (b"0", b"\0", b"7"):
            if header.name.endswith(b"/") and not header.size:
                return Item(self._entry(header, EntryKind.DIRECTORY))
            if extended is not None and (extended.sparse or extended.sparse_numbers):
                return self._pax_sparse(header, extended)
            return self._file(header)
        self.content_offset = self.position
        if header.kind == b"5":
            return Item(self._entry(header, EntryKind.DIRECTORY))
        if header.kind == b"S":
            return self._gnu_sparse(block, header)
        return self._rare_item(header)

    def _rare_item(self, header: Header) -> Item | None:
        item = None
        match header.kind:
            case b"2":
                item = Item(self._entry(header, EntryKind.SYMLINK, header.link))
            case b"1":
                if header.size and not self._header_follows():
                    self._content_follows(header.size)
                item = Item(self._entry(header, EntryKind.HARDLINK, header.link))
            case b"3" | b"4" | b"6":
                self.refusals.note(Refusal.SPECIAL, header.name)
            case b"D":  # GNU's incremental directory: its content lists what was in it
                self._content_follows(header.size)
                item = Item(self._entry(header, EntryKind.DIRECTORY))
            case b"M":
                raise Unsupported(f"{shown(header.name)} is a part of an archive in several volumes; join them first")
            case b"V":  # a label of the whole archive
                self._content_follows(header.size)
            case _:
                self._content_follows(header.size)
                self.refusals.note(Refusal.KIND, header.name, f"type {shown(header.kind)}")
        return item

    def _entry(self, header: Header, kind: EntryKind, target: bytes = b"") -> Entry:
        return Entry(header.name, kind, header.mode, header.mtime_ns, 0, target)

    def _content_follows(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK
        self.content_offset = self._start + self._at

    def _file(self, header: Header) -> Item:
        size = header.size
        self._left = size
        self._padding = -size % BLOCK
        self.content_offset = self._start + self._at
        return Item(Entry(header.name, EntryKind.FILE, header.mode, header.mtime_ns, size), self._stored)

    def _header_follows(self) -> bool:
        """Whether a hard link with a size has no content after all: writers disagree, so look at what comes."""
        block = self._exactly(BLOCK)
        self._block = block + self._block[self._at :]
        self._start += self._at - BLOCK
        self._at = 0
        if block == ZEROS:
            return True
        try:
            parse_header(block)
        except ValueError:
            return False
        return True

    def _pax_sparse(self, header: Header, extended: Extended) -> Item | None:
        self._content_follows(header.size)
        try:
            sparse = pax_sparse_map(extended)
            if sparse is None:
                if extended.sparse.get(b"major") != b"1":
                    raise ValueError("an unknown version")
                sparse = self._leading_map(sparse_size(extended))
            return self._spread(header, sparse)
        except ValueError as error:
            self.refusals.note(Refusal.SPARSE, header.name, str(error))
            return None

    def _leading_map(self, size: int) -> SparseMap:
        """The map of format 1.0: decimal numbers, a line each, their count first, padded to whole blocks."""
        data = b""
        wanted = 1
        while data.count(b"\n") < wanted:
            more = self._take_content(BLOCK)
            data += more
            first, newline, _ = data.partition(b"\n")
            if not more or (newline and not first.isdigit()) or len(data) > _MOST_EXTENSIONS * BLOCK:
                raise ValueError("the map of a sparse file is garbled")
            if newline:
                wanted = 1 + 2 * int(first)
        self.content_offset = self.position
        return sparse_map_from_text(size, data.split(b"\n")[1:wanted])

    def _take_content(self, size: int) -> bytes:
        taken = self._exactly(min(size, self._left))
        self._left -= len(taken)
        return taken

    def _gnu_sparse(self, block: bytes, header: Header) -> Item | None:
        extensions: list[bytes] = []
        more = block[482]
        while more:
            if len(extensions) >= _MOST_EXTENSIONS:
                raise ValueError("the map of a sparse file does not end")
            extensions.append(self._exactly(BLOCK))
            more = extensions[-1][504]
        self._content_follows(header.size)
        try:
            return self._spread(header, gnu_sparse_map(block, extensions))
        except ValueError as error:
            self.refusals.note(Refusal.SPARSE, header.name, str(error))
            return None

    def _spread(self, header: Header, sparse: SparseMap) -> Item:
        if sparse.stored != self._left:
            raise ValueError("the map of a sparse file does not fit its content")
        self.sparse = sparse
        entry = Entry(header.name, EntryKind.FILE, header.mode, header.mtime_ns, sparse.size)
        return Item(entry, Spread(self._stored, sparse))


class _Stored:
    """Content as it stands in the stream; what is not read is skipped by the reader."""

    __slots__ = ("_reader",)

    def __init__(self, reader: TarReader) -> None:
        self._reader = reader

    def read(self, size: int, /) -> bytes:
        return self._reader.read_content(size)

    def close(self) -> None:
        """Nothing to release."""


class Spread:
    """Content of a sparse file: stored pieces with zeros between them. Ends early only if ``stored`` does."""

    def __init__(self, stored: Content, sparse: SparseMap) -> None:
        self._stored = stored
        self._segments = iter((*sparse.segments, (sparse.size, 0)))
        self._at = 0
        self._offset, self._length = next(self._segments)

    def read(self, size: int, /) -> bytes:
        """The next bytes, zeros included."""
        while True:
            if self._at < self._offset:
                part = _HOLE[: min(size, self._offset - self._at)]
                self._at += len(part)
                return part
            if self._length:
                part = self._stored.read(min(size, self._length))
                self._length -= len(part)
                self._offset += len(part)
                self._at += len(part)
                return part
            following = next(self._segments, None)
            if following is None:
                return b""
            self._offset, self._length = following

    def close(self) -> None:
        """Release the stored content."""
        self._stored.close()
