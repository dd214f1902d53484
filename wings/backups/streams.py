"""Stored files as bodies for the outside, and their digests."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from wings.archives.work import Work
from wings.backups.protocol import ByteRange, FileStream, TreeFile
from wings.errors import Damaged, InvalidInput, shown
from wings.host.threads import Pool, Pools

CHUNK = 1 << 20  # bytes per hop between a worker thread and the event loop


class RangeNotSatisfiable(InvalidInput):
    """The range lies outside of the file."""

    code = "range_not_satisfiable"
    http_status = 416


def resolve_range(range: ByteRange | None, size: int) -> tuple[int, int]:
    """First byte and length that a range means for a body of ``size`` bytes. Raises ``RangeNotSatisfiable``."""
    if range is None:
        return 0, size
    if range.suffix is not None:
        first = max(size - range.suffix, 0)
        length = size - first
    else:
        first = range.first
        last = size - 1 if range.last is None else min(range.last, size - 1)
        length = last - first + 1
    if length <= 0 or first >= size:
        raise RangeNotSatisfiable(f"the range asked for lies outside of the {size} bytes there are")
    return first, length


@dataclass(slots=True)
class FileRange:
    """A part of a stored file, opened. ``first`` and ``last`` are ``None`` when it is the whole."""

    path: Path
    descriptor: int
    size: int
    start: int
    length: int
    first: int | None
    last: int | None

    @classmethod
    def open(cls, path: Path, range: ByteRange | None) -> "FileRange":
        """Open ``path``; synchronous. Raises ``RangeNotSatisfiable``."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            start, length = resolve_range(range, size)
        except BaseException:
            os.close(descriptor)
            raise
        whole = range is None
        return cls(
            path, descriptor, size, start, length, None if whole else start, None if whole else start + length - 1
        )

    def stream(self, pools: Pools, pool: Pool) -> FileStream:
        """The bytes, read on a worker thread."""
        return TreeFileStream(_OpenRange(self), self.length, pools, pool)


class _OpenRange:
    def __init__(self, opened: FileRange) -> None:
        self._descriptor = opened.descriptor
        self._position = opened.start
        self._left = opened.length
        self._path = opened.path

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._descriptor, min(size, self._left), self._position)
        if not data and self._left:
            raise Damaged(f"{shown(self._path)} became shorter while it was read")
        self._position += len(data)
        self._left -= len(data)
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class TreeFileStream:
    """Any synchronously read file as a ``FileStream``; ``length`` is what must come out.

    Fewer bytes than announced raise ``Damaged``: a body never just ends (W-20).
    """

    def __init__(self, file: TreeFile, length: int | None, pools: Pools, pool: Pool) -> None:
        self._file = file
        self._length = length
        self._pools = pools
        self._pool = pool
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks of up to 1 MiB."""
        done = 0
        try:
            while data := await self._pools.run(self._pool, self._file.read, CHUNK):
                done += len(data)
                yield data
            if self._length is not None and done != self._length:
                raise Damaged(f"only {done} of {self._length} bytes could be read")
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Release the file."""
        if not self._closed:
            self._closed = True
            await self._pools.run(self._pool, self._file.close)


def file_digest(path: Path, algorithm: str, work: Work) -> str:
    """Lower-case hex digest of a whole file; synchronous. Sequential reads, cancellable per MiB."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            work.check()
            digest.update(view[:count])
    return digest.hexdigest()
