"""What is in a 7z archive and where: its header, parsed (7zFormat.txt of the 7-Zip source).

Not parsed with py7zr: that refuses what the reference daemon writes ("anti" items, more than 65,536 packed
streams, W-57), takes ``\\`` for ``/``, and needs several times the memory. Decoding is left to libraries.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wings.archives.decoders import ArchiveFile
from wings.errors import Damaged, Unsupported

MAGIC = b"7z\xbc\xaf\x27\x1c"
START = 32  # bytes before the first packed stream
LARGEST_HEADER = 256 << 20

_START = struct.Struct("<6sBBIQQI")
_CRYPT = b"\x06\xf1\x07"  # first bytes of all method ids that encrypt
_ESCAPED = re.compile("([\uef80-\uefff])")
_MOST_CODERS = 4
_MOST_LAYERS = 4  # of a packed header; one is usual
_UNIX_EPOCH_AS_FILETIME = 116_444_736_000_000_000


@dataclass(frozen=True, slots=True)
class Coder:
    """One step of unpacking: its method id and properties."""

    method: bytes
    properties: bytes


@dataclass(slots=True)
class Folder:
    """One packed stream that unpacks to one or more files. ``coders`` in order of unpacking, with their output sizes.

    ``position`` and ``packed`` say where it is in the archive, ``crc`` of the whole output may be missing.
    """

    coders: tuple[Coder, ...]
    sizes: tuple[int, ...]
    crc: int | None = None
    position: int = 0
    packed: int = 0


@dataclass(slots=True)
class SevenZipMember:
    """An entry. ``folder`` is -1 without content; ``offset`` is where the content starts in the folder's output."""

    name: bytes
    directory: bool
    attributes: int | None
    mtime_ns: int
    folder: int = -1
    offset: int = 0
    size: int = 0
    crc: int | None = None


@dataclass(slots=True)
class SevenZipListing:
    """All folders and all entries, in the order of the archive."""

    folders: list[Folder] = field(default_factory=list)
    members: list[SevenZipMember] = field(default_factory=list)


Unpack = Callable[[Folder], bytes]
"""Unpacks one folder completely; how is the caller's business."""


def read_listing(file: ArchiveFile, unpack: Unpack) -> SevenZipListing:
    """Read and check the header. Raises ``Damaged``, ``Unsupported`` for encrypted or unusual archives."""
    archive_size = file.seek(0, 2)
    file.seek(0)
    start = file.read(_START.size)
    if len(start) < _START.size or start[:6] != MAGIC:
        raise Damaged("this is no 7z archive, or its start is damaged")
    _, major, _, start_crc, offset, size, crc = _START.unpack(start)
    if zlib.crc32(start[12:]) != start_crc:
        raise Damaged("the start of the 7z archive is damaged: its checksum is wrong")
    if major:
        raise Unsupported(f"7z format version {major} is unknown here")
    if not size:
        return SevenZipListing()
    if size > min(archive_size - START - offset, LARGEST_HEADER):
        raise Damaged("the 7z archive ends too early: its header is missing")
    file.seek(START + offset)
    data = file.read(size)
    if len(data) != size or zlib.crc32(data) != crc:
        raise Damaged("the header of the 7z archive is damaged: its checksum is wrong")
    try:
        for _ in range(_MOST_LAYERS):
            if data[0] == 0x17:
                data = _unpack_header(data, archive_size, unpack)
        if data[0] != 0x01:
            raise ValueError(f"unknown kind {data[0]}")
        return _Parser(data, 1).listing(archive_size)
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        raise Damaged(f"the header of the 7z archive is damaged: {error}") from error


def _unpack_header(data: bytes, archive_size: int, unpack: Unpack) -> bytes:
    folders, _ = _Parser(data, 1).streams(archive_size)
    if len(folders) != 1 or not 1 <= folders[0].sizes[-1] <= LARGEST_HEADER:
        raise ValueError("the packed header is impossible")
    plain = unpack(folders[0])
    if folders[0].crc not in (None, zlib.crc32(plain)):  # the reference's has none
        raise ValueError("the checksum of the packed header is wrong")
    return plain


@dataclass(slots=True)
class _Substreams:
    """Sizes and checksums of the contents, folder by folder."""

    counts: list[int]
    sizes: list[int]
    crcs: list[int | None]


class _Parser:
    """Walks over the header's bytes. Raises ``ValueError`` or ``IndexError`` where they make no sense."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._known_coders: dict[Coder, Coder] = {}  # a million folders, a handful of different coders

    def listing(self, archive_size: int) -> SevenZipListing:
        """The whole header, behind its first byte."""
        found = SevenZipListing()
        substreams = _Substreams([], [], [])
        kind = self._byte()
        if kind == 0x02:
            while self._byte():
                self._bytes(self._number())
            kind = self._byte()
        if kind == 0x03:
            self.streams(archive_size)
            kind = self._byte()
        if kind == 0x04:
            found.folders, substreams = self.streams(archive_size)
            kind = self._byte()
        if kind == 0x05:
            found.members = self._files(substreams)
            kind = self._byte()
        elif substreams.sizes:
            raise ValueError("contents without names")
        if kind:
            raise ValueError(f"unknown part {kind}")
        return found

    def streams(self, archive_size: int) -> tuple[list[Folder], _Substreams]:
        """Pack info, folders and their substreams."""
        folders: list[Folder] = []
        substreams = None
        packed: list[int] = []
        position = START
        while kind := self._byte():
            if kind == 0x06:
                position += self._number()
                packed = self._pack_sizes()
            elif kind == 0x07:
                folders = self._folders()
            elif kind == 0x08:
                substreams = self._substreams(folders)
            else:
                raise ValueError(f"unknown part {kind}")
        if len(packed) != len(folders):
            raise ValueError("packed streams and folders do not match")
        for folder, size in zip(folders, packed, strict=True):
            folder.position, folder.packed = position, size
            position += size
            if position > archive_size:
                raise ValueError("packed data behind the end of the archive")
        if substreams is None:
            substreams = _Substreams([1] * len(folders), [one.sizes[-1] for one in folders], [f.crc for f in folders])
        return folders, substreams

    def _pack_sizes(self) -> list[int]:
        count = self._count()
        sizes: list[int] = []
        while kind := self._byte():
            if kind == 0x09:
                sizes = [self._number() for _ in range(count)]
            elif kind == 0x0A:
                self._digests(count)
            else:
                raise ValueError(f"unknown pack property {kind}")
        if len(sizes) != count:
            raise ValueError("sizes of packed streams are missing")
        return sizes

    def _folders(self) -> list[Folder]:
        if self._byte() != 0x0B:
            raise ValueError("folders are missing")
        count = self._count()
        self._not_external()
        chains = [self._coders() for _ in range(count)]
        if self._byte() != 0x0C:
            raise ValueError("sizes of folders are missing")
        folders = []
        for coders, order in chains:
            sizes = [self._number() for _ in coders]
            folders.append(Folder(tuple(coders[one] for one in order), tuple(sizes[one] for one in order)))
        while kind := self._byte():
            if kind != 0x0A:
                raise ValueError(f"unknown folder property {kind}")
            for folder, crc in zip(folders, self._digests(count), strict=True):
                folder.crc = crc
        return folders

    def _coders(self) -> tuple[list[Coder], list[int]]:
        """The coders of a folder, and the order in which the data passes them when it is unpacked."""
        coders = []
        count = self._number()
        if not 1 <= count <= 32:
            raise ValueError("impossible number of coders")
        simple = count <= _MOST_CODERS
        for _ in range(count):
            flags = self._byte()
            method = self._bytes(flags & 0x0F)
            inputs, outputs = (self._number(), self._number()) if flags & 0x10 else (1, 1)
            coder = Coder(method, self._bytes(self._number()) if flags & 0x20 else b"")
            if method.startswith(_CRYPT):
                raise Unsupported("the 7z archive is encrypted")
            coders.append(self._known_coders.setdefault(coder, coder))
            simple = simple and inputs == outputs == 1
        if not simple:
            # BCJ2, made for executables with -mx=9, is the only such filter in use.
            raise Unsupported("the 7z archive uses a filter with several streams (BCJ2), which cannot be read here")
        follows = {}
        for _ in range(count - 1):
            to, source = self._number(), self._number()
            follows[source] = to
        first = set(range(count)) - set(follows.values())
        order = [first.pop()] if len(first) == 1 else []
        while order and order[-1] in follows:
            order.append(follows.pop(order[-1]))
        if len(order) != count:
            raise ValueError("coders are not connected")
        return coders, order

    def _substreams(self, folders: list[Folder]) -> _Substreams:
        counts = [1] * len(folders)
        kind = self._byte()
        if kind == 0x0D:
            counts = [self._count() for _ in folders]
            kind = self._byte()
        sizes: list[int] = []
        for folder, count in zip(folders, counts, strict=True):
            left = folder.sizes[-1]
            if count:
                given = [self._number() for _ in range(count - 1)] if kind == 0x09 else []
                left -= sum(given)
                if len(given) != count - 1 or left < 0:
                    raise ValueError("sizes in a folder do not add up")
                sizes += given
                sizes.append(left)
        if kind == 0x09:
            kind = self._byte()
        known = [count == 1 and folder.crc is not None for folder, count in zip(folders, counts, strict=True)]
        crcs: Iterator[int | None] = iter(())
        while kind:
            if kind != 0x0A:
                raise ValueError(f"unknown substream property {kind}")
            crcs = iter(self._digests(sum(count for count, one in zip(counts, known, strict=True) if not one)))
            kind = self._byte()
        all_crcs: list[int | None] = []
        for folder, count, one in zip(folders, counts, known, strict=True):
            all_crcs += [folder.crc] if one else [next(crcs, None) for _ in range(count)]
        return _Substreams(counts, sizes, all_crcs)

    def _files(self, substreams: _Substreams) -> list[SevenZipMember]:
        count = self._count()
        names: list[bytes] | None = None
        empty = [False] * count
        no_directory: list[bool] = []
        times: list[int | None] = [None] * count
        attributes: list[int | None] = [None] * count
        while kind := self._byte():
            part = _Parser(self._bytes(self._number()), 0)
            if kind == 0x0E:
                empty = part._bits(count)
            elif kind == 0x0F:
                no_directory = part._bits(sum(empty))
            elif kind == 0x11:
                names = part._names(count)
            elif kind == 0x14:
                times = part._defined(count, "Q")
            elif kind == 0x15:
                attributes = part._defined(count, "I")
            # Anything else (other times, "anti" marks, padding) says nothing that is restored (W-57).
        if names is None:
            raise ValueError("names are missing")
        return _join(names, empty, no_directory, times, attributes, substreams)

    def _names(self, count: int) -> list[bytes]:
        self._not_external()
        text = self._data[self._at :].decode("utf-16-le", "surrogatepass")
        names = text.split("\0")
        if len(names) != count + 1 or names.pop():
            raise ValueError("names do not match the number of entries")
        return [_name_bytes(name) for name in names]

    def _defined(self, count: int, format: str) -> "list[int | None]":
        defined = self._optional_bits(count)
        self._not_external()
        width = struct.calcsize(f"<{format}")
        values = iter(struct.unpack(f"<{sum(defined)}{format}", self._bytes(sum(defined) * width)))
        return [next(values) if one else None for one in defined]

    def _digests(self, count: int) -> "list[int | None]":
        defined = self._optional_bits(count)
        values = iter(struct.unpack(f"<{sum(defined)}I", self._bytes(4 * sum(defined))))
        return [next(values) if one else None for one in defined]

    def _optional_bits(self, count: int) -> list[bool]:
        return [True] * count if self._byte() else self._bits(count)

    def _bits(self, count: int) -> list[bool]:
        data = self._bytes((count + 7) // 8)
        return [bool(data[at >> 3] & 0x80 >> (at & 7)) for at in range(count)]

    def _not_external(self) -> None:
        if self._byte():
            raise Unsupported("the 7z archive keeps parts of its header elsewhere, which cannot be read here")

    def _count(self) -> int:
        """A number of things that take at least a bit each, so that it cannot be larger than what is left."""
        count = self._number()
        if count > 8 * (len(self._data) - self._at):
            raise ValueError("impossible count")
        return count

    def _number(self) -> int:
        first = self._byte()
        mask = 0x80
        extra = 0
        while first & mask:
            extra += 1
            mask >>= 1
        value = int.from_bytes(self._bytes(extra), "little")
        return value | (first & (mask - 1)) << 8 * extra if mask else value

    def _byte(self) -> int:
        at = self._at
        self._at = at + 1
        return self._data[at]

    def _bytes(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) != size:
            raise ValueError("it ends too early")
        self._at += size
        return data


def _join(
    names: list[bytes],
    empty: list[bool],
    no_directory: list[bool],
    times: "list[int | None]",
    attributes: "list[int | None]",
    substreams: _Substreams,
) -> list[SevenZipMember]:
    """Deal the contents out to the entries that have one."""
    members = []
    without = iter(no_directory)
    places = ((folder, number == 0) for folder, count in enumerate(substreams.counts) for number in range(count))
    contents = zip(places, substreams.sizes, substreams.crcs, strict=True)
    offset = 0
    for name, is_empty, time, attribute in zip(names, empty, times, attributes, strict=True):
        mtime_ns = 0 if time is None else (time - _UNIX_EPOCH_AS_FILETIME) * 100
        member = SevenZipMember(name, is_empty and not next(without, False), attribute, mtime_ns)
        if not is_empty:
            content = next(contents, None)
            if content is None:
                raise ValueError("more files than contents")
            (member.folder, first), member.size, member.crc = content
            member.offset = offset = 0 if first else offset
            offset += member.size
        members.append(member)
    if next(contents, None) is not None:
        raise ValueError("more contents than files")
    return members


def _name_bytes(name: str) -> bytes:
    """7-Zip on Linux keeps bytes that are no UTF-8 as U+EF80 … U+EFFF, and takes such characters for those bytes."""
    if name.isascii():
        return name.encode()
    if _ESCAPED.search(name) is None:
        return name.encode("utf-8", "surrogatepass")
    return b"".join(
        bytes([ord(part) - 0xEF00]) if _ESCAPED.fullmatch(part) else part.encode("utf-8", "surrogatepass")
        for part in _ESCAPED.split(name)
    )
