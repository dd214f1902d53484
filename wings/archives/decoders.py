"""Decompressing an archive in threads of its own, so that decoding, parsing and writing overlap."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

from wings.archives.chains import Event, decode, decode_ahead
from wings.archives.formats import Compression
from wings.archives.members import CODECS
from wings.archives.work import Work

_PLAIN_READ = 1 << 20
_BUFFERED = 8 << 20  # decoded bytes waiting for the consumer


class ArchiveFile(Protocol):
    """What archives are read from: an open binary file, perhaps behind a rate limit."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position. Formats without a directory at their end never call it."""

    def tell(self) -> int:
        """The position of the next byte."""


OnMember = Callable[[int, int], None]
"""Told where members start: position in the decoded stream, position in the archive. Called in order."""


class Decoder(Protocol):
    """The decoded bytes of an archive, from start to end.

    Raises ``Damaged`` with the position in the archive for truncated or corrupt data (W-12), ``Unsupported``
    for what needs too much memory, the ``OSError`` of reading, and ``Cancelled``.
    """

    def next_block(self) -> bytes:
        """The next decoded bytes, as many as come at once; ``b""`` exactly at a proper end."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` exactly at a proper end."""

    def close(self) -> None:
        """Stop decoding and wait for the threads. Safe to call twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def open_decoder(
    file: ArchiveFile,
    compression: Compression,
    *,
    threads: int,
    work: Work,
    on_member: OnMember | None = None,
) -> Decoder:
    """Start decoding ``file`` from its current position to its end.

    At most ``threads`` members are decoded at a time. ``work`` is told of the compressed bytes read (§12)
    and asked whether to stop. ``on_member`` is called from another thread.
    """
    if compression is Compression.NONE:
        return _Plain(file, work)
    return _Threaded(file, compression, threads, work, on_member)


class _Blocks(ABC):
    """What all decoders share: handing out blocks in other sizes."""

    def __init__(self) -> None:
        self._rest = memoryview(b"")

    @abstractmethod
    def next_block(self) -> bytes: ...

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = memoryview(self.next_block())
        piece = self._rest[:size]
        self._rest = self._rest[size:]
        return bytes(piece)

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Plain(_Blocks):
    """No compression: the kernel reads ahead by itself."""

    def __init__(self, file: ArchiveFile, work: Work) -> None:
        super().__init__()
        self._read = _watched(file, work)

    def next_block(self) -> bytes:
        return self._read(_PLAIN_READ)

    def close(self) -> None:
        """Nothing to stop."""


class _Threaded(_Blocks):
    """One thread decodes, or joins in order what several have decoded, ahead of the consumer."""

    def __init__(
        self, file: ArchiveFile, compression: Compression, threads: int, work: Work, on_member: OnMember | None
    ) -> None:
        super().__init__()
        self._on_member = on_member
        self._ready: deque[bytes] = deque()
        self._size = 0
        self._finished = False
        self._stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        codec = CODECS[compression]
        read = _watched(file, work)
        self._executor: ThreadPoolExecutor | None = None
        if codec.landmark is not None and threads >= codec.worth_threads:
            self._executor = ThreadPoolExecutor(threads, "wings-decode-ahead")
            events = decode_ahead(read, codec, self._executor, threads)
        else:
            events = decode(read, codec)
        self._thread = threading.Thread(target=self._run, args=(events,), name="wings-decode", daemon=True)
        self._thread.start()

    def next_block(self) -> bytes:
        with self._changed:
            while not self._ready:
                if self._error is not None:
                    raise self._error
                if self._finished:
                    return b""
                self._changed.wait()
            block = self._ready.popleft()
            self._size -= len(block)
            self._changed.notify_all()
            return block

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def _run(self, events: Iterator[Event]) -> None:
        decoded = 0
        try:
            for event in events:
                if isinstance(event, int):
                    if self._on_member is not None:
                        self._on_member(decoded, event)
                    continue
                decoded += len(event)
                if not self._put(event):
                    return
        except BaseException as error:  # handed to the consumer, whatever it is
            self._end(error)
        else:
            self._end(None)

    def _put(self, block: bytes) -> bool:
        with self._changed:
            while self._size >= _BUFFERED and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
            self._ready.append(block)
            self._size += len(block)
            self._changed.notify_all()
            return True

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error = error
            self._finished = True
            self._changed.notify_all()


def _watched(file: ArchiveFile, work: Work) -> Callable[[int], bytes]:
    """Reading with progress and cancellation at the level of the archive's own bytes."""

    def read(size: int) -> bytes:
        work.check()
        data = file.read(size)
        work.advance(bytes=len(data))
        return data

    return read
