"""Decoding one compressed member: a gzip member, an xz or bzip2 stream, a lzip member, a zstd or lz4 frame.

Every codec decodes with bounded output per step, because an archive may be made to burst the memory, and
tells exactly where its member ends, because archives are chains of members (backup-drivers §17).
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import lz4.frame
import zstandard
from isal import igzip_lib

from wings.archives.formats import Compression
from wings.errors import Unsupported

MEMORY_LIMIT = 160 << 20  # for one decoder: xz -9 takes 65 MiB, a zstd window of the usual limit 2^27 128 MiB
_WINDOW = 1 << 27
LANDMARK = 10  # bytes; the longest landmark is bzip2's
_ZSTD_BLOCK = 128 << 10  # no zstd block unpacks to more (RFC 8878 §3.1.1.2.4)
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # frames for other programs, in zstd and lz4 alike
_LZIP_TRAILER = 20  # CRC-32, size of the data, size of the member


class Member(Protocol):
    """Decodes one member; the interface of the standard library's decompressors."""

    @property
    def eof(self) -> bool:
        """The member is complete and its checksum was right."""

    @property
    def needs_input(self) -> bool:
        """Whether more input must come before there is more output."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond the end of the member."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take ``data`` and return about ``max_length`` bytes at most; the rest comes with further calls."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How members of one compression begin, and how to decode them.

    ``magic`` matches the start of a member within ``head`` bytes. ``landmark`` matches it too, and hardly
    anything else within ``LANDMARK`` bytes: what to look for when members are decoded ahead, which pays from
    ``worth_threads`` threads on; ``None`` where it never does. ``errors`` are what ``Member.decompress``
    raises for bad data. ``unmarked_end`` says whether a member that is not complete has lost no more than its end mark.
    ``inner_padding``: zero bytes may stand between members, a multiple of 4.
    """

    name: str
    magic: re.Pattern[bytes]
    head: int
    open: Callable[[bytes], Member]
    errors: tuple[type[Exception], ...]
    landmark: re.Pattern[bytes] | None = None
    worth_threads: int = 2
    unmarked_end: Callable[[Member], bool] = lambda _: False
    inner_padding: bool = False


class _Skippable:
    """A frame that holds nothing for us."""

    eof = False
    needs_input = True
    unused_data = b""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if len(self._head) < 8:
            missing = 8 - len(self._head)
            self._head += data[:missing]
            data = data[missing:]
            if len(self._head) < 8:
                return b""
            self._left = int.from_bytes(self._head[4:], "little")
        skipped = min(self._left, len(data))
        self._left -= skipped
        if not self._left:
            self.eof = True
            self.needs_input = False
            self.unused_data = data[skipped:]
        return b""


class _LzipMember:
    """lzip is a header, an LZMA stream with fixed properties and a trailer (manual of lzip, "File format")."""

    def __init__(self) -> None:
        self.eof = False
        self.unused_data = b""
        self._head = b""
        self._tail = b""
        self._lzma: lzma.LZMADecompressor | None = None
        self._crc = 0
        self._size = 0
        self._fed = 0

    @property
    def needs_input(self) -> bool:
        if self._lzma is None:
            return True
        return not self.eof if self._lzma.eof else self._lzma.needs_input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._fed += len(data)
        if self._lzma is None:
            data = self._head + data
            if len(data) < 6:
                self._head = data
                return b""
            self._lzma = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_lzip_filter(data[5])])
            data = data[6:]
        in_trailer = self._lzma.eof
        if in_trailer:
            self._finish(self._tail + data)
            return b""
        out = self._lzma.decompress(data, max_length)
        self._crc = zlib.crc32(out, self._crc)
        self._size += len(out)
        if self._lzma.eof:
            self._finish(self._lzma.unused_data)
        return out

    def _finish(self, tail: bytes) -> None:
        self._tail = tail
        if len(tail) < _LZIP_TRAILER:
            return
        self.unused_data = tail[_LZIP_TRAILER:]
        crc, size, whole = (int.from_bytes(tail[a:b], "little") for a, b in ((0, 4), (4, 12), (12, 20)))
        if crc != self._crc or size != self._size or whole != self._fed - len(self.unused_data):
            raise lzma.LZMAError("checksum or size of the member is wrong")
        self.eof = True


def _lzip_filter(coded: int) -> dict[str, int]:
    size = 1 << (coded & 0x1F)
    size -= size // 16 * (coded >> 5)
    if not 1 << 12 <= size <= 1 << 29:
        raise lzma.LZMAError("impossible dictionary size")
    if size > MEMORY_LIMIT:
        raise Unsupported(f"this lzip archive needs a dictionary of {size >> 20} MiB, more than is allowed here")
    return {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": 3, "lp": 0, "pb": 2}


class _ZstdFrame:
    """Feeds the library whole blocks, so that one call never returns more than was asked for (RFC 8878 §3.1.1)."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj(write_size=1 << 20)
        self._pending = b""
        self._at = 0
        self._in_blocks = False
        self._checksum = 0
        self._last = False
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._pending = self._pending[self._at :] + data
            self._at = 0
        stop = self._measure(max(max_length // _ZSTD_BLOCK, 1))
        self.needs_input = stop == self._at
        if self.needs_input:
            return b""
        out = self._frame.decompress(memoryview(self._pending)[self._at : stop])
        self._at = stop
        if self._frame.eof:
            self.eof = True
            self.unused_data = self._pending[stop:]
        return out

    def _measure(self, blocks: int) -> int:
        """Where the next ``blocks`` blocks end in what is pending, as far as they are there."""
        pending, at = self._pending, self._at
        if not self._in_blocks:
            if len(pending) < at + 5:
                return at
            descriptor = pending[at + 4]
            single = descriptor >> 5 & 1
            size = 6 - single + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
            if len(pending) < at + size:
                return at
            self._checksum = 4 * (descriptor >> 2 & 1)
            self._in_blocks = True
            at += size
        while blocks and not self._last and len(pending) >= at + 3:
            header = pending[at] | pending[at + 1] << 8 | pending[at + 2] << 16
            size = 3 + (1 if header >> 1 & 3 == 1 else header >> 3)  # a repeated byte is stored once
            size += self._checksum if header & 1 else 0
            if len(pending) < at + size:
                break
            self._last = bool(header & 1)
            at += size
            blocks -= 1
        return at


def _open_gzip(head: bytes) -> Member:
    return cast("Member", igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


def _open_xz(head: bytes) -> Member:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)


def _open_lzip(head: bytes) -> Member:
    return _LzipMember()


def _open_bzip2(head: bytes) -> Member:
    return bz2.BZ2Decompressor()


def _open_zstd(head: bytes) -> Member:
    return _Skippable() if _SKIPPABLE.match(head) else _ZstdFrame()


def _open_lz4(head: bytes) -> Member:
    return _Skippable() if _SKIPPABLE.match(head) else cast("Member", lz4.frame.LZ4FrameDecompressor())


def _lz4_unmarked_end(member: Member) -> bool:
    """Whether the frame stopped behind a whole block: then zeros read as its end mark, and unpack to nothing."""
    if isinstance(member, _Skippable):
        return False
    try:
        for _ in range(2):
            if member.decompress(bytes(4), -1):
                return False
            if member.eof:
                return True
    except RuntimeError as error:
        # The zeros were taken for the content's checksum, so the end mark was all that stood before it.
        return "contentChecksum" in str(error)
    return False


_IGZIP_ERROR = cast("type[Exception]", igzip_lib.error)  # its stub calls the class an instance

_GZIP = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")
_XZ = re.compile(rb"\xfd7zXZ\x00")
_LZIP = re.compile(rb"LZIP\x01")
_BZIP2 = re.compile(rb"BZh[1-9]")
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd")
_LZ4 = re.compile(rb"\x04\x22\x4d\x18")

CODECS = {
    Compression.GZ: Codec("gzip", _GZIP, 4, _open_gzip, (_IGZIP_ERROR,), _GZIP, worth_threads=4),
    Compression.XZ: Codec("xz", _XZ, 6, _open_xz, (lzma.LZMAError,), _XZ, inner_padding=True),
    Compression.LZIP: Codec("lzip", _LZIP, 5, _open_lzip, (lzma.LZMAError,), _LZIP),
    Compression.BZ2: Codec(
        "bzip2", _BZIP2, 4, _open_bzip2, (OSError, ValueError), re.compile(_BZIP2.pattern + rb"1AY&SY")
    ),
    Compression.ZSTD: Codec(
        "zstd",
        re.compile(_ZSTD.pattern + b"|" + _SKIPPABLE.pattern),
        4,
        _open_zstd,
        (zstandard.ZstdError,),
        _ZSTD,
        worth_threads=4,
    ),
    Compression.LZ4: Codec(
        "lz4",
        re.compile(_LZ4.pattern + b"|" + _SKIPPABLE.pattern),
        4,
        _open_lz4,
        (RuntimeError, ValueError, EOFError),
        unmarked_end=_lz4_unmarked_end,
    ),
}
"""How members of each compression are decoded; everything but ``Compression.NONE``."""
