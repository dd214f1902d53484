"""Stored files as bodies, and what a byte range means."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wings.archives.work import Unwatched
from wings.backups.protocol import ByteRange
from wings.backups.streams import FileRange, RangeNotSatisfiable, TreeFileStream, file_digest, resolve_range
from wings.errors import Damaged
from wings.host.threads import Pool, Pools


@given(st.integers(0, 200), st.integers(0, 200), st.none() | st.integers(0, 200))
def test_ranges_are_python_slices(size: int, first: int, last: int | None) -> None:
    data = bytes(number % 251 for number in range(size))
    wanted = data[first : None if last is None else last + 1]
    try:
        start, length = resolve_range(ByteRange(first, last), size)
    except RangeNotSatisfiable:
        assert wanted == b""
    else:
        assert data[start : start + length] == wanted and length > 0


@given(st.integers(0, 200), st.integers(0, 300))
def test_suffixes_are_the_end(size: int, suffix: int) -> None:
    data = bytes(number % 251 for number in range(size))
    try:
        start, length = resolve_range(ByteRange(suffix=suffix), size)
    except RangeNotSatisfiable:
        assert suffix == 0 or size == 0
    else:
        assert data[start : start + length] == data[-suffix:]


async def test_a_body_that_got_shorter_raises(tmp_path: Path) -> None:
    """W-20: fewer bytes than announced are an error, never a clean end."""
    path = tmp_path / "archive"
    path.write_bytes(os.urandom(3 << 20))
    with Pools(archive=1) as pools:
        stream = FileRange.open(path, None).stream(pools, Pool.BROWSE)
        got = 0
        with pytest.raises(Damaged, match="became shorter"):
            async for chunk in stream:
                got += len(chunk)
                os.truncate(path, 2 << 20)
        assert got == 2 << 20


async def test_a_file_that_ends_early_raises(tmp_path: Path) -> None:
    """W-20: also when the source itself believes that it is through."""

    class Short:
        def __init__(self) -> None:
            self.closed = False
            self.chunks = [b"abc"]

        def read(self, size: int, /) -> bytes:
            return self.chunks.pop() if self.chunks else b""

        def close(self) -> None:
            self.closed = True

    short = Short()
    with Pools(archive=1) as pools, pytest.raises(Damaged, match="only 3 of 5"):
        async for _ in TreeFileStream(short, 5, pools, Pool.BROWSE):
            pass
    assert short.closed


async def test_stopping_early_releases_the_file(tmp_path: Path) -> None:
    """P6: a client that goes away leaves no descriptor behind."""
    path = tmp_path / "archive"
    path.write_bytes(os.urandom(3 << 20))
    before = len(os.listdir("/proc/self/fd"))
    with Pools(archive=1) as pools:
        stream = FileRange.open(path, ByteRange(5, 9)).stream(pools, Pool.BROWSE)
        await stream.aclose()
        await stream.aclose()
        assert len(os.listdir("/proc/self/fd")) == before


def test_digest(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    data = os.urandom((2 << 20) + 17)
    path.write_bytes(data)
    for name in ("sha256", "sha1"):
        assert file_digest(path, name, Unwatched()) == hashlib.new(name, data).hexdigest()
