"""Reading zip archives by their central directory, with every size and checksum held against the data.

``zipfile`` reads the directory; the entries are decoded here, in bounded memory and with the fast inflater.
Progress is counted in unpacked bytes (backup-drivers §12).
"""

import calendar
import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from wings.archives.chains import READ, STEP
from wings.archives.decoders import ArchiveFile
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.formats import Compression
from wings.archives.members import CODECS, Member
from wings.archives.names import LONGEST_TARGET
from wings.archives.raw_members import (
    DATA_ERRORS,
    Copied,
    Deflate64,
    bzip2,
    deflate,
    lzma1_filter,
    lzma_member,
)
from wings.archives.refusals import Refusal, Refusals
from wings.archives.work import Work
from wings.errors import Damaged, Unsupported, shown

_LOCAL = struct.Struct("<4s2xHH4xIIIHH")  # signature, flags, method, crc, packed, size, name, extra
_CENTRAL_SIGNATURE = b"PK\1\2"
_CENTRAL_SIZE = 46  # without name, extra field and comment
_ENCRYPTED = 0x1
_SIZES_FOLLOW = 0x8
_UTF8 = 0x800
_WAS_UTF8 = 0x8000  # reserved in the format; here the place to which the mark above is moved
_UNIXES = (3, 19)  # systems that store names as they are: Unix, macOS
_LATER = 0xFFFF_FFFF  # the real size stands in a zip64 field
_UNIX_EPOCH_AS_FILETIME = 116_444_736_000_000_000
_DOS_DIRECTORY = 0x10

_LZMA = 14
_METHODS: dict[int, Callable[[], Member]] = {
    0: Copied,
    8: deflate,
    9: Deflate64,
    12: bzip2,
    93: lambda: CODECS[Compression.ZSTD].open(b""),
    95: lambda: CODECS[Compression.XZ].open(b""),
}


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """An entry, and where its data is."""

    entry: Entry
    info: zipfile.ZipInfo
    limit: int
    """Where the next entry or the directory starts: its data ends before."""


class ZipReader:
    """Iterates over the entries in the order of the central directory.

    Opening raises ``Damaged`` if the directory is broken, lies or overlaps, ``Unsupported`` for encrypted
    archives and unknown methods. Reading a content raises ``Damaged`` if it is not what was announced.
    """

    def __init__(self, file: ArchiveFile, work: Work) -> None:
        self.refusals = Refusals()
        self._file = file
        self._work = work
        self._infos = _directory(file)
        self._limits = _limits(self._infos.filelist, self._infos.start_dir)
        self.content_bytes: int | None = sum(info.file_size for info in self._infos.filelist if not _is_directory(info))
        """What the files take when unpacked, links included."""

    def __iter__(self) -> Iterator[Item]:
        for found in self.entries():
            content = self.open(found)
            if found.entry.kind is EntryKind.FILE:
                yield Item(found.entry, content)
                continue
            if found.entry.kind is EntryKind.SYMLINK:
                found.entry.target = _read_all(content)
            yield Item(found.entry)

    def entries(self) -> Iterator[ZipEntry]:
        """All entries that can be restored; targets of links are still missing. The others go to ``refusals``."""
        for info, limit in zip(self._infos.filelist, self._limits, strict=True):
            path = _raw_name(info)
            format = stat.S_IFMT(info.external_attr >> 16)
            if _is_directory(info):
                kind = EntryKind.DIRECTORY
            elif format in (0, stat.S_IFREG):
                kind = EntryKind.FILE
            elif format != stat.S_IFLNK:
                self.refusals.note(Refusal.SPECIAL, path)
                continue
            elif 1 <= info.file_size <= LONGEST_TARGET:
                kind = EntryKind.SYMLINK
            else:
                self.refusals.note(Refusal.LINK, path, f"target of {info.file_size} bytes")
                continue
            size = info.file_size if kind is EntryKind.FILE else 0
            yield ZipEntry(Entry(path, kind, _mode(info, kind), _mtime_ns(info), size), info, limit)

    def open(self, found: ZipEntry) -> "ZipContent":
        """The data of an entry, checked to its last byte while it is read."""
        return ZipContent(self._file, found, self._work)

    def read_target(self, found: ZipEntry, file: ArchiveFile) -> bytes:
        """The text of a symbolic link, read through ``file``."""
        return _read_all(ZipContent(file, found, self._work))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the directory; the file stays the caller's."""
        self._infos.close()


class ZipContent:
    """One entry being unpacked. Keeps its own position in the file."""

    def __init__(self, file: ArchiveFile, found: ZipEntry, work: Work) -> None:
        self._file = file
        self._info = found.info
        self._limit = found.limit
        self._work = work
        self._at = -1  # the local header is read with the first bytes
        self._packed = found.info.compress_size
        self._left = found.info.file_size
        self._crc = 0
        self._member: Member = Copied()
        self._rest = b""  # unpacked beyond what was asked for
        self._done = False

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end. Raises ``Damaged``, for a wrong checksum with the last bytes."""
        if not self._rest and not self._done and size > 0:
            self._rest = self._unpack(size)
        if size >= len(self._rest):
            piece, self._rest = self._rest, b""
        else:
            piece, self._rest = self._rest[: max(size, 0)], self._rest[max(size, 0) :]
        return piece

    def close(self) -> None:
        """Nothing to release."""
        self._done = True
        self._rest = b""

    def _unpack(self, size: int) -> bytes:
        if self._at < 0:
            self._begin()
        out = self._next(min(size, STEP)) if self._left else b""
        self._crc = zlib.crc32(out, self._crc)
        self._left -= len(out)
        self._work.advance(bytes=len(out))
        if not self._left:
            self._check_end()
            self._done = True
        return out

    def _begin(self) -> None:
        info = self._info
        self._file.seek(info.header_offset)
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size:
            self._damaged("its header is missing")
        signature, flags, method, crc, packed, size, name_size, extra_size = _LOCAL.unpack(head)
        name = self._file.read(name_size)
        if signature != b"PK\3\4" or name != _stored_name(info) or method != info.compress_type:
            self._damaged("its header and the directory disagree")
        if not flags & _SIZES_FOLLOW and (
            crc != info.CRC or packed not in (info.compress_size, _LATER) or size not in (info.file_size, _LATER)
        ):
            self._damaged("its header and the directory disagree about its size or checksum")
        self._at = info.header_offset + _LOCAL.size + name_size + extra_size
        if self._at + self._packed > self._limit:
            self._damaged("its data reaches into the next entry")
        try:
            self._member = self._open_member()
        except ValueError as error:
            self._damaged(str(error))

    def _open_member(self) -> Member:
        method = self._info.compress_type
        if method == _LZMA:
            head = self._input(4)
            return lzma_member([lzma1_filter(self._input(int.from_bytes(head[2:], "little")))])
        return _METHODS[method]()

    def _input(self, size: int) -> bytes:
        self._file.seek(self._at)
        data = self._file.read(min(size, self._packed))
        if not data and self._packed and size:
            self._damaged("its data ends too early")
        self._at += len(data)
        self._packed -= len(data)
        return data

    def _next(self, size: int) -> bytes:
        member = self._member
        while True:
            self._work.check()
            data = b""
            if member.needs_input:
                data = self._input(READ)
                if not data or member.eof:
                    self._damaged("it unpacks to less than announced")
            out = self._decode(data, size)
            if len(out) > self._left:
                self._damaged("it unpacks to more than announced")
            if out:
                return out
            if member.eof:
                self._damaged("it unpacks to less than announced")

    def _decode(self, data: bytes, size: int) -> bytes:
        try:
            return self._member.decompress(data, size)
        except DATA_ERRORS as error:
            self._damaged(str(error))

    def _check_end(self) -> None:
        member = self._member
        while not member.eof and (self._packed or not member.needs_input):
            if self._decode(self._input(READ) if member.needs_input else b"", 1):
                self._damaged("it unpacks to more than announced")
        ends_by_itself = self._info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_LZMA)
        if self._packed or member.unused_data or (ends_by_itself and not member.eof and self._info.file_size):
            self._damaged("its packed size is wrong")
        if self._crc != self._info.CRC:
            self._damaged("its checksum is wrong")

    def _damaged(self, what: str) -> NoReturn:
        raise Damaged(f"the zip entry {shown(_raw_name(self._info))} is damaged: {what}")


class _Capped:
    """The file as ``zipfile`` may see it.

    It is never asked for more than it has: a directory that lies about its size must not cost memory. And no
    name is called UTF-8: ``zipfile`` would refuse the whole archive for one name that is not, as bsdtar makes.
    """

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file
        self._size = file.seek(0, 2)

    def read(self, size: int = -1, /) -> bytes:
        left = max(self._size - self._file.tell(), 0)
        data = self._file.read(left if size < 0 else min(size, left))
        return _marks_moved(data) if data.startswith(_CENTRAL_SIGNATURE) else data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _marks_moved(directory: bytes) -> bytes:
    changed = bytearray(directory)
    at = 0
    while changed.startswith(_CENTRAL_SIGNATURE, at) and at + _CENTRAL_SIZE <= len(changed):
        (flags,) = struct.unpack_from("<H", changed, at + 8)
        struct.pack_into("<H", changed, at + 8, flags & ~(_UTF8 | _WAS_UTF8) | (_WAS_UTF8 if flags & _UTF8 else 0))
        at += _CENTRAL_SIZE + sum(struct.unpack_from("<HHH", changed, at + 28))
    return bytes(changed)


def _directory(file: ArchiveFile) -> zipfile.ZipFile:
    try:
        infos = zipfile.ZipFile(_Capped(file))
    except NotImplementedError as error:
        raise Unsupported(f"this zip archive cannot be read: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # seeking to where the directory says, which is nowhere
            raise
        raise Damaged(f"the directory of the zip archive is damaged: {error}") from error
    except (zipfile.BadZipFile, ValueError, struct.error, OverflowError) as error:
        raise Damaged(f"the directory of the zip archive is damaged: {error}") from error
    for info in infos.filelist:
        if info.flag_bits & _ENCRYPTED:
            raise Unsupported(f"the zip archive is encrypted (entry {shown(_raw_name(info))})")
        if info.compress_type != _LZMA and info.compress_type not in _METHODS:
            raise Unsupported(
                f"the zip entry {shown(_raw_name(info))} is packed with method {info.compress_type}, unknown here"
            )
    return infos


def _limits(infos: Sequence[zipfile.ZipInfo], directory: int) -> list[int]:
    """Where the data of each must end; raises ``Damaged`` when entries overlap, as in bombs they do."""
    limits = [directory] * len(infos)
    limit = directory
    for number in sorted(range(len(infos)), key=lambda one: infos[one].header_offset, reverse=True):
        info = infos[number]
        least = info.header_offset + _LOCAL.size + len(_stored_name(info)) + info.compress_size
        if info.header_offset < 0 or least > limit:
            raise Damaged(f"the zip entry {shown(_raw_name(info))} overlaps another or the directory")
        limits[number] = limit
        limit = info.header_offset
    return limits


def _read_all(content: ZipContent) -> bytes:
    parts = []
    while part := content.read(STEP):
        parts.append(part)
    return b"".join(parts)


def _stored_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("cp437")  # zipfile took every byte for a character of this code page


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """The name as bytes of a Linux file system: most writers store UTF-8, few of them say so."""
    name = _stored_name(info)
    if info.flag_bits & _WAS_UTF8 or info.create_system in _UNIXES or name.isascii():
        return name
    field = _extra(info, 0x7075)  # Info-ZIP's Unicode path: version, CRC-32 of the name, the name in UTF-8
    if field is not None and field[:1] == b"\1" and field[1:5] == zlib.crc32(name).to_bytes(4, "little"):
        return field[5:]
    try:
        name.decode()
    except UnicodeDecodeError:
        return info.orig_filename.encode()
    return name


def _is_directory(info: zipfile.ZipInfo) -> bool:
    format = stat.S_IFMT(info.external_attr >> 16)
    return format == stat.S_IFDIR or (
        not format and (info.orig_filename.endswith("/") or bool(info.external_attr & _DOS_DIRECTORY))
    )


def _mode(info: zipfile.ZipInfo, kind: EntryKind) -> int:
    mode = info.external_attr >> 16
    if not mode:
        return 0o755 if kind is EntryKind.DIRECTORY else 0o644
    return mode & 0o7777


def _mtime_ns(info: zipfile.ZipInfo) -> int:
    """The best time there is: NTFS field (100 ns), extended timestamp (1 s), DOS time (2 s, taken as UTC, §14)."""
    field = _extra(info, 0x000A)
    if field is not None and field[4:8] == b"\1\0\x18\0" and len(field) >= 16:
        return (int.from_bytes(field[8:16], "little") - _UNIX_EPOCH_AS_FILETIME) * 100
    year, month, day, *clock = info.date_time
    field = _extra(info, 0x5455)
    if field is not None and field[:1] and field[0] & 1 and len(field) >= 5:
        seconds = int.from_bytes(field[1:5], "little", signed=True)
        if seconds < 0 and year >= 2038:
            seconds += 1 << 32
        return seconds * 1_000_000_000
    return calendar.timegm((year, min(max(month, 1), 12), max(day, 1), *clock)) * 1_000_000_000


def _extra(info: zipfile.ZipInfo, wanted: int) -> bytes | None:
    at, extra = 0, info.extra
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return None
