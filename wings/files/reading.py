"""The bytes of a server's file while somebody else may be writing to it: never more than announced, never a hang."""

import errno
import os

from wings.archives.report import SourceReport, Trouble

# Holes shorter than this are read like data: looking for their edges costs more than the zeros.
_LEAST_HOLE = 1 << 20
# How far one search for the end of data goes on, so that a file of a million tiny holes is no long silence.
_LONGEST_EXTENT = 64 << 20

_ZEROS = bytes(1 << 20)


class WholeContent:
    """A small file that was read in one piece when it was opened; it cannot change any more."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; ``b""`` at the end."""
        data = self._data
        if len(data) <= size:
            self._data = b""
            return data
        self._data = data[size:]
        return data[:size]

    def close(self) -> None:
        """Let go of the bytes."""
        self._data = b""


class FileContent:
    """An open regular file, read from its start to the size it had when it was opened.

    What is appended meanwhile is cut off. A file that became shorter simply ends early, and so does one
    whose disk fails, which is noted as unreadable; the reader sees that bytes are missing (W-3). When
    it was read to its end and its size or time moved since, closing notes it as changed.
    """

    __slots__ = ("_fd", "_left", "_mtime_ns", "_path", "_report", "_size")

    def __init__(self, fd: int, path: bytes, size: int, mtime_ns: int, report: SourceReport) -> None:
        """Take over ``fd``; ``size`` and ``mtime_ns`` are what ``fstat`` said of it."""
        self._fd = fd
        self._path = path
        self._size = size
        self._mtime_ns = mtime_ns
        self._report = report
        self._left = size

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; ``b""`` at the announced size or where the file ends by now."""
        size = min(size, self._left)
        if size <= 0:
            return b""
        try:
            data = self._take(size)
        except OSError as error:
            self._report.note(Trouble.UNREADABLE_FILE, self._path, error.strerror or str(error))
            self._size = -1  # noted once: no second try of the disk, no word about change
            self._left = 0
            return b""
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        fd = self._fd
        if fd < 0:
            return
        self._fd = -1
        try:
            if self._left == 0 and self._size >= 0:
                now = os.fstat(fd)
                if now.st_size != self._size:
                    self._report.note(Trouble.CHANGED, self._path, "grew" if now.st_size > self._size else "shrank")
                elif now.st_mtime_ns != self._mtime_ns:
                    self._report.note(Trouble.CHANGED, self._path, "written to")
        finally:
            os.close(fd)

    def _take(self, size: int) -> bytes:
        return os.read(self._fd, size)


class SparseContent(FileContent):
    """A file with holes: they come out as zeros without touching the disk or filling the page cache."""

    __slots__ = ("_extent_end", "_in_hole")

    def __init__(self, fd: int, path: bytes, size: int, mtime_ns: int, report: SourceReport) -> None:
        super().__init__(fd, path, size, mtime_ns, report)
        self._extent_end = 0
        self._in_hole = False

    def _take(self, size: int) -> bytes:
        position = self._size - self._left
        if position >= self._extent_end:
            self._find_extent(position)
        size = min(size, self._extent_end - position)
        if not self._in_hole:
            return os.pread(self._fd, size, position)
        if size > len(_ZEROS):
            return bytes(size)
        return _ZEROS if size == len(_ZEROS) else _ZEROS[:size]

    def _find_extent(self, position: int) -> None:
        try:
            data = os.lseek(self._fd, position, os.SEEK_DATA)
            if data - position >= _LEAST_HOLE:
                self._in_hole = True
                self._extent_end = min(data, self._size)
                return
            self._in_hole = False
            self._extent_end = min(self._data_end(data), self._size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on: a hole to the end, or no file any more
                self._in_hole = True
                self._extent_end = max(position, min(os.fstat(self._fd).st_size, self._size))
            elif error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that knows no holes
                self._in_hole = False
                self._extent_end = self._size
            else:
                raise

    def _data_end(self, data: int) -> int:
        """Where the data that begins at ``data`` gives way to a hole worth skipping."""
        end = data
        while True:
            end = os.lseek(self._fd, end, os.SEEK_HOLE)
            if end >= self._size or end - data >= _LONGEST_EXTENT:
                return end
            try:
                following = os.lseek(self._fd, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return end
            if following - end >= _LEAST_HOLE:
                return end
            end = following
