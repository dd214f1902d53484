"""Writing a tree as a tar stream into blocks.

Small files are read before their header is written, so the header tells the truth. A large file that comes out
shorter than its header says is filled with zeros, because the format needs its bytes, noted, and stored
once more behind the rest of the tree (W-3); of two entries with one name the last one counts.
"""

from dataclasses import dataclass

from wings.archives.blocks import BlockPipeline
from wings.archives.entry import Content, Entry, EntryKind, Source
from wings.archives.filling import BlockFiller
from wings.archives.index import IndexWriter
from wings.archives.report import Trouble
from wings.archives.tar_headers import BLOCK, RECORD, SHORT_NAME, header
from wings.archives.work import Work

SMALL = 64 << 10  # files up to this size are never cut in two by a block, which costs a sixteenth of it at most
TRIES = 3  # how often a file may come out short before it stays as it is
MOST_TORN = 10_000  # files remembered for another try
_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_PADDING = [_ZEROS[: -size % BLOCK] for size in range(BLOCK)]


@dataclass(frozen=True, slots=True)
class Stored:
    """What went into an archive: ``files`` are distinct entries that are no directories, ``content_bytes`` theirs."""

    files: int
    entries: int
    content_bytes: int


def write_tar(source: Source, pipeline: BlockPipeline[None], work: Work, index: IndexWriter | None) -> Stored:
    """Write all of ``source``, torn files again, and the end of the archive. The caller finishes the pipeline.

    Where a file came out shorter than its entry said, ``Entry.size`` is set to what is stored.
    """
    writer = _TarWriter(source, pipeline, work, index)
    writer.write()
    return Stored(writer.files, writer.entries, writer.content_bytes)


class _TarWriter(BlockFiller[None]):
    def __init__(self, source: Source, pipeline: BlockPipeline[None], work: Work, index: IndexWriter | None) -> None:
        super().__init__(source, pipeline, work)
        self._index = index
        self._torn: list[Entry] = []

    def write(self) -> None:
        self._store_all()
        for entry in self._torn:
            self._store_again(entry)
        # Two blocks of zeros, filled up to a whole record as GNU tar does.
        end = self._sent + self._at + 2 * BLOCK
        self._put(bytes(2 * BLOCK + -end % RECORD))
        self._hand_over()

    def _store_plain(self, entry: Entry) -> None:
        if entry.kind is EntryKind.FILE:
            raise ValueError("a file comes with its content")
        self._put(header(entry, 0))
        if self._index is not None:
            self._index.add(entry, self._sent + self._at)

    def _store_file(self, entry: Entry, content: Content) -> None:
        torn = self._store(entry, content)
        self.content_bytes += entry.size
        if torn and len(self._torn) < MOST_TORN:
            self._torn.append(entry)

    def _store_again(self, entry: Entry) -> None:
        """Try a torn file until it comes out whole, as another entry of the same name."""
        torn, tries = True, 1
        while torn and tries < TRIES:
            again = self._source.again(entry)
            if again is None or again.content is None:
                return
            before, entry = entry.size, again.entry
            self._report.withdraw(Trouble.TORN, entry.path)
            try:
                torn = self._store(entry, again.content)
            finally:
                again.content.close()
            self.content_bytes += entry.size - before
            tries += 1

    def _store(self, entry: Entry, content: Content) -> bool:
        """Write a file; whether it is torn."""
        size = entry.size
        if size > SMALL:
            return self._store_large(entry, content)
        data = b""
        if size:
            data = content.read(size)
            while len(data) < size and (more := content.read(size - len(data))):
                data += more
            if len(data) < size:
                size = self._cut(entry, len(data))
            self._passed += size
        head = header(entry, size)
        needed = len(head) + size + BLOCK  # more than enough for the padding
        if needed > self._limit - self._at:
            self._send()
            if len(head) > BLOCK:  # a long name, even one that fills whole blocks
                self._put(head)
                head = b""
                if size + BLOCK > self._limit - self._at:
                    self._send()
        view, at = self._view, self._at
        start = at + len(head)
        view[at:start] = head
        if self._index is not None:
            self._index.add(entry, self._sent + start)
        if size:
            end = start + size
            view[start:end] = data
            padding = _PADDING[size % BLOCK]
            start = end + len(padding)
            view[end:start] = padding
        self._at = start
        return False

    def _store_large(self, entry: Entry, content: Content) -> bool:
        size = entry.size
        start = self._at
        if len(entry.path) < SHORT_NAME and BLOCK + size <= self._limit - start:
            # It fits, so that it can be read first, as small files are.
            self._at = start + BLOCK
            got = self._read(content, size)
            if got < size:
                self._cut(entry, got)
            self._view[start : start + BLOCK] = header(entry, got)
            if self._index is not None:
                self._index.add(entry, self._sent + start + BLOCK)
            self._put(_PADDING[got % BLOCK])
            return False
        self._put(header(entry, size))
        if self._index is not None:
            self._index.add(entry, self._sent + self._at)
        left, ended = size, False
        while left and not ended:
            if self._at == self._limit:
                self._send()
            wanted = min(left, self._limit - self._at)
            got = self._read(content, wanted)
            left -= got
            ended = got < wanted
        if left:
            self._report.note(
                Trouble.TORN, entry.path, f"shrank while it was read, {left} of {size} bytes are zeros instead"
            )
        torn = left > 0
        while left:
            zeros = min(left, len(_ZEROS))
            self._put(_ZEROS[:zeros])
            left -= zeros
        self._put(_PADDING[size % BLOCK])
        return torn

    def _put(self, data: bytes) -> None:
        """Append, over as many blocks as it takes."""
        room = self._limit - self._at
        while len(data) > room:
            self._view[self._at : self._limit] = data[:room]
            self._at = self._limit
            data = data[room:]
            self._send()
            room = self._limit
        self._view[self._at : self._at + len(data)] = data
        self._at += len(data)

    def _send(self) -> None:
        self._hand_over()
        self._next_block()
