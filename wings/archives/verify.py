"""Whether an archive can be read: a quick look at its structure, or every byte of it."""

from dataclasses import dataclass

from wings.archives.decoders import ArchiveFile
from wings.archives.entry import EntryKind
from wings.archives.formats import ArchiveFormat
from wings.archives.read import ArchiveReader, open_archive
from wings.archives.structure import check_structure
from wings.archives.work import Unwatched, Work

_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive unpacks to.

    ``files`` counts entries that are not directories, links included, ``symlinks`` those of them that are
    symbolic links; entries for one path count each. ``content_bytes`` are those of all files, ``refused``
    entries that nobody could restore.
    """

    entries: int
    files: int
    directories: int
    symlinks: int
    content_bytes: int
    refused: int


def verify_full(file: ArchiveFile, format: ArchiveFormat, *, work: Work, threads: int) -> Contents:
    """Decode everything and check all there is to check, to the archive's proper end (W-12).

    Raises ``Damaged`` for the first thing wrong, ``Unsupported`` for what cannot be read here. Formats do not
    protect everything: the contents of a plain tar have no checksum, nor have times and modes in a zip.
    """
    file.seek(0)
    entries = files = directories = symlinks = content_bytes = 0
    with open_archive(file, format, threads=threads, work=work) as reader:
        for item in reader:
            work.check()
            entries += 1
            directories += item.entry.kind is EntryKind.DIRECTORY
            symlinks += item.entry.kind is EntryKind.SYMLINK
            files += item.entry.kind is not EntryKind.DIRECTORY
            if item.content is not None:
                while data := item.content.read(_STEP):
                    content_bytes += len(data)
                item.content.close()
        return Contents(entries, files, directories, symlinks, content_bytes, reader.refusals.total)


def verify_structure(file: ArchiveFile, format: ArchiveFormat) -> None:
    """Look at the beginning, the end, and the table of contents where there is one. Raises ``Damaged``.

    Finds a truncated or foreign file within a second, not a changed byte in the middle: that takes ``verify_full``.
    """
    if format.is_tar:
        check_structure(file, format)
    else:
        _open_listed(file, format).close()


def measure(file: ArchiveFile, format: ArchiveFormat, *, work: Work, threads: int) -> int:
    """Bytes that the contents take when unpacked, for the check of the disk limit before a restore.

    zip and 7z say so in their tables of contents, and are held to it when they are read; a tar is decoded to
    its end, which proves that it can be. Raises as ``verify_full``.
    """
    if format.is_tar:
        return verify_full(file, format, work=work, threads=threads).content_bytes
    with _open_listed(file, format, work) as reader:
        return reader.content_bytes or 0


def _open_listed(file: ArchiveFile, format: ArchiveFormat, work: Work | None = None) -> ArchiveReader:
    """A zip or 7z, which is opened by reading its table of contents."""
    return open_archive(file, format, threads=1, work=work or Unwatched())
