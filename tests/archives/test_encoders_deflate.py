"""The engine for deflate, and what happens where an engine is missing."""

import random
import zlib

import pytest

from wings.archives.deflate import GZIP, RAW, crc32, deflate, installed, store

CONTENT = random.Random(5).randbytes(3000) * 30 + b"tail"


def engine(number: int, *names: str) -> str:
    return deflate(number, {name: module for name, module in installed().items() if name in names}).engine


def test_the_fastest_engine_is_taken() -> None:
    """libraries §3.1: ISA-L for the fast levels, zlib-ng for the dense ones, zlib where there is nothing else."""
    everything = ("isal", "zlib-ng")
    assert [engine(number, *everything) for number in (0, 1, 4, 6, 9)] == ["zlib", "isal", "isal", "zlib-ng", "zlib-ng"]
    assert [engine(number, "zlib-ng") for number in (0, 1, 4, 6, 9)] == ["zlib", *["zlib-ng"] * 4]
    assert [engine(number) for number in (0, 1, 4, 6, 9)] == ["zlib"] * 5


@pytest.mark.parametrize("names", [("isal", "zlib-ng"), ("zlib-ng",), ()])
@pytest.mark.parametrize("number", [0, 1, 4, 6, 9])
def test_all_engines_write_what_zlib_reads(number: int, names: tuple[str, ...]) -> None:
    one = deflate(number, {name: module for name, module in installed().items() if name in names})
    assert zlib.decompress(one.compress(CONTENT, GZIP), GZIP) == CONTENT
    assert zlib.decompress(one.compress(CONTENT, RAW), RAW) == CONTENT


@pytest.mark.parametrize("names", [("isal",), ("zlib-ng",), ()])
def test_parts_that_end_with_a_sync_flush_can_be_joined(names: tuple[str, ...]) -> None:
    one = deflate(1, {name: module for name, module in installed().items() if name in names})
    joined = b""
    for engine in (one, store(), one):
        stream = engine.stream(RAW)
        joined += stream.compress(CONTENT) + stream.flush(zlib.Z_SYNC_FLUSH)
    assert zlib.decompress(joined + store().compress(b"", RAW), RAW) == CONTENT * 3


def test_crc32_is_the_usual_one() -> None:
    assert crc32(CONTENT[100:], crc32(CONTENT[:100])) == zlib.crc32(CONTENT)
