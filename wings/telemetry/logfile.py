"""The log file: one line per record, rotated by size, ready for logrotate as well."""

import contextlib
import logging
import os
import sys
import time
from pathlib import Path

LARGEST = 10 << 20  # bytes of one file
KEPT = 10  # rotated files, wings.log.1 being the youngest
COMPLAIN_EVERY = 60.0  # seconds between two complaints that the log cannot be written


class LogFile(logging.Handler):
    """Written by the listener's thread alone; only ``reopen`` may be called from anywhere.

    Unbuffered: what was logged before a crash is in the file, and a full disk does not pile up memory.
    """

    def __init__(self, path: Path, *, largest: int = LARGEST, kept: int = KEPT) -> None:
        super().__init__()
        self._path = path
        self._largest = largest
        self._kept = kept
        self._reopen = False
        self._torn = False
        self._complained = float("-inf")
        self._size = 0
        self._descriptor = -1
        self._open()

    def reopen(self) -> None:
        """Open the file by its name again before the next line: somebody renamed it (logrotate, SIGHUP)."""
        self._reopen = True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a line that cannot be written is told to stderr, once a minute."""
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        try:
            if self._reopen or self._descriptor < 0:
                self._reopen = False
                self._open()
            if self._size and self._size + len(line) > self._largest:
                self._rotate()
        except OSError:
            self.handleError(record)
        try:
            self._write(line)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name
        """Say it where somebody may see it, without a traceback per line."""
        if time.monotonic() - self._complained >= COMPLAIN_EVERY:
            self._complained = time.monotonic()
            print(f"wings: the log {self._path} cannot be written: {sys.exc_info()[1]}", file=sys.stderr)

    def close(self) -> None:
        """Release the file. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()

    def _open(self) -> None:
        # Appending, so that a log that is copied and truncated under our hands goes on at its new end.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._numbered(number), self._numbered(number + 1))
        with contextlib.suppress(FileNotFoundError):
            if self._kept:
                os.rename(self._path, self._numbered(1))
            else:
                os.unlink(self._path)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _write(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line
        view = memoryview(line)
        try:
            while view:
                written = os.write(self._descriptor, view)
                self._size += written
                view = view[written:]
        finally:
            self._torn = 0 < len(view) < len(line) or (self._torn and len(view) == len(line))
