"""Decoding chains of members: what is tolerated, and that damage is never taken for an end (W-12)."""

import bz2
import gzip
import io
import lzma
import random
import subprocess
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import lzip
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archives.listed import Counted
from wings.archives.decoders import open_decoder
from wings.archives.formats import Compression
from wings.archives.work import Unwatched
from wings.errors import Cancelled, Damaged, Unsupported

PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZ: lambda data: gzip.compress(data, 1, mtime=0),
    Compression.XZ: lambda data: lzma.compress(data, preset=0),
    Compression.LZIP: lambda data: bytes(lzip.compress_to_buffer(data, 0)),
    Compression.BZ2: lambda data: bz2.compress(data, 1),
    Compression.ZSTD: lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
    Compression.LZ4: lambda data: bytes(lz4.frame.compress(data, content_checksum=True)),
}
ALL = pytest.mark.parametrize("compression", PACK, ids=str)
THREADS = pytest.mark.parametrize("threads", [1, 4])


def sample(size: int = 1_000_000, seed: int = 1) -> bytes:
    """Half noise, half repetition."""
    chance = random.Random(seed)
    parts = []
    left = size
    while left > 0:
        piece = chance.randbytes(5000) if chance.random() < 0.5 else bytes([chance.randrange(256)]) * 7000
        parts.append(piece[:left])
        left -= len(piece)
    return b"".join(parts)


def pack(data: bytes, compression: Compression, member: int) -> bytes:
    """A chain of members of ``member`` bytes each."""
    return b"".join(PACK[compression](data[at : at + member]) for at in range(0, len(data), member))


def decoded(
    packed: bytes, compression: Compression, threads: int = 1, on_member: Callable[[int, int], None] | None = None
) -> bytes:
    parts = []
    with open_decoder(
        io.BytesIO(packed), compression, threads=threads, work=Unwatched(), on_member=on_member
    ) as decoder:
        while part := decoder.next_block():
            parts.append(part)
    return b"".join(parts)


def expect_damage(packed: bytes, compression: Compression, threads: int = 1) -> str:
    with pytest.raises(Damaged) as caught:
        decoded(packed, compression, threads)
    return str(caught.value)


@ALL
@THREADS
def test_one_member_and_many_members_decode_to_the_same(compression: Compression, threads: int) -> None:
    data = sample()
    for member in (len(data), 300_000):
        assert decoded(pack(data, compression, member), compression, threads) == data


@ALL
@THREADS
def test_positions_of_members_are_exact(compression: Compression, threads: int) -> None:
    data = sample(2_000_000)
    members = [PACK[compression](data[at : at + 300_000]) for at in range(0, len(data), 300_000)]
    seen: list[tuple[int, int]] = []
    decoded(b"".join(members), compression, threads, lambda start, position: seen.append((start, position)))
    positions = [sum(map(len, members[:number])) for number in range(len(members))]
    assert seen == [(300_000 * number, position) for number, position in enumerate(positions)]


@ALL
@THREADS
def test_truncation_anywhere_is_damage(compression: Compression, threads: int) -> None:
    """W-12: a stream that ends in the middle of a member is damaged, wherever it was cut."""
    data = sample(300_000)
    packed = pack(data, compression, 200_000)
    first = len(PACK[compression](data[:200_000]))
    chance = random.Random(2)
    for cut in {
        1,
        5,
        20,
        first + 1,
        first + 7,
        len(packed) - 9,
        *(chance.randrange(1, len(packed)) for _ in range(20)),
    }:
        if cut == first or len(packed) - cut <= 8:
            continue  # between members only the tar inside can tell; an lz4 end mark may be missing
        assert "damaged" in expect_damage(packed[:cut], compression, threads)


@ALL
def test_flipped_bits_never_give_other_data(compression: Compression) -> None:
    """W-12: with any bit flipped the data comes out unchanged (in fields that mean nothing) or not at all."""
    data = sample(60_000)
    packed = pack(data, compression, 40_000)
    chance = random.Random(3)
    caught = 0
    for _ in range(60):
        damaged = bytearray(packed)
        damaged[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
        try:
            assert decoded(bytes(damaged), compression) == data
        except Damaged:
            caught += 1
    assert caught > 55


@ALL
def test_zero_padding_behind_the_end_is_tolerated(compression: Compression) -> None:
    data = sample(50_000)
    packed = pack(data, compression, 30_000)
    assert decoded(packed + bytes(512), compression) == data
    assert decoded(packed + bytes(1_000_000), compression, 4) == data


@ALL
@THREADS
def test_anything_else_behind_the_end_is_damage(compression: Compression, threads: int) -> None:
    """W-12: a flipped bit in the first bytes of a member looks like garbage behind the end, so that is no end."""
    packed = pack(sample(50_000), compression, 30_000)
    for garbage in (b"garbage!", b"x", bytes(100) + b"garbage", bytes(3) + PACK[compression](b"x")):
        expect_damage(packed + garbage, compression, threads)


@ALL
def test_nothing_at_all_is_damage(compression: Compression) -> None:
    assert "empty" in expect_damage(b"", compression)
    expect_damage(bytes(1000), compression)
    expect_damage(b"not compressed at all, certainly", compression)


def test_the_position_of_the_damage_is_told() -> None:
    """W-12: the message says where."""
    members = [PACK[Compression.GZ](sample(100_000, seed)) for seed in range(3)]
    position = len(members[0]) + len(members[1])
    assert f"byte {position}:" in expect_damage(members[0] + members[1] + b"XX" + members[2][2:], Compression.GZ)
    assert f"byte {position + 50}:" in expect_damage(members[0] + members[1] + members[2][:50], Compression.GZ)


def test_xz_stream_padding() -> None:
    """Zero bytes between xz streams are part of the format, in multiples of 4."""
    one, other = lzma.compress(b"one"), lzma.compress(b"other")
    assert decoded(one + bytes(8) + other + bytes(4), Compression.XZ) == b"oneother"
    expect_damage(one + bytes(6) + other, Compression.XZ)


def test_zstd_and_lz4_skippable_frames() -> None:
    """Frames for other programs are passed over, at the start, between frames and at the end."""
    for compression, magic in ((Compression.ZSTD, 0x184D2A50), (Compression.LZ4, 0x184D2A5F)):
        skippable = magic.to_bytes(4, "little") + (10).to_bytes(4, "little") + b"0123456789"
        one, other = PACK[compression](b"one"), PACK[compression](b"other")
        assert decoded(skippable + one + skippable + skippable + other + skippable, compression) == b"oneother"
        expect_damage(one + skippable[:-1], compression)


def test_zstd_of_unknown_size_without_checksum() -> None:
    data = sample(1_000_000)
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    packed = compressor.compress(data) + compressor.flush()
    assert decoded(packed, Compression.ZSTD) == data
    expect_damage(packed[:-1], Compression.ZSTD)


def test_sync_flushed_gzip() -> None:
    """What pigz -i and servers write: flushed again and again, with a file name in the header."""
    data = sample(500_000)
    file = io.BytesIO()
    with gzip.GzipFile("name.tar", "wb", fileobj=file) as packer:
        for at in range(0, len(data), 10_000):
            packer.write(data[at : at + 10_000])
            packer.flush(zlib.Z_SYNC_FLUSH)
    assert decoded(file.getvalue(), Compression.GZ) == data


@pytest.mark.parametrize("checksum", [True, False])
def test_a_missing_lz4_end_mark_loses_nothing(checksum: bool) -> None:
    """Backup-drivers §17: the end mark may be missing; anything more may not (W-12)."""
    data = sample(300_000)
    packed = bytes(lz4.frame.compress(data, content_checksum=checksum, block_size=lz4.frame.BLOCKSIZE_MAX64KB))
    ends = 8 if checksum else 4
    for missing in range(ends + 1):
        assert decoded(packed[: len(packed) - missing], Compression.LZ4) == data
    for missing in (ends + 1, ends + 3, ends + 4, ends + 100, len(packed) - 4):
        expect_damage(packed[: len(packed) - missing], Compression.LZ4)


def test_a_bomb_does_not_fill_the_memory() -> None:
    """P6: a gigabyte of zeros in every compression comes out piece by piece."""
    zeros = bytes(32 << 20)
    for compression in (Compression.ZSTD, Compression.LZIP, Compression.GZ):
        packed = PACK[compression](zeros)
        largest = total = 0
        with open_decoder(io.BytesIO(packed * 4), compression, threads=4, work=Unwatched()) as decoder:
            while part := decoder.next_block():
                largest = max(largest, len(part))
                total += len(part)
        assert total == 4 * len(zeros)
        assert largest <= 2 << 20


def test_too_large_dictionaries_are_refused() -> None:
    """P6: an archive cannot ask for any amount of memory."""
    header = bytearray(lzip.compress_to_buffer(b"x" * 1000, 0))
    header[5] = 29
    with pytest.raises(Unsupported, match="512 MiB"):
        decoded(bytes(header), Compression.LZIP)
    huge = zstandard.ZstdCompressionParameters(window_log=29, compression_level=1, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=huge).compressobj()
    with pytest.raises(Unsupported, match="memory"):
        decoded(compressor.compress(bytes(1000)) + compressor.flush(), Compression.ZSTD)


@THREADS
def test_progress_counts_the_bytes_of_the_archive(threads: int) -> None:
    """Backup-drivers §12: a tar restore counts compressed bytes, to the last one."""
    packed = pack(sample(), Compression.XZ, 500_000)
    work = Counted()
    with open_decoder(io.BytesIO(packed), Compression.XZ, threads=threads, work=work) as decoder:
        while decoder.read(1 << 16):
            pass
    assert work.bytes == len(packed)


@THREADS
def test_cancelling_ends_all_threads(threads: int) -> None:
    """P7: cancellation reaches the consumer, and no thread stays behind."""
    before = threading.active_count()
    packed = pack(sample(), Compression.BZ2, 300_000)
    decoder = open_decoder(io.BytesIO(packed), Compression.BZ2, threads=threads, work=Counted(limit=300_000))
    with decoder, pytest.raises(Cancelled):
        while decoder.next_block():
            pass
    assert threading.active_count() == before


@THREADS
def test_closing_early_ends_all_threads(threads: int) -> None:
    before = threading.active_count()
    packed = pack(sample(10_000_000), Compression.GZ, 1_000_000)
    decoder = open_decoder(io.BytesIO(packed), Compression.GZ, threads=threads, work=Unwatched())
    assert decoder.read(10) == sample(10_000_000)[:10]
    decoder.close()
    decoder.close()
    assert threading.active_count() == before


def test_errors_of_the_file_come_through() -> None:
    """A broken disk is not a damaged archive."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    decoder = open_decoder(Broken(), Compression.GZ, threads=1, work=Unwatched())
    with decoder, pytest.raises(OSError, match="Input/output error"):
        decoder.read(1)


def test_landmarks_inside_the_data_do_no_harm() -> None:
    """What looks like the start of a member in the middle of one is not taken for one."""
    fake = {
        Compression.GZ: b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        Compression.XZ: b"\xfd7zXZ\x00",
        Compression.ZSTD: b"\x28\xb5\x2f\xfd",
    }
    for compression, start in fake.items():
        data = b"".join(random.Random(number).randbytes(90_000) + start for number in range(12))
        for member in (len(data), 500_000):
            if compression is Compression.GZ:
                packed = b"".join(
                    gzip.compress(data[at : at + member], 0, mtime=0) for at in range(0, len(data), member)
                )
            else:
                packed = pack(data, compression, member)
            assert start in packed[10:]
            assert decoded(packed, compression, 4) == data


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(PACK)),
    st.lists(st.binary(max_size=3000), min_size=1, max_size=6),
    st.integers(1, 4000),
    st.integers(1, 4),
)
def test_any_split_of_members_and_reads(compression: Compression, parts: list[bytes], step: int, threads: int) -> None:
    """However members and reads fall, the bytes are the same."""
    packed = b"".join(map(PACK[compression], parts))

    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(step)

    out = b""
    with open_decoder(Dripping(packed), compression, threads=threads, work=Unwatched()) as decoder:
        while part := decoder.read(step):
            out += part
    assert out == b"".join(parts)


@pytest.mark.parametrize(
    ("command", "compression"),
    [
        pytest.param("pigz -1 -p2 -b128", Compression.GZ, marks=pytest.mark.peer("pigz"), id="pigz"),
        pytest.param("pigz -i -p2 -b128", Compression.GZ, marks=pytest.mark.peer("pigz"), id="pigz independent"),
        pytest.param("pbzip2 -1 -p2 -b1 -c", Compression.BZ2, marks=pytest.mark.peer("pbzip2"), id="pbzip2"),
        pytest.param("xz -1 -T2 --block-size=300KiB", Compression.XZ, marks=pytest.mark.peer("xz"), id="xz -T"),
        pytest.param("plzip -1 -n2 -B 200KiB", Compression.LZIP, marks=pytest.mark.peer("plzip"), id="plzip"),
        pytest.param("zstd -3 -T2 -q", Compression.ZSTD, marks=pytest.mark.peer("zstd"), id="zstd -T"),
        pytest.param("zstd -q --long=27", Compression.ZSTD, marks=pytest.mark.peer("zstd"), id="zstd long"),
        pytest.param("lz4 -1 -q -BD -B4", Compression.LZ4, marks=pytest.mark.peer("lz4"), id="lz4 dependent"),
        pytest.param("lz4 -9 -q -BX --content-size -", Compression.LZ4, marks=pytest.mark.peer("lz4"), id="lz4"),
    ],
)
@THREADS
def test_streams_of_the_real_tools(command: str, compression: Compression, threads: int, tmp_path: Path) -> None:
    """Backup-drivers §17: what parallel compressors write, alone and concatenated."""
    data = sample()
    packed = subprocess.run(command.split(), input=data, stdout=subprocess.PIPE, check=True).stdout
    assert decoded(packed, compression, threads) == data
    assert decoded(packed + packed, compression, threads) == data + data
    expect_damage(packed[: len(packed) // 2], compression, threads)
