"""Looking into archives of every format, and making the index that tar formats need for it."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from wings.archives.decoders import open_decoder
from wings.archives.entry import Content, Entry
from wings.archives.formats import ArchiveFormat, Compression
from wings.archives.index import IndexReader, IndexWriter
from wings.archives.names import HostileName, judge
from wings.archives.positioned import PositionedFile
from wings.archives.sevenzip_listing import SevenZipMember
from wings.archives.sevenzip_read import SevenZipReader
from wings.archives.tar_read import TarReader
from wings.archives.tree_listed import ListedTree
from wings.archives.tree_tar import TarTree, sparse_for_index
from wings.archives.work import Unwatched, Work
from wings.archives.zip_read import ZipContent, ZipEntry, ZipReader
from wings.errors import Damaged, Unsupported

_SHORTEST_BLOCK = 256 << 10
"""Bytes of the tar stream between two blocks in an index; members that are smaller are taken together."""

Tree = TarTree | ListedTree[ZipEntry] | ListedTree[SevenZipMember]
"""What ``open_tree`` opens: ``list``, ``stat``, ``read`` and ``close``."""


def open_tree(path: Path, format: ArchiveFormat, index: Path | None) -> Tree:
    """Open an archive for browsing. ``index`` is needed for tar formats, see ``build_index``.

    Raises ``Damaged`` for an index that is none, and for a zip or 7z whose table of contents does not check
    out; ``Unsupported`` as their readers do; ``OSError`` as ``open`` does.
    """
    if format.is_tar:
        if index is None:
            raise ValueError(f"a {format} cannot be browsed without an index")
        return TarTree(path, format, index)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    file = PositionedFile(descriptor)
    try:
        if format is ArchiveFormat.ZIP:
            return ListedTree(file, descriptor, _ZipListing(file))
        return ListedTree(file, descriptor, _SevenZipListing(file))
    except BaseException:
        os.close(descriptor)
        raise


def index_fits(index: Path, archive: Path) -> bool:
    """Whether the index is there, whole, and of an archive of this size: enough to browse, not a verification."""
    try:
        with IndexReader(index) as reader:
            return reader.facts.size == archive.stat().st_size
    except (FileNotFoundError, Damaged):
        return False


def build_index(archive: Path, format: ArchiveFormat, index: Path, work: Work | None = None) -> None:
    """Read a tar archive once and write its index to ``index``, in memory that does not grow with the archive.

    Entries that nobody could restore are left out. Raises ``Damaged`` when the archive does not check out, and
    leaves no index then.
    """
    compression = format.compression
    if compression is None:
        raise ValueError(f"a {format} needs no index")
    try:
        with archive.open("rb", buffering=0) as file, IndexWriter(index, format) as writer:
            _fill_index(file, compression, writer, work or Unwatched())
    except BaseException:  # no index is better than half of one
        with suppress(FileNotFoundError):
            index.unlink()
        raise


def _fill_index(file: BinaryIO, compression: Compression, writer: IndexWriter, work: Work) -> None:
    hashed = _Hashed(file)
    blocks = _Blocks(writer)
    threads = os.cpu_count() or 1
    decoder = open_decoder(hashed, compression, threads=threads, work=work, on_member=blocks.note)
    with TarReader(decoder) as reader:
        for item in reader:
            entry = item.entry
            try:
                entry.path = judge(entry.path)
            except HostileName:
                continue  # nobody could restore it either
            if reader.sparse is not None:
                entry.target = sparse_for_index(reader.sparse)
            if entry.path:
                writer.add(entry, reader.content_offset)
    writer.finish(archive_size=hashed.size, archive_sha256=hashed.digest.hexdigest())


class _Blocks:
    """Passes on where members start, but not more often than is good for anything."""

    def __init__(self, writer: IndexWriter) -> None:
        self._writer = writer
        self._last = -_SHORTEST_BLOCK

    def note(self, start: int, position: int) -> None:
        if start - self._last >= _SHORTEST_BLOCK:
            self._writer.block(start, position)
            self._last = start


class _Hashed:
    """A file that is read in order, hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self.size += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise Unsupported("an archive that is hashed is read in order")

    def tell(self) -> int:
        return self.size


class _ZipListing:
    """The zip reader in the shape that browsing asks for."""

    def __init__(self, file: PositionedFile) -> None:
        self._reader = ZipReader(file, Unwatched())

    def entries(self) -> Iterator[tuple[Entry, ZipEntry]]:
        return ((found.entry, found) for found in self._reader.entries())

    def open(self, member: ZipEntry, file: PositionedFile) -> Content:
        return ZipContent(file, member, Unwatched())

    def read_targets(self, members: Sequence[ZipEntry], file: PositionedFile) -> Sequence[bytes]:
        return [self._reader.read_target(member, file) for member in members]


class _SevenZipListing:
    """The 7z reader in the shape that browsing asks for."""

    def __init__(self, file: PositionedFile) -> None:
        self._reader = SevenZipReader(file, Unwatched())

    def entries(self) -> Iterator[tuple[Entry, SevenZipMember]]:
        return self._reader.entries()

    def open(self, member: SevenZipMember, file: PositionedFile) -> Content:
        return self._reader.open(member, file)

    def read_targets(self, members: Sequence[SevenZipMember], file: PositionedFile) -> Sequence[bytes]:
        return self._reader.read_targets(members, file)
