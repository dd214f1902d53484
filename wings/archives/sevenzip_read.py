"""Reading 7z archives: every entry in the order of the header, contents folder by folder.

Progress is counted in unpacked bytes (backup-drivers §12). The reference stores no modes: 0755 and 0644.
"""

import stat
import zlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from wings.archives.chains import STEP
from wings.archives.decoders import ArchiveFile
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.names import LONGEST_TARGET
from wings.archives.refusals import Refusal, Refusals
from wings.archives.sevenzip_folder import FolderStream, unpack_folder
from wings.archives.sevenzip_listing import SevenZipMember, read_listing
from wings.archives.work import Unwatched, Work
from wings.errors import Damaged, shown

_UNIX = 0x8000  # the upper half of the attributes is a Unix mode
_DIRECTORY = 0x10
_REPARSE_POINT = 0x400  # Windows' links


class SevenZipReader:
    """Iterates over the entries once. Opening raises ``Damaged`` and ``Unsupported``; so does reading a content."""

    def __init__(self, file: ArchiveFile, work: Work) -> None:
        self.refusals = Refusals()
        self._file = file
        self._work = work
        # The header is unpacked unwatched: it is not what progress counts.
        self._listing = read_listing(file, lambda folder: unpack_folder(file, folder, Unwatched()))
        self.content_bytes: int | None = sum(member.size for member in self._listing.members)
        """What the contents take when unpacked, link texts included."""

    def __iter__(self) -> Iterator[Item]:
        folder = -1
        stream: FolderStream | None = None
        position = 0
        for entry, member in self.entries():
            if member.folder < 0:
                yield Item(entry, SevenZipContent(None, member, self._work) if entry.kind is EntryKind.FILE else None)
                continue
            if member.folder != folder or stream is None:
                folder, position = member.folder, 0
                stream = FolderStream(self._file, self._listing.folders[folder], self._work)
            stream.skip(member.offset - position)
            content = SevenZipContent(stream, member, self._work)
            if entry.kind is EntryKind.SYMLINK:
                entry.target = _read_all(content)
                yield Item(entry)
            else:
                yield Item(entry, content)
            position = member.offset + content.consumed

    def entries(self) -> Iterator[tuple[Entry, SevenZipMember]]:
        """All entries that can be restored; targets of links are still missing. The others go to ``refusals``."""
        for member in self._listing.members:
            entry = self._entry(member)
            if entry is not None:
                yield entry, member

    def read_targets(self, members: Sequence[SevenZipMember], file: ArchiveFile) -> Sequence[bytes]:
        """The texts of symbolic links, read through ``file``; every folder is unpacked once at most."""
        targets: dict[int, bytes] = {}
        stream: FolderStream | None = None
        folder, position = -1, 0
        for number in sorted(range(len(members)), key=lambda one: (members[one].folder, members[one].offset)):
            member = members[number]
            if member.folder != folder or stream is None:
                folder, position = member.folder, 0
                stream = FolderStream(file, self._listing.folders[folder], self._work)
            stream.skip(member.offset - position)
            targets[number] = _read_all(SevenZipContent(stream, member, self._work))
            position = member.offset + member.size
        return [targets[number] for number in range(len(members))]

    def open(self, member: SevenZipMember, file: ArchiveFile) -> "SevenZipContent":
        """The content of one entry, read through ``file``; unpacks the folder up to it."""
        if member.folder < 0:
            return SevenZipContent(None, member, self._work)
        stream = FolderStream(file, self._listing.folders[member.folder], self._work)
        stream.skip(member.offset)
        return SevenZipContent(stream, member, self._work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to release; the file stays the caller's."""

    def _entry(self, member: SevenZipMember) -> Entry | None:
        attributes = member.attributes or 0
        mode = attributes >> 16 if attributes & _UNIX else 0
        format = stat.S_IFMT(mode)
        if member.directory or (member.folder < 0 and (attributes & _DIRECTORY or format == stat.S_IFDIR)):
            return Entry(member.name, EntryKind.DIRECTORY, mode & 0o7777 if mode else 0o755, member.mtime_ns)
        if format == stat.S_IFLNK:
            if 1 <= member.size <= LONGEST_TARGET:
                return Entry(member.name, EntryKind.SYMLINK, 0o777, member.mtime_ns)
            self.refusals.note(Refusal.LINK, member.name, f"target of {member.size} bytes")
            return None
        if format not in (0, stat.S_IFREG) or (not mode and attributes & _REPARSE_POINT):
            self.refusals.note(Refusal.SPECIAL, member.name)
            return None
        return Entry(member.name, EntryKind.FILE, mode & 0o7777 if mode else 0o644, member.mtime_ns, member.size)


class SevenZipContent:
    """One content of a folder, held against its checksum when its last byte is read."""

    def __init__(self, stream: FolderStream | None, member: SevenZipMember, work: Work) -> None:
        self._stream = stream
        self._member = member
        self._work = work
        self._crc = 0
        self.consumed = 0
        """Bytes taken from the folder so far."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end. Raises ``Damaged``."""
        left = self._member.size - self.consumed
        if self._stream is None or not left or size <= 0:
            return b""
        data = self._stream.read(min(size, left, STEP))
        if not data:
            raise Damaged(f"the 7z entry {shown(self._member.name)} is damaged: its data ends too early")
        self._crc = zlib.crc32(data, self._crc)
        self.consumed += len(data)
        self._work.advance(bytes=len(data))
        if self.consumed == self._member.size and self._member.crc not in (None, self._crc):
            raise Damaged(f"the 7z entry {shown(self._member.name)} is damaged: its checksum is wrong")
        return data

    def close(self) -> None:
        """Nothing to release."""


def _read_all(content: SevenZipContent) -> bytes:
    parts = []
    while part := content.read(STEP):
        parts.append(part)
    return b"".join(parts)
