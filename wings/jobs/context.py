"""What the work of a job sees of its job: progress to report, cancellation to obey, a logger that knows it."""

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

import structlog

from wings.errors import Cancelled


class Progress(NamedTuple):
    """The counters at one moment."""

    stage: str
    bytes_processed: int
    bytes_total: int
    files_processed: int
    files_total: int


class JobContext:
    """Handed to the work; all methods are safe from any thread. It is a ``wings.backups.protocol.Job``.

    ``log`` carries job, kind, server and backup on every line.
    """

    def __init__(self, id: UUID, kind: str, server: UUID | None, backup: UUID | None) -> None:
        self.id = id
        subjects = {"server": server, "backup": backup}
        known = {name: str(uuid) for name, uuid in subjects.items() if uuid is not None}
        self.log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("wings.jobs").bind(
            job=str(id), kind=kind, **known
        )
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._listeners: list[Callable[[], None]] = []
        self._stage = ""
        self._bytes = 0
        self._bytes_total = 0
        self._files = 0
        self._files_total = 0

    def check(self) -> None:
        """Raise ``Cancelled`` once cancellation was asked for. Call per MiB or entry."""
        if self._reason is not None:
            raise Cancelled(self._reason)

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        """Add to the processed counters."""
        with self._lock:
            self._bytes += bytes
            self._files += files

    def stage(self, name: str) -> None:
        """Say what is being done now, one word."""
        self._stage = name

    def expect(self, bytes: int, files: int = 0) -> None:
        """Set the totals that progress is measured against. They may grow."""
        with self._lock:
            self._bytes_total = bytes
            self._files_total = files

    def progress(self) -> Progress:
        """The counters now, all of one moment."""
        with self._lock:
            return Progress(self._stage, self._bytes, self._bytes_total, self._files, self._files_total)

    @property
    def cancelled(self) -> bool:
        """Whether cancellation was asked for."""
        return self._reason is not None

    def cancel(self, reason: str) -> bool:
        """Ask the work to stop; ``reason`` becomes the error's text. Whether this was the first to ask."""
        with self._lock:
            if self._reason is not None:
                return False
            self._reason = reason
            self._stage = "cancelling"
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()
        return True

    async def until_cancelled(self) -> None:
        """Wait for cancellation, for work that waits on something without asking ``check`` in between."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()

        def listener() -> None:
            loop.call_soon_threadsafe(asked.set)

        with self._lock:
            if self._reason is not None:
                return
            self._listeners.append(listener)
        try:
            await asked.wait()
        finally:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)
