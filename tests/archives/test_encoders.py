"""Blocks become members, frames and streams that every reader takes, alone and concatenated."""

import bz2
import gzip
import lzma
import random
import zlib
from collections.abc import Callable

import lz4.frame
import lzip
import pytest
import zstandard

from wings.archives.blocks import Block
from wings.archives.encoders import MIB, encoding_for
from wings.archives.formats import Compression, CompressionLevel

WORDS = [bytes(random.Random(word).choices(b"etaoinshrdlu", k=2 + word % 9)) for word in range(3000)]


def text(size: int, seed: int = 1) -> bytes:
    return b" ".join(random.Random(seed).choices(WORDS, k=size // 4))[:size].ljust(size)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def mixed(size: int) -> bytes:
    """Runs of 64 KiB in turn, at no even offset, as region files in a tar."""
    runs = [text(65536, n) if n % 2 else noise(65536, n) for n in range(size // 65536 + 1)]
    return b"".join(runs)[777 : size + 777]


def unzstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data, read_across_frames=True) as reader:
        return reader.read()


def unlz4(data: bytes) -> bytes:
    """One frame and nothing behind it."""
    decompressor = lz4.frame.LZ4FrameDecompressor()
    plain = decompressor.decompress(data)
    assert decompressor.eof
    assert decompressor.unused_data in (None, b"")
    return bytes(plain)


DECODERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZ: gzip.decompress,
    Compression.XZ: lzma.decompress,
    Compression.LZIP: lambda data: bytes(lzip.decompress_buffer(data)),
    Compression.BZ2: bz2.decompress,
    Compression.LZ4: unlz4,
    Compression.ZSTD: unzstd,
}


def encode(compression: Compression, level: CompressionLevel, *contents: bytes) -> tuple[bytes, list[bytes]]:
    """The whole output, and what became of each block."""
    encoding = encoding_for(compression, level)
    encoder = encoding.encoder()
    blocks = []
    for content in contents:
        block: Block[None] = Block(encoding.block_size)
        block.buffer[: len(content)] = content
        block.length = len(content)
        blocks.append(b"".join(encoder(block)))
    return encoding.head + b"".join(blocks) + encoding.tail, blocks


@pytest.mark.parametrize("level", CompressionLevel)
@pytest.mark.parametrize("compression", Compression)
def test_what_is_encoded_decodes(compression: Compression, level: CompressionLevel) -> None:
    contents = [mixed(300_000), b"x", noise(100_000), text(50_000), bytes(200_000)]
    whole, _ = encode(compression, level, *contents)
    assert DECODERS[compression](whole) == b"".join(contents)


@pytest.mark.parametrize("compression", [one for one in Compression if one is not Compression.NONE])
def test_every_block_decodes_alone(compression: Compression) -> None:
    """This is what makes browsing a tar cheap: one file costs its blocks, not the archive."""
    encoding = encoding_for(compression, CompressionLevel.BEST_SPEED)
    contents = [mixed(200_000), text(150_000), noise(130_000)]
    _, blocks = encode(compression, CompressionLevel.BEST_SPEED, *contents)
    for block, content in zip(blocks, contents, strict=True):
        assert DECODERS[compression](encoding.head + block + encoding.tail) == content


def test_blocks_are_large() -> None:
    """W-23: blocks of MiB, not 16 KiB, so that nothing is lost by compressing them apart."""
    for compression in Compression:
        assert encoding_for(compression, CompressionLevel.BEST_SPEED).block_size >= 890_000
    for compression in (Compression.XZ, Compression.LZIP, Compression.ZSTD):
        assert encoding_for(compression, CompressionLevel.BEST_COMPRESSION).block_size == 2 * MIB
    content = text(2 * MIB)
    whole, _ = encode(Compression.XZ, CompressionLevel.BEST_SPEED, content)
    assert len(whole) < len(lzma.compress(content, preset=1)) * 1.01


def test_gzip_is_no_larger_than_zlib_at_the_same_level() -> None:
    """W-58: the output is not larger than what pigz -1, that is zlib's level 1, makes of it."""
    for content in (mixed(MIB), text(MIB), noise(MIB)):
        whole, _ = encode(Compression.GZ, CompressionLevel.BEST_SPEED, content)
        assert len(whole) < len(zlib.compress(content, 1)) * 1.001


@pytest.mark.parametrize(
    "compression", [Compression.GZ, Compression.XZ, Compression.LZ4, Compression.ZSTD, Compression.LZIP]
)
def test_what_does_not_compress_hardly_grows(compression: Compression) -> None:
    content = noise(MIB)
    whole, _ = encode(compression, CompressionLevel.BEST_SPEED, content)
    assert len(whole) < len(content) * (1.02 if compression is Compression.LZIP else 1.001)


def test_store_does_not_compress_gzip() -> None:
    whole, _ = encode(Compression.GZ, CompressionLevel.STORE, text(500_000))
    assert 500_000 < len(whole) < 500_200
    assert whole[:2] == b"\x1f\x8b"


def test_zstd_frames_are_checked_and_have_a_window_that_every_decoder_allows() -> None:
    """backup-drivers §17: no window above 2^27."""
    for level in CompressionLevel:
        encoding = encoding_for(Compression.ZSTD, level)
        _, (block,) = encode(Compression.ZSTD, level, bytes(encoding.block_size))
        parameters = zstandard.get_frame_parameters(block)
        assert parameters.window_size <= 1 << 27
        assert parameters.has_checksum


def test_xz_is_checked_by_crc64() -> None:
    whole, _ = encode(Compression.XZ, CompressionLevel.BEST_SPEED, text(5000))
    decompressor = lzma.LZMADecompressor()
    decompressor.decompress(whole)
    assert decompressor.check == lzma.CHECK_CRC64


def test_lz4_is_one_frame_of_checked_independent_blocks() -> None:
    """backup-drivers §17: exactly one frame; what the frame leaves out of checks its blocks have."""
    whole, blocks = encode(Compression.LZ4, CompressionLevel.BEST_SPEED, text(5 * MIB)[: 4 * MIB], mixed(900_000))
    info = lz4.frame.get_frame_info(whole)
    assert info["block_linked"] is False
    assert info["block_checksum"] is True
    assert info["content_checksum"] is False
    assert whole.count(whole[:7]) == 1
    damaged = bytearray(whole)
    damaged[len(blocks[0]) // 2] ^= 0x10
    with pytest.raises(RuntimeError, match=r"(?i)error"):
        unlz4(bytes(damaged))


def test_a_flipped_bit_is_found_in_every_format() -> None:
    for compression in Compression:
        if compression is Compression.NONE:
            continue
        whole, _ = encode(compression, CompressionLevel.BEST_SPEED, text(100_000))
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 0x04
        with pytest.raises(
            (OSError, EOFError, RuntimeError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
        ):
            DECODERS[compression](bytes(damaged))
