"""Blocks from one thread, through several encoders, in order to a sink: the pipeline behind every archive.

The calling thread fills buffers, encoder threads turn each into its packed form, and one thread hashes and
writes in order. A fixed set of buffers goes round, which bounds the memory and holds the caller back when
the sink is slow. Threads are plain and queues are few: at 1 MiB a block the hand-over costs nothing.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, runtime_checkable

from wings.archives.work import Work

_SPARE = 2  # blocks beyond one per encoder: one being filled, one being written


class Sink(Protocol):
    """Where an archive goes, byte after byte."""

    def write(self, data: bytes | bytearray | memoryview, /) -> object:
        """Take all of ``data``, whose memory is used again after the return. Called by one thread at a time."""


Pieces = Sequence[bytes | memoryview]
_Note = TypeVar("_Note")


@runtime_checkable
class SeekableSink(Sink, Protocol):
    """A sink that can go back, for a container whose first bytes are known last."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position for the next ``read`` or ``write``."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes of what was written; ``b""`` at the end."""


class Block(Generic[_Note]):
    """A buffer on its way. Whoever took it fills ``length`` bytes of ``buffer`` and hands it to ``put``.

    ``note`` says what is in it, where a format needs to know. ``pieces`` is what the encoder made of it.
    """

    __slots__ = ("buffer", "length", "note", "pieces", "ready")

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.length = 0
        self.note: _Note | None = None
        self.pieces: Pieces = ()
        self.ready = threading.Lock()  # held until the pieces are there
        self.ready.acquire()


@dataclass(frozen=True, slots=True)
class Encoding(Generic[_Note]):
    """How a stream is cut and what becomes of each block.

    ``encoder`` makes one function per thread, which turns a block into the pieces to be written. ``head``
    and ``tail`` go before the first and behind the last block. ``work`` is false where there is nothing to
    compute: blocks are then written as they are, without a thread for it.
    """

    block_size: int
    encoder: Callable[[], Callable[[Block[_Note]], Pieces]]
    head: bytes = b""
    tail: bytes = b""
    work: bool = True


class BlockPipeline(Generic[_Note]):
    """A context manager: no thread outlives it, whatever happened.

    All methods are for the calling thread alone. ``assemble`` is called by the writing thread, in order, with each
    encoded block, its position in the stream and the position in the output, and returns what to write.
    Errors of any thread, the sink's included, are raised by the next ``take`` or ``finish``.
    """

    def __init__(
        self,
        sink: Sink,
        encoding: Encoding[_Note],
        *,
        threads: int,
        work: Work,
        assemble: Callable[[Block[_Note], int, int], Pieces] | None = None,
        checksum: bool = True,
    ) -> None:
        """``threads`` is the number of encoders, at least one; the writing thread comes on top.

        Without ``checksum`` nothing is hashed, for a format whose start is written last.
        """
        self._sink = sink
        self._encoding = encoding
        self._work = work
        self._assemble = assemble
        self._encoders = max(threads, 1) if encoding.work else 0
        self._free: SimpleQueue[Block[_Note]] = SimpleQueue()
        self._to_encode: SimpleQueue[Block[_Note] | None] = SimpleQueue()
        self._to_write: SimpleQueue[Block[_Note] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._stopped = False
        self._digest = hashlib.sha256() if checksum else None
        self._size = 0

    def __enter__(self) -> Self:
        self._write(self._encoding.head)
        for _ in range(self._encoders + _SPARE):
            self._free.put(Block(self._encoding.block_size))
        try:
            for number in range(self._encoders):
                self._start(self._encode_all, f"archive-encode-{number}")
            self._start(self._write_all, "archive-write")
        except BaseException:
            self._join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped = True
        self._join()

    @property
    def block_size(self) -> int:
        """Bytes in every buffer."""
        return self._encoding.block_size

    @property
    def size(self) -> int:
        """Bytes of output so far; settled once it was drained."""
        return self._size

    def take(self) -> Block[_Note]:
        """An empty block; waits until one is free. Raises ``Cancelled`` and whatever a thread ran into."""
        self._work.check()
        block = self._free.get()
        if self._error is not None:
            raise self._error
        return block

    def put(self, block: Block[_Note], length: int, note: _Note | None = None) -> None:
        """Send off the first ``length`` bytes of a block that was taken."""
        block.length = length
        block.note = note
        if self._encoders:
            self._to_encode.put(block)
        else:
            block.pieces = [memoryview(block.buffer)[:length]]
            block.ready.release()
        self._to_write.put(block)

    def drain(self) -> None:
        """Wait until all blocks are written; raises what any thread ran into. No block is put afterwards."""
        self._join()
        if self._error is not None:
            raise self._error

    def append(self, data: bytes | memoryview) -> None:
        """Write behind the blocks, once they were drained."""
        self._write(data)

    def finish(self) -> tuple[int, str]:
        """Drain, write the end, and return size and SHA-256 (hex) of the output, ``""`` where none is taken."""
        self.drain()
        self._write(self._encoding.tail)
        return self._size, self._digest.hexdigest() if self._digest is not None else ""

    def _start(self, run: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=run, name=name)
        thread.start()
        self._threads.append(thread)

    def _join(self) -> None:
        for _ in range(self._encoders):
            self._to_encode.put(None)
        self._to_write.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _encode_all(self) -> None:
        encode: Callable[[Block[_Note]], Pieces] | None = None
        while (block := self._to_encode.get()) is not None:
            try:
                if not self._stopped:
                    if encode is None:
                        encode = self._encoding.encoder()
                    block.pieces = encode(block)
            except BaseException as error:  # whatever it is, it belongs to the caller and not to this thread
                self._fail(error)
            finally:
                block.ready.release()

    def _write_all(self) -> None:
        start = 0
        free = self._free.put
        while (block := self._to_write.get()) is not None:
            block.ready.acquire()
            if not self._stopped:
                try:
                    pieces = block.pieces
                    if self._assemble is not None:
                        pieces = self._assemble(block, start, self._size)
                    for piece in pieces:
                        self._write(piece)
                    start += block.length
                except BaseException as error:  # as above
                    self._fail(error)
            block.pieces = ()
            block.note = None
            free(block)

    def _write(self, data: bytes | memoryview) -> None:
        if data:
            if self._digest is not None:
                self._digest.update(data)
            self._sink.write(data)
            self._size += len(data)

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._stopped = True
