"""Deflate by the fastest engine at hand: ISA-L, else zlib-ng, else zlib (libraries §3.1)."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

GZIP = 31  # window bits that ask for a gzip member, as in zlib's manual
RAW = -15  # window bits that ask for deflate without header and trailer

Bytes = bytes | bytearray | memoryview


class DeflateStream(Protocol):
    """A compressor object as zlib has it."""

    def compress(self, data: Bytes, /) -> bytes:
        """Take data; return what is ready."""

    def flush(self, mode: int = ..., /) -> bytes:
        """Return what is left, ended as ``mode`` says."""


@dataclass(frozen=True, slots=True)
class Deflate:
    """One engine at one level, with the calls of zlib."""

    engine: str
    number: int
    _compress: Callable[[Bytes, int, int], bytes]
    _stream: Callable[[int, int, int], DeflateStream]

    def compress(self, data: Bytes, window_bits: int) -> bytes:
        """The whole of ``data`` as one gzip member or raw stream, by ``GZIP`` or ``RAW``."""
        return self._compress(data, self.number, window_bits)

    def stream(self, window_bits: int) -> DeflateStream:
        """A compressor for data that comes in pieces."""
        return self._stream(self.number, zlib.DEFLATED, window_bits)


def store() -> Deflate:
    """Deflate that does not compress; zlib writes such blocks as fast as any other engine."""
    return _wrap("zlib", zlib, 0)


def deflate(number: int, engines: Mapping[str, object] | None = None) -> Deflate:
    """The fastest engine for a level of deflate, 0 to 9. ``engines`` are those at hand, as ``installed`` says.

    ISA-L has levels up to 3 only: its 1 is smaller and several times faster than the 1 of the others, its 3
    stands for 4.
    """
    if engines is None:
        engines = installed()
    isal_number = {1: 1, 4: 3}.get(number)
    if isal_number is not None and "isal" in engines:
        return _wrap("isal", engines["isal"], isal_number)
    if "zlib-ng" in engines and number > 0:
        return _wrap("zlib-ng", engines["zlib-ng"], number)
    return _wrap("zlib", zlib, number)


def installed() -> Mapping[str, object]:
    """The accelerators that can be imported; wheels do not exist for every architecture."""
    found: dict[str, object] = {}
    for name, module in (("isal", "isal.isal_zlib"), ("zlib-ng", "zlib_ng.zlib_ng")):
        try:
            found[name] = import_module(module)
        except ImportError:
            continue
    return found


def crc32(data: Bytes, before: int = 0) -> int:
    """CRC-32 of ``data`` behind data whose CRC-32 is ``before``; ISA-L takes a fifth of the time of zlib."""
    return _crc32(data, before)


class _ZlibLike(Protocol):
    def compress(self, data: Bytes, level: int, wbits: int) -> bytes: ...

    def compressobj(self, level: int, method: int, wbits: int) -> DeflateStream: ...

    def crc32(self, data: Bytes, value: int, /) -> int: ...


def _wrap(name: str, module: object, number: int) -> Deflate:
    engine = cast("_ZlibLike", module)
    return Deflate(name, number, engine.compress, engine.compressobj)


_crc32 = cast("_ZlibLike", next(iter(installed().values()), zlib)).crc32
