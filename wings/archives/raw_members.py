"""Decoders for the bare compressed data inside zip and 7z, where the container holds sizes and checksums."""

import bz2
import lzma
from typing import cast

import zstandard
from isal import igzip_lib

from wings.archives.members import MEMORY_LIMIT, Member
from wings.errors import Unsupported

_DEFLATE64_STEP = 256  # bytes fed at once: each bit may stand for 64 KiB and the library knows no limit


class Copied:
    """Stored without compression."""

    eof = False
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Hand on what came."""
        return data


class Deflate64:
    """Deflate with a window of 64 KiB, as Windows writes it for files over 2 GiB."""

    unused_data = b""

    def __init__(self) -> None:
        from inflate64 import Inflater  # noqa: PLC0415  # needed by hardly anybody, comes with py7zr

        self._inflater = Inflater()
        self._pending = b""

    @property
    def eof(self) -> bool:
        """Whether the last block was complete."""
        return bool(self._inflater.eof)

    @property
    def needs_input(self) -> bool:
        """Whether all input was used."""
        return not self._pending

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Feed a little at a time until about ``max_length`` bytes came out."""
        pending = self._pending + data
        out: list[bytes] = []
        size = at = 0
        while at < len(pending) and size < max_length and not self._inflater.eof:
            part = self._inflater.inflate(pending[at : at + _DEFLATE64_STEP])
            at += _DEFLATE64_STEP
            size += len(part)
            out.append(part)
        self._pending = pending[at:]
        return b"".join(out)


def deflate() -> Member:
    """Raw deflate."""
    return cast("Member", igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE))


def bzip2() -> Member:
    """One bzip2 stream."""
    return bz2.BZ2Decompressor()


def lzma_member(filters: list[dict[str, int]]) -> Member:
    """LZMA, LZMA2 and the filters before them, given as the ``lzma`` module wants them."""
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


def lzma1_filter(properties: bytes) -> dict[str, int]:
    """Five bytes: coded parameters and the size of the dictionary. Raises ``ValueError``, ``Unsupported``."""
    if len(properties) != 5 or properties[0] >= 9 * 5 * 5:
        raise ValueError("impossible LZMA properties")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    size = int.from_bytes(properties[1:], "little")
    return {"id": lzma.FILTER_LZMA1, "dict_size": _allowed(max(size, 4096)), "lc": lc, "lp": lp, "pb": pb}


def lzma2_filter(properties: bytes) -> dict[str, int]:
    """One byte: the coded size of the dictionary. Raises ``ValueError``, ``Unsupported``."""
    if len(properties) != 1 or properties[0] > 40:
        raise ValueError("impossible LZMA2 properties")
    bits = properties[0]
    size = (1 << 32) - 1 if bits == 40 else (2 | bits & 1) << (bits // 2 + 11)
    return {"id": lzma.FILTER_LZMA2, "dict_size": _allowed(size)}


def _allowed(size: int) -> int:
    if size > MEMORY_LIMIT:
        raise Unsupported(f"the archive needs a dictionary of {size >> 20} MiB to unpack, more than is allowed here")
    return size


DATA_ERRORS: tuple[type[Exception], ...] = (
    cast("type[Exception]", igzip_lib.error),
    lzma.LZMAError,
    OSError,  # bz2
    EOFError,
    ValueError,
    RuntimeError,  # inflate64
    zstandard.ZstdError,
)
"""What the decoders of this module, and those of zstd and xz, raise for bad data."""
