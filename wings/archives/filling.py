"""Filling blocks with what a source holds: the part of the calling thread that all archive writers share."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from wings.archives.blocks import BlockPipeline
from wings.archives.entry import Content, Entry, EntryKind, Source
from wings.archives.report import Trouble
from wings.archives.work import Work

_Note = TypeVar("_Note")


class BlockFiller(ABC, Generic[_Note]):
    """Base of the writers: goes through the source and keeps a current block with ``_at`` of ``_limit`` bytes used.

    ``files``, ``entries`` and ``content_bytes`` are those of ``Written``. ``work`` is told of bytes and files
    once per block. ``_sent`` counts the bytes of the blocks before this one.
    """

    def __init__(self, source: Source, pipeline: BlockPipeline[_Note], work: Work) -> None:
        self.files = 0
        self.entries = 0
        self.content_bytes = 0
        self._source = source
        self._report = source.report
        self._pipeline = pipeline
        self._work = work
        self._limit = pipeline.block_size
        self._sent = 0
        self._at = 0
        self._passed = 0  # content bytes and files since the work was told last
        self._passed_files = 0
        self._next_block()

    @abstractmethod
    def _store_plain(self, entry: Entry) -> None:
        """Store an entry without content."""

    @abstractmethod
    def _store_file(self, entry: Entry, content: Content) -> None:
        """Store a file and count its bytes; ``entry.size`` becomes what is stored."""

    def _store_all(self) -> None:
        """Go through the source once. Contents are closed, and so is the source's own iterator, whatever happens."""
        items = iter(self._source)
        try:
            for item in items:
                entry, content = item.entry, item.content
                self.entries += 1
                if entry.kind is not EntryKind.DIRECTORY:
                    self.files += 1
                    self._passed_files += 1
                if content is None:
                    self._store_plain(entry)
                    continue
                try:
                    self._store_file(entry, content)
                finally:
                    content.close()
        finally:
            # A generator lets go of its directories now and not when memory is tidied up.
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def _next_block(self) -> None:
        self._block = self._pipeline.take()
        self._view = memoryview(self._block.buffer)

    def _hand_over(self, note: _Note | None = None) -> None:
        """Send off the current block."""
        self._pipeline.put(self._block, self._at, note)
        self._sent += self._at
        self._at = 0
        self._work.advance(self._passed, self._passed_files)
        self._passed = self._passed_files = 0

    def _read(self, content: Content, wanted: int) -> int:
        """Read into the block until ``wanted`` bytes came or the content ended; how many came."""
        view, at = self._view, self._at
        end = at + wanted
        while at < end and (data := content.read(end - at)):
            view[at : at + len(data)] = data
            at += len(data)
        got = at - self._at
        self._at = at
        self._passed += got
        return got

    def _cut(self, entry: Entry, size: int) -> int:
        """Note that a file ended early, where the archive says how long it was in truth; return that."""
        self._report.note(Trouble.CHANGED, entry.path, f"shrank from {entry.size} to {size} bytes while it was read")
        entry.size = size
        return size
