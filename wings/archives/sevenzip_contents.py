"""The table of contents of a 7z, written by py7zr's own structures.

Only the list of files is ours: py7zr's takes a dictionary per file and does not mark empty files, and an archive
may have a million of them. Here an entry takes some 30 bytes, and the header is packed while it is made.
"""

import io
import lzma
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import zstandard

SIGNATURE_SIZE = 32  # bytes at the start of the archive, which are known last

_EPOCH = 116_444_736_000_000_000  # from 1601 to 1970 in the format's ticks of 100 ns
_NAMES_AT_ONCE = 1024
_ALL_DEFINED, _NOT_ELSEWHERE = b"\1", b"\0"

Filters = Sequence[dict[str, int]]
_HEADER_FILTERS: Filters = [{"id": lzma.FILTER_LZMA2, "preset": 1}]


@dataclass(slots=True)
class SolidFolder:
    """What 7z calls a folder: content that is packed as one stream. ``filters`` are ``None`` where it is stored.

    ``size`` and ``streams`` count what lies in it, ``packed`` what became of it; bytes.
    """

    filters: Filters | None
    size: int = 0
    packed: int = 0
    streams: int = 0


class SevenZipContents:
    """Collects entries in the order of their content, then writes the end of the archive and its signature."""

    def __init__(self) -> None:
        # py7zr brings half a dozen libraries with it: not before a 7z is written. Its writing half is untyped.
        self._py7zr: Any = import_module("py7zr.archiveinfo")
        self._compressor: Any = import_module("py7zr.compressor")
        self._property: Any = import_module("py7zr.properties").PROPERTY
        self._count = 0
        self._names: list[str] = []
        self._packed_names: list[bytes] = []
        self._names_size = 0
        self._times = array("Q")
        self._attributes = array("I")
        self._contentless = bytearray()  # a byte per entry: 1 has no content
        self._empty_files = bytearray()  # a byte per entry without content: 0 is a directory
        self._sizes = array("Q")
        self._digests = array("I")
        self._folders: list[SolidFolder] = []

    def entry(self, name: str, attributes: int, mtime_ns: int) -> None:
        """Begin an entry; a call of ``content`` or ``no_content`` completes it."""
        self._names.append(name)
        self._count += 1
        if len(self._names) >= _NAMES_AT_ONCE:
            self._pack_names()
        self._times.append(min(max(mtime_ns // 100 + _EPOCH, 0), (1 << 64) - 1))
        self._attributes.append(attributes)

    def content(self, folder: SolidFolder, size: int, crc: int) -> None:
        """The entry's content are the next ``size`` bytes, at least one, of ``folder``. Folders come in order."""
        if not self._folders or self._folders[-1] is not folder:
            self._folders.append(folder)
        folder.size += size
        folder.streams += 1
        self._contentless.append(0)
        self._sizes.append(size)
        self._digests.append(crc)

    def no_content(self, *, directory: bool) -> None:
        """The entry is a directory or an empty file."""
        self._contentless.append(1)
        self._empty_files.append(0 if directory else 1)

    def write(self, position: int, append: Callable[[bytes], None]) -> bytes:
        """Write the header by ``append`` at ``position`` of the archive; return the signature for its start."""
        self._pack_names()
        header = self._py7zr.Header()
        if self._folders:
            header.main_streams = self._streams()
        header.files_info = SimpleNamespace(write=self._write_files)
        packer = _Packer(append)
        _, size, crc = header.write(packer, 0, encoded=False)
        packer.close()
        encoded = self._encoded(position - SIGNATURE_SIZE, packer, size, crc)
        append(encoded)
        signature = self._py7zr.SignatureHeader()
        signature.nextheaderofs = position - SIGNATURE_SIZE + packer.packed
        signature.calccrc(len(encoded), zlib.crc32(encoded))
        start = io.BytesIO()
        signature.write(start)
        return start.getvalue()

    def _pack_names(self) -> None:
        plain = "".join(name + "\0" for name in self._names).encode("utf-16-le")
        self._names_size += len(plain)
        self._packed_names.append(zstandard.ZstdCompressor(level=1).compress(plain))
        self._names = []

    def _streams(self) -> Any:
        library, folders = self._py7zr, self._folders
        streams = library.StreamsInfo()
        streams.packinfo = library.PackInfo()
        streams.packinfo.numstreams = len(folders)
        streams.packinfo.packsizes = [folder.packed for folder in folders]
        streams.packinfo.enable_digests = False
        streams.unpackinfo = library.UnpackInfo()
        streams.unpackinfo.numfolders = len(folders)
        streams.unpackinfo.folders = [self._folder(folder.filters, folder.size) for folder in folders]
        streams.substreamsinfo = library.SubstreamsInfo()
        streams.substreamsinfo.num_unpackstreams_folders = [folder.streams for folder in folders]
        streams.substreamsinfo.unpacksizes = self._sizes
        streams.substreamsinfo.digests = self._digests
        streams.substreamsinfo.digestsdefined = b"\1" * len(self._digests)
        return streams

    def _folder(self, filters: Filters | None, size: int) -> Any:
        stored = [{"id": self._compressor.FILTER_COPY}]
        folder = self._py7zr.Folder()
        folder.coders = self._compressor.SevenZipCompressor(filters=stored if filters is None else [*filters]).coders
        folder.unpacksizes = [size]
        return folder

    def _write_files(self, file: Any) -> None:
        """Which entries have no content and which of these are files, then names, times and modes (7zFormat.txt)."""
        library, property = self._py7zr, self._property
        library.write_byte(file, property.FILES_INFO)
        library.write_uint64(file, self._count)
        if self._empty_files:
            self._write_bits(file, property.EMPTY_STREAM, self._contentless)
        if any(self._empty_files):
            self._write_bits(file, property.EMPTY_FILE, self._empty_files)
        library.write_byte(file, property.NAME)
        library.write_uint64(file, len(_NOT_ELSEWHERE) + self._names_size)
        library.write_byte(file, _NOT_ELSEWHERE)
        decompressor = zstandard.ZstdDecompressor()
        for names in self._packed_names:
            file.write(decompressor.decompress(names))
        for kind, values in ((property.LAST_WRITE_TIME, self._times), (property.ATTRIBUTES, self._attributes)):
            library.write_byte(file, kind)
            library.write_uint64(file, len(_ALL_DEFINED + _NOT_ELSEWHERE) + len(values) * values.itemsize)
            file.write(_ALL_DEFINED + _NOT_ELSEWHERE)
            file.write(_little(values))
        library.write_byte(file, property.END)

    def _write_bits(self, file: Any, kind: bytes, bits: bytearray) -> None:
        self._py7zr.write_byte(file, kind)
        self._py7zr.write_uint64(file, self._py7zr.bits_to_bytes(len(bits)))
        self._py7zr.write_boolean(file, bits)

    def _encoded(self, position: int, packer: "_Packer", size: int, crc: int) -> bytes:
        """What the signature points to: that the packed header lies ``position`` bytes behind the signature."""
        streams = self._py7zr.HeaderStreamsInfo()
        streams.packinfo.packpos = position
        streams.packinfo.numstreams = 1
        streams.packinfo.packsizes = [packer.packed]
        streams.packinfo.digestdefined = [True]
        streams.packinfo.crcs = [packer.crc]
        folder = self._folder(_HEADER_FILTERS, size)
        folder.digestdefined = True
        folder.crc = crc
        streams.unpackinfo.folders = [folder]
        buffer = io.BytesIO()
        streams.write(buffer)
        return buffer.getvalue()


class _Packer:
    """A file for py7zr that packs what is written and hands it on."""

    def __init__(self, append: Callable[[bytes], None]) -> None:
        self._append = append
        self._compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[*_HEADER_FILTERS])
        self._pending = bytearray()
        self._position = 0
        self.packed = 0
        self.crc = 0

    def write(self, data: bytes) -> int:
        """Take data."""
        self._pending += data
        self._position += len(data)
        if len(self._pending) >= 1 << 16:
            self._pack()
        return len(data)

    def tell(self) -> int:
        """Bytes written, before they were packed."""
        return self._position

    def close(self) -> None:
        """Pack what is left."""
        self._pack()
        self._pass_on(self._compressor.flush())

    def _pack(self) -> None:
        self._pass_on(self._compressor.compress(self._pending))
        self._pending.clear()

    def _pass_on(self, data: bytes) -> None:
        self._append(data)
        self.packed += len(data)
        self.crc = zlib.crc32(data, self.crc)


def _little(values: "array[int]") -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()
