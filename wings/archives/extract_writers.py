"""Writing what one reader reads: small files in batches, large ones as streams, by several threads (W-52).

While files are created at the speed of memory, as on a local disk they are, handing them to another thread
costs more than it gains: the interpreter runs one at a time. So the reader writes batches itself until one of
them took so long that the target must have been waiting for something; then threads wait instead, at once.

The first error that is not an entry's own ends everything and is raised to the reader; nobody survives ``close``.
"""

import errno
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from wings.archives.entry import Entry
from wings.archives.report import Example
from wings.archives.target import Target
from wings.archives.work import Work
from wings.errors import InvalidInput, Refused, shown

_QUEUED = 8 << 20  # bytes of small files waiting for a writer
_STREAMED = 4 << 20  # bytes of a large file waiting for its writer
_BATCH_FILES = 64
_BATCH_BYTES = 1 << 20
_PATIENCE = 0.000_25  # seconds for a file and for 256 KiB of content; a local disk needs a tenth
_DETOURS = 32  # batches that go to the threads before the reader tries again

# What one entry can do wrong, or what stands in its way. Everything else (no space, broken disk, too many
# open files) would befall the next entry as well.
_OWN_ERRORS = {
    errno.EACCES,
    errno.EBUSY,
    errno.EEXIST,
    errno.EILSEQ,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMLINK,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EPERM,
    errno.ETXTBSY,
    errno.EXDEV,
}


def is_own_error(error: BaseException) -> bool:
    """Whether this concerns the entry alone, so that the extraction goes on without it."""
    if isinstance(error, OSError):
        return error.errno in _OWN_ERRORS
    return isinstance(error, (Refused, InvalidInput))


@dataclass(slots=True)
class Sums:
    """What the writers did. ``failures`` are entries that could not be written, with the reason."""

    files: int
    bytes: int
    failures: list[tuple[Example, BaseException]]


class _Task(Protocol):
    size: int

    def run(self, target: Target, sums: Sums) -> None:
        """Write it."""


class _Batch:
    def __init__(self) -> None:
        self.size = 0
        self.files: list[tuple[Entry, bytes]] = []

    def run(self, target: Target, sums: Sums) -> None:
        for entry, data in self.files:
            try:
                sums.bytes += target.file(entry.path, entry.mode, entry.mtime_ns, (data,) if data else ())
                sums.files += 1
            except Exception as error:  # judged at once: an entry's own trouble or everybody's
                _keep_if_own(error, entry, sums)


class Stream:
    """A large file on its way from the reader to a writer."""

    size = 0

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._wanted = True
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> bool:
        """Hand over the next bytes; ``False`` when nobody wants them any more."""
        with self._changed:
            while self._waiting >= _STREAMED and self._wanted:
                self._changed.wait()
            if self._wanted:
                self._chunks.append(chunk)
                self._waiting += len(chunk)
                self._changed.notify_all()
            return self._wanted

    def end(self, error: BaseException | None = None) -> None:
        """That was all; with an error, the file must not stay."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def refuse(self) -> None:
        """Nobody will take any more."""
        with self._changed:
            self._wanted = False
            self._chunks.clear()
            self._changed.notify_all()

    def run(self, target: Target, sums: Sums) -> None:
        entry = self._entry
        try:
            sums.bytes += target.file(entry.path, entry.mode, entry.mtime_ns, self._taken())
            sums.files += 1
        except Exception as error:  # judged at once: an entry's own trouble or everybody's
            if error is not self._error:  # that one is the reader's, who raises it himself
                _keep_if_own(error, entry, sums)
        finally:
            self.refuse()

    def _taken(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not self._chunks and not self._ended:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
                if not self._chunks:
                    return
                chunk = self._chunks.popleft()
                self._waiting -= len(chunk)
                self._changed.notify_all()
            yield chunk


def _keep_if_own(error: Exception, entry: Entry, sums: Sums) -> None:
    if not is_own_error(error):
        raise error
    sums.failures.append((Example(entry.path, reason(error)), error))


def reason(error: BaseException) -> str:
    """The cause without the path, which stands beside it anyway."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return shown(str(error))


class Writers:
    """``count`` threads. All methods but those of ``Stream`` are for the reader's thread."""

    def __init__(self, target: Target, count: int, work: Work) -> None:
        self._target = target
        self._work = work
        self._batch = _Batch()
        self._tasks: deque[_Task] = deque()
        self._queued = 0
        self._busy = 0
        self._closing = False
        self._error: BaseException | None = None
        self._sums = Sums(0, 0, [])
        self._changed = threading.Condition()
        self._stream: Stream | None = None
        self._detours = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"wings-extract-{number}", daemon=True)
            for number in range(max(count, 1))
        ]
        for thread in self._threads:
            thread.start()

    def small(self, entry: Entry, data: bytes) -> None:
        """Have a file written whose content is complete."""
        batch = self._batch
        batch.files.append((entry, data))
        batch.size += len(data)
        if len(batch.files) >= _BATCH_FILES or batch.size >= _BATCH_BYTES:
            self._finish_batch()

    def stream(self, entry: Entry) -> Stream:
        """Have a file written whose content follows, by ``put`` and ``end`` before anything else is begun."""
        self._finish_batch()
        self._stream = Stream(entry)
        self._submit(self._stream)
        return self._stream

    def settle(self) -> None:
        """Wait until everything handed over is written. Raises the first error that ends everything."""
        self._finish_batch()
        with self._changed:
            while (self._tasks or self._busy) and self._error is None:
                self._changed.wait()
            self._raise()

    def close(self) -> Sums:
        """End the threads, dropping what they have not begun, and say what was done."""
        with self._changed:
            self._closing = True
            self._tasks.clear()
            self._changed.notify_all()
        if self._stream is not None:
            self._stream.refuse()
        for thread in self._threads:
            thread.join()
        return self._sums

    def _finish_batch(self) -> None:
        batch = self._batch
        if not batch.files:
            return
        self._batch = _Batch()
        if self._detours:
            self._detours -= 1
            self._submit(batch)
            return
        begun = time.monotonic()
        sums = Sums(0, 0, [])
        try:
            batch.run(self._target, sums)
        finally:
            self._work.advance(files=sums.files)
            with self._changed:
                self._add(sums)
        if time.monotonic() - begun > _PATIENCE * (len(batch.files) + (batch.size >> 18)):
            self._detours = _DETOURS

    def _submit(self, task: _Task) -> None:
        with self._changed:
            while self._queued >= _QUEUED and self._error is None:
                self._changed.wait()
            self._raise()
            self._tasks.append(task)
            self._queued += task.size
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _add(self, sums: Sums) -> None:
        self._sums.files += sums.files
        self._sums.bytes += sums.bytes
        self._sums.failures += sums.failures

    def _run(self) -> None:
        while (task := self._next()) is not None:
            sums = Sums(0, 0, [])
            error: BaseException | None = None
            try:
                task.run(self._target, sums)
            except BaseException as caught:  # handed to the reader, whatever it is
                error = caught
            self._work.advance(files=sums.files)
            self._done(task, sums, error)

    def _next(self) -> _Task | None:
        with self._changed:
            while not self._tasks and not self._closing:
                self._changed.wait()
            if not self._tasks:
                return None
            self._busy += 1
            return self._tasks.popleft()

    def _done(self, task: _Task, sums: Sums, error: BaseException | None) -> None:
        with self._changed:
            self._busy -= 1
            self._queued -= task.size
            self._add(sums)
            if error is not None and self._error is None:
                self._error = error
                for dropped in self._tasks:
                    if isinstance(dropped, Stream):
                        dropped.refuse()
                self._tasks.clear()
            self._changed.notify_all()
