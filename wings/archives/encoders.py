"""Turning blocks of a stream into gzip members, zstd frames, xz streams and so on, each one by itself.

Concatenated in order they are one file that every reader of the format takes (backup-drivers §17), and any
of them can be unpacked alone. Encoders run in several threads at once; all engines release the GIL.
"""

import bz2
import lzma
from collections.abc import Callable

import lz4.frame
import lzip
import zstandard

from wings.archives.blocks import Block, Encoding, Pieces
from wings.archives.deflate import GZIP, deflate, store
from wings.archives.formats import Compression, CompressionLevel
from wings.archives.levels import level_number
from wings.archives.probing import STEP, Prober

MIB = 1 << 20
_LZIP_BLOCK = 2 * MIB  # its encoder takes more memory than that of xz

Encode = Callable[[Block[None]], Pieces]


def encoding_for(compression: Compression, level: CompressionLevel) -> Encoding[None]:
    """The encoding of a tar stream for this compression and level."""
    return _ENCODINGS[compression](level_number(compression, level))


def _plain() -> Encode:
    return lambda block: [memoryview(block.buffer)[: block.length]]


def _gzip(number: int) -> Encode:
    pack, keep, prober = deflate(number), store(), Prober()

    def encode(block: Block[None]) -> Pieces:
        with memoryview(block.buffer) as view:
            if number == 0:
                return [keep.compress(view[: block.length], GZIP)]
            return [
                (pack if compressible else keep).compress(view[start:end], GZIP)
                for start, end, compressible in prober.runs(block.buffer, 0, block.length)
            ]

    return encode


def _zstd(number: int) -> Encode:
    pack = zstandard.ZstdCompressor(level=number, write_checksum=True)
    keep = zstandard.ZstdCompressor(level=-50, write_checksum=True)
    # The higher levels find matches over the whole block, so only long runs are worth cutting it.
    prober = Prober(STEP if number == 1 else MIB)

    def encode(block: Block[None]) -> Pieces:
        with memoryview(block.buffer) as view:
            return [
                (pack if compressible else keep).compress(view[start:end])
                for start, end, compressible in prober.runs(block.buffer, 0, block.length)
            ]

    return encode


def _xz(number: int) -> Encode:
    filters = lzma2_filters(number)
    prober = Prober(MIB)

    def encode(block: Block[None]) -> Pieces:
        with memoryview(block.buffer) as view:
            return [
                lzma.compress(view[start:end], filters=filters if compressible else CHEAPEST_LZMA2)
                for start, end, compressible in prober.runs(block.buffer, 0, block.length)
            ]

    return encode


# For data that does not compress: LZMA2 stores it, this only shortens how it finds out.
CHEAPEST_LZMA2 = [
    {
        "id": lzma.FILTER_LZMA2,
        "dict_size": 4096,
        "lc": 0,
        "lp": 0,
        "pb": 0,
        "mode": lzma.MODE_FAST,
        "mf": lzma.MF_HC3,
        "nice_len": 3,
        "depth": 1,
    }
]


def lzma_block_size(number: int) -> int:
    """Bytes of a block for LZMA at a level.

    From preset 4 on an encoder takes twelve times its dictionary, and there is one per thread.
    """
    return 4 * MIB if number <= 1 else 2 * MIB


def lzma2_filters(number: int) -> list[dict[str, int]]:
    """A preset of xz with a dictionary no larger than the block, which could not use more."""
    dictionary = min(_dictionary(number), lzma_block_size(number))
    return [{"id": lzma.FILTER_LZMA2, "preset": number, "dict_size": dictionary}]


def _dictionary(number: int) -> int:
    """Dictionary of an xz preset in bytes (xz manual, table of presets); levels in use only."""
    return {0: 256 << 10, 1: MIB, 4: 4 * MIB, 6: 8 * MIB, 9: 64 * MIB}[number]


def _lzip(number: int) -> Encode:
    dictionary, longest_match = lzip.level_to_dictionary_size_and_match_len_limit[number]
    settings = (min(dictionary, _LZIP_BLOCK), longest_match)
    cheapest = lzip.level_to_dictionary_size_and_match_len_limit[0]
    prober = Prober(MIB)

    def encode(block: Block[None]) -> Pieces:
        with memoryview(block.buffer) as view:
            return [
                _lzip_member(view[start:end], settings if compressible else cheapest)
                for start, end, compressible in prober.runs(block.buffer, 0, block.length)
            ]

    return encode


def _lzip_member(data: memoryview, settings: tuple[int, int]) -> bytes:
    packed: bytes = lzip.compress_to_buffer(data, settings)
    return packed


def _bzip2(number: int) -> Encode:
    def encode(block: Block[None]) -> Pieces:
        with memoryview(block.buffer) as view:
            return [bz2.compress(view[: block.length], number)]

    return encode


def _lz4_begin(number: int) -> tuple[object, bytes]:
    """A new frame of independent blocks: its context, and its header, which is the same for every frame."""
    context = lz4.frame.create_compression_context()
    head: bytes = lz4.frame.compress_begin(
        context,
        compression_level=number,
        block_size=lz4.frame.BLOCKSIZE_MAX4MB,
        block_linked=False,
        content_checksum=False,
        block_checksum=True,
        auto_flush=True,
    )
    return context, head


def _lz4(number: int) -> Encode:
    """One frame is allowed (§17): each block is packed in a frame of its own, of which only the blocks are kept.

    That is right because blocks are independent and the frame has neither a content size nor a checksum of
    the content, only one per block.
    """

    def encode(block: Block[None]) -> Pieces:
        context, _ = _lz4_begin(number)
        with memoryview(block.buffer) as view:
            return [lz4.frame.compress_chunk(context, view[: block.length])]

    return encode


def _lz4_encoding(number: int) -> Encoding[None]:
    context, head = _lz4_begin(number)
    return Encoding(4 * MIB, lambda: _lz4(number), head, lz4.frame.compress_flush(context))


_ENCODINGS: dict[Compression, Callable[[int], Encoding[None]]] = {
    Compression.NONE: lambda number: Encoding(MIB, _plain, work=False),
    Compression.GZ: lambda number: Encoding(MIB, lambda: _gzip(number)),
    Compression.ZSTD: lambda number: Encoding(2 * MIB, lambda: _zstd(number)),
    Compression.XZ: lambda number: Encoding(lzma_block_size(number), lambda: _xz(number)),
    Compression.LZIP: lambda number: Encoding(_LZIP_BLOCK, lambda: _lzip(number)),
    # A bzip2 block holds 19 bytes less than its name says; as many whole ones as fit into 900 kB.
    Compression.BZ2: lambda number: Encoding((100_000 * number - 19) * (9 // number), lambda: _bzip2(number)),
    Compression.LZ4: _lz4_encoding,
}
