"""Writing a zip: deflated or stored entries, Unix modes and links, exact times (W-57, W-58).

The container is the standard library's: headers by ``ZipInfo``, the central directory and its zip64 parts by
``ZipFile``. Only the bytes between them come from here, because they are compressed in several threads: small
files in batches, large ones in pieces that are joined by the sync flush of deflate. Nothing is written
twice, so no sink needs to seek; large files carry their sizes behind the data, as the format provides.
"""

import calendar
import stat
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import ormsgpack
import zstandard

from wings.archives.blocks import Block, BlockPipeline, Encoding, Pieces, Sink
from wings.archives.deflate import RAW, Deflate, crc32, deflate, store
from wings.archives.entry import Content, Entry, EntryKind, Source
from wings.archives.filling import BlockFiller
from wings.archives.formats import Compression, CompressionLevel
from wings.archives.levels import level_number
from wings.archives.probing import Prober, Run
from wings.archives.text_names import TextNames
from wings.archives.work import Work
from wings.archives.written import Written

BLOCK = 1 << 20
MOST_IN_BATCH = 1024
# Where the standard library goes over to 64-bit sizes, less what deflate adds to data that does not compress.
_ZIP64_FROM = (1 << 31) - (1 << 24)
_LONGEST_NAME = 0xFFFF  # the length of a name is a 16-bit number
_SIZES_BEHIND = 1 << 3  # general purpose flag: CRC and sizes follow the data (APPNOTE 4.4.4)
_DIRECTORY = 0x10  # the attribute of DOS
_END_OF_DEFLATE = store().compress(b"", RAW)

_KIND_BITS = {EntryKind.FILE: stat.S_IFREG, EntryKind.DIRECTORY: stat.S_IFDIR, EntryKind.SYMLINK: stat.S_IFLNK}
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)
_LAST_TIME = (2107, 12, 31, 23, 59, 58)
_SECOND = 1_000_000_000
_NTFS_EPOCH = 11_644_473_600  # seconds from 1601 to 1970


def write_zip(source: Source, sink: Sink, *, level: CompressionLevel, threads: int, work: Work) -> Written:
    """Write all of ``source`` as one zip."""
    # A zip that stores everything is of no use to anybody: "none" means the fastest here.
    number = max(level_number(Compression.GZ, level), 1)
    directory = _Directory()
    encoding: Encoding[_Note] = Encoding(BLOCK, lambda: _Encoder(number))
    with BlockPipeline(sink, encoding, threads=threads, work=work, assemble=directory.assemble) as pipeline:
        writer = _ZipWriter(source, pipeline, work)
        writer.write()
        pipeline.drain()
        directory.write(pipeline, pipeline.size)
        size, sha256 = pipeline.finish()
    return Written(size, sha256, writer.files, writer.entries, writer.content_bytes)


@dataclass(slots=True)
class _Member:
    """A whole entry inside a batch: its content is ``start`` to ``end`` of the block's buffer."""

    info: ZipInfo
    start: int
    end: int
    offset: int = 0  # where its header is in what the block became


@dataclass(slots=True)
class _Large:
    """A file that comes in pieces; the writing thread sums up what became of it."""

    info: ZipInfo
    zip64: bool
    packed: int = 0


@dataclass(slots=True)
class _Piece:
    file: _Large
    first: bool
    last: bool


_Note = list[_Member] | _Piece


class _ZipWriter(BlockFiller[_Note]):
    """The calling thread's part: walks, reads, fills blocks."""

    def __init__(self, source: Source, pipeline: BlockPipeline[_Note], work: Work) -> None:
        super().__init__(source, pipeline, work)
        self._names = TextNames(source.report, longest=_LONGEST_NAME - 1)
        self._batch: list[_Member] = []

    def write(self) -> None:
        """Send everything off."""
        self._store_all()
        self._send()

    def _store_file(self, entry: Entry, content: Content) -> None:
        info = _info(entry, self._names.of(entry.path))
        announced = entry.size
        if announced > BLOCK:
            size = self._store_large(info, content, announced)
        else:
            if announced > self._limit - self._at:
                self._send()
            start = self._at
            size = self._read(content, announced)
            self._join(_Member(info, start, start + size))
        self.content_bytes += size
        if size < announced:
            self._cut(entry, size)

    def _store_large(self, info: ZipInfo, content: Content, announced: int) -> int:
        self._send()
        info.flag_bits |= _SIZES_BEHIND
        info.compress_type = ZIP_DEFLATED
        file = _Large(info, zip64=announced >= _ZIP64_FROM)
        first, last = True, False
        while not last:
            wanted = min(BLOCK, announced - info.file_size)
            got = self._read(content, wanted)
            info.CRC = crc32(self._view[:got], info.CRC)
            info.file_size += got
            last = got < wanted or info.file_size == announced
            self._pass_on(_Piece(file, first, last))
            first = False
        return info.file_size

    def _store_plain(self, entry: Entry) -> None:
        info, data = _info(entry, self._names.of(entry.path)), entry.target
        if len(data) > self._limit - self._at:
            self._send()
        start = self._at
        self._at += len(data)
        self._view[start : self._at] = data
        self._join(_Member(info, start, self._at))

    def _join(self, member: _Member) -> None:
        self._batch.append(member)
        if len(self._batch) >= MOST_IN_BATCH:
            self._send()

    def _send(self) -> None:
        if self._batch:
            self._pass_on(self._batch)
            self._batch = []

    def _pass_on(self, note: _Note) -> None:
        self._hand_over(note)
        self._next_block()


class _Encoder:
    """One encoding thread's part."""

    def __init__(self, number: int) -> None:
        self._deflate: Deflate = deflate(number)
        self._store = store()
        self._prober = Prober()

    def __call__(self, block: Block[_Note]) -> Pieces:
        note = block.note
        if isinstance(note, _Piece):
            return self._joinable(block.buffer, self._prober.runs(block.buffer, 0, block.length))
        pieces: list[bytes | memoryview] = []
        written = 0
        with memoryview(block.buffer) as view:
            for member in note or ():
                member.offset = written
                data = self._member(member, block.buffer, view)
                header = member.info.FileHeader(zip64=False)
                pieces.append(header)
                pieces += data
                written += len(header) + member.info.compress_size
            return [b"".join(pieces)]

    def _member(self, member: _Member, buffer: bytearray, view: memoryview) -> Pieces:
        """Its data as it is stored, method and sizes entered."""
        start, end, info = member.start, member.end, member.info
        content = view[start:end]
        info.file_size = end - start
        info.CRC = crc32(content)
        packed: Pieces = [content]
        if start < end and not stat.S_ISLNK(info.external_attr >> 16):
            runs = self._prober.runs(buffer, start, end)
            if len(runs) > 1:
                packed = [*self._joinable(buffer, runs), _END_OF_DEFLATE]
            elif runs[0][2]:
                packed = [self._deflate.compress(content, RAW)]
        size = sum(map(len, packed))
        if size < end - start:
            info.compress_type = ZIP_DEFLATED
        else:
            packed, size = [content], end - start
        info.compress_size = size
        return packed

    def _joinable(self, buffer: bytearray, runs: Sequence[Run]) -> Pieces:
        """Deflate whose parts end on whole bytes, so that anything may follow."""
        pieces = []
        with memoryview(buffer) as view:
            for start, end, compressible in runs:
                stream = (self._deflate if compressible else self._store).stream(RAW)
                pieces.append(stream.compress(view[start:end]))
                pieces.append(stream.flush(zlib.Z_SYNC_FLUSH))
        return pieces


class _Directory:
    """The writing thread's part: learns where every entry went; at the end it becomes the central directory.

    An archive may have millions of entries, so they are kept packed, some 20 bytes each.
    """

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._rows: list[_Row] = []
        self._count = 0
        self._compressor = zstandard.ZstdCompressor(level=1)

    def assemble(self, block: Block[_Note], start: int, position: int) -> Pieces:
        """Note what is in a block that goes to ``position``; a file in pieces gets its header and its sizes."""
        note = block.note
        if not isinstance(note, _Piece):
            for member in note or ():
                member.info.header_offset = position + member.offset
                self._add(member.info)
            return block.pieces
        file = note.file
        pieces = list(block.pieces)
        if note.last:
            pieces.append(_END_OF_DEFLATE)
        file.packed += sum(map(len, pieces))
        info = file.info
        if note.first:
            info.header_offset = position
            pieces.insert(0, info.FileHeader(zip64=file.zip64))
        if note.last:
            info.compress_size = file.packed
            layout = "<4sLQQ" if file.zip64 else "<4sLLL"  # data descriptor, APPNOTE 4.3.9
            pieces.append(struct.pack(layout, b"PK\7\10", info.CRC, info.compress_size, info.file_size))
            self._add(info)
        return pieces

    def write(self, pipeline: BlockPipeline[_Note], position: int) -> None:
        """Write the central directory and the end record behind the drained blocks at ``position``."""
        self._pack()
        tail = _Tail(pipeline, position)
        with ZipFile(tail, "w") as container:
            container.filelist = _Entries(self._packed, self._count)
        tail.close()

    def _add(self, info: ZipInfo) -> None:
        self._rows.append(
            (
                info.filename,
                info.date_time,
                info.compress_type,
                info.flag_bits,
                info.extra,
                info.external_attr,
                info.CRC,
                info.compress_size,
                info.file_size,
                info.header_offset,
                info.extract_version,
                info.create_version,
            )
        )
        self._count += 1
        if len(self._rows) >= 1024:
            self._pack()

    def _pack(self) -> None:
        self._packed.append(self._compressor.compress(ormsgpack.packb(self._rows)))
        self._rows = []


_Row = tuple[str, tuple[int, int, int, int, int, int], int, int, bytes, int, int, int, int, int, int, int]


class _Entries(list[ZipInfo]):
    """All entries for ``ZipFile``, which only counts them and goes through them once; made as it goes."""

    def __init__(self, packed: Sequence[bytes], count: int) -> None:
        super().__init__()
        self._packed = packed
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ZipInfo]:
        decompressor = zstandard.ZstdDecompressor()
        for chunk in self._packed:
            for row in ormsgpack.unpackb(decompressor.decompress(chunk)):
                info = ZipInfo(row[0], tuple(row[1]))
                (
                    info.compress_type,
                    info.flag_bits,
                    info.extra,
                    info.external_attr,
                    info.CRC,
                    info.compress_size,
                    info.file_size,
                    info.header_offset,
                    info.extract_version,
                    info.create_version,
                ) = row[2:]
                yield info


class _Tail:
    """A file for ``ZipFile`` that only appends, in pieces worth writing."""

    def __init__(self, pipeline: BlockPipeline[_Note], position: int) -> None:
        self._pipeline = pipeline
        self._position = position
        self._pending = bytearray()

    def write(self, data: bytes, /) -> int:
        """Append."""
        self._pending += data
        self._position += len(data)
        if len(self._pending) >= BLOCK:
            self.flush()
        return len(data)

    def tell(self) -> int:
        """Bytes of the archive so far."""
        return self._position

    def flush(self) -> None:
        """Hand over what is pending."""
        self._pipeline.append(bytes(self._pending))
        self._pending.clear()

    def close(self) -> None:
        """The end is handed over."""
        self.flush()


def _info(entry: Entry, name: str) -> ZipInfo:
    seconds = entry.mtime_ns // _SECOND
    is_directory = entry.kind is EntryKind.DIRECTORY
    info = ZipInfo(name + "/" if is_directory else name, _dos_time(seconds))
    info.create_system = 3  # Unix, wherever this runs
    info.compress_type = ZIP_STORED
    info.CRC = 0
    info.external_attr = (_KIND_BITS[entry.kind] | entry.mode & 0o7777) << 16 | (_DIRECTORY if is_directory else 0)
    if -(1 << 31) <= seconds < 1 << 31:
        info.extra = struct.pack("<HHBl", 0x5455, 5, 1, seconds)  # extended timestamp of Info-ZIP
    else:
        ticks = max(seconds + _NTFS_EPOCH, 0) * 10_000_000
        info.extra = struct.pack("<HHLHHQQQ", 0x000A, 32, 0, 1, 24, ticks, ticks, ticks)  # NTFS times, APPNOTE 4.5.5
    return info


def _dos_time(seconds: int) -> tuple[int, int, int, int, int, int]:
    """In UTC, within what the format can say (backup-drivers §18.1)."""
    if seconds < _FIRST_SECOND:
        return _FIRST_TIME
    if seconds > _LAST_SECOND:
        return _LAST_TIME
    return time.gmtime(seconds)[:6]


_FIRST_SECOND = calendar.timegm(_FIRST_TIME)
_LAST_SECOND = calendar.timegm(_LAST_TIME)
