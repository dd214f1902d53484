"""Opening an archive of any format for reading from start to end."""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from wings.archives.decoders import ArchiveFile, open_decoder
from wings.archives.entry import Item
from wings.archives.formats import ArchiveFormat
from wings.archives.refusals import Refusals
from wings.archives.sevenzip_read import SevenZipReader
from wings.archives.tar_read import TarReader
from wings.archives.work import Work
from wings.archives.zip_read import ZipReader


class ArchiveReader(Protocol):
    """Iterates once over the entries of an archive, names and targets exactly as they stand there.

    The iterator, and reading an item's content, raise ``Damaged`` for everything that does not check out:
    an iteration that ends normally has seen the archive's proper end (W-12). What was not read of a content
    is skipped. Entries that nobody could restore are counted in ``refusals`` instead of coming as items.
    """

    refusals: Refusals
    content_bytes: int | None
    """What all contents take when unpacked, in bytes; ``None`` where only the end will tell (tar)."""

    def __iter__(self) -> Iterator[Item]:
        """The entries in the order of the archive."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def close(self) -> None:
        """Stop all threads; the file stays open. Safe to call twice."""


def open_archive(file: ArchiveFile, format: ArchiveFormat, *, threads: int, work: Work) -> ArchiveReader:
    """Start reading ``file`` from its beginning; tar formats read it in order only, zip and 7z also seek.

    ``threads`` decode at a time at most. ``work`` is asked whether to stop, and told of progress: for tar the
    bytes of the archive that were read, for zip and 7z unpacked bytes (backup-drivers §12). Raises
    ``Damaged`` and ``Unsupported`` for what can be seen at once.
    """
    compression = format.compression
    if compression is not None:
        return TarReader(open_decoder(file, compression, threads=threads, work=work))
    if format is ArchiveFormat.ZIP:
        return ZipReader(file, work)
    return SevenZipReader(file, work)
