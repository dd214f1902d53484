"""Byte streams that obey the node's shared rate limits (W-53), put around a driver's files."""

from typing import BinaryIO, Protocol

from wings.archives.work import Work


class Bucket(Protocol):
    """A shared rate: ``take`` waits until ``n`` more bytes may pass, and stays cancellable."""

    def take(self, n: int, work: Work) -> None:
        """Wait for ``n`` bytes."""


class Sink(Protocol):
    """Something bytes are appended to."""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Append all of ``data``."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes of what was written; ``b""`` at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position."""

    def tell(self) -> int:
        """The position of the next byte."""


class LimitedSink:
    """A sink that waits for its bucket before each write."""

    def __init__(self, sink: Sink, bucket: Bucket, work: Work) -> None:
        self._sink = sink
        self._bucket = bucket
        self._work = work

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Wait, then append."""
        self._bucket.take(len(data), self._work)
        self._sink.write(data)

    def read(self, size: int, /) -> bytes:
        """Read back what was written; it is still in memory, so it costs the disk nothing."""
        return self._sink.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position of what is inside."""
        return self._sink.seek(offset, whence)

    def tell(self) -> int:
        """The position of what is inside."""
        return self._sink.tell()


class LimitedReader:
    """A seekable binary file that waits for its bucket for what it gave."""

    def __init__(self, file: BinaryIO, bucket: Bucket, work: Work) -> None:
        self._file = file
        self._bucket = bucket
        self._work = work

    def read(self, size: int = -1, /) -> bytes:
        """Read, then wait: how much came is known only afterwards."""
        data = self._file.read(size)
        self._bucket.take(len(data), self._work)
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Like ``read``, into the caller's buffer."""
        count = self._file.readinto(buffer)  # type: ignore[attr-defined]  # BinaryIO of open() has it, typeshed hides it
        self._bucket.take(count, self._work)
        return int(count)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position of what is inside."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position of what is inside."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Always: only files are limited this way."""
        return True
