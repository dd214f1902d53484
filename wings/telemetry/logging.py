"""Logging for the daemon: structlog in front, the standard library behind, secrets out, nobody held up.

Every line, ours or a library's, becomes a JSON document in the thread that logs (context variables and
tracebacks are there), goes through a bounded queue, and is written by a thread of its own: to the file as
it is, to the console in a readable form.
"""

import asyncio
import contextlib
import copy
import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Full, Queue
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from wings.errors import ConfigurationError, shown
from wings.telemetry.logfile import KEPT, LARGEST, LogFile
from wings.telemetry.redaction import Secrets

__all__ = ["FILE_NAME", "LogSetup", "Secrets", "configure_logging"]

FILE_NAME = "wings.log"
QUEUE = 10_000  # lines on their way to the disk
QUEUE_PATIENCE = 1.0  # seconds a worker thread waits for room before its line is given up
Lines = Queue[object]

FIRST_KEYS = ("timestamp", "level", "logger", "event")  # in this order at the start of every line


class LogSetup:
    """Logging as it runs now."""

    def __init__(self, file: LogFile | None, sender: "_Sender") -> None:
        self._file = file
        self._sender = sender

    def reopen(self) -> None:
        """Open the log file by its name again, for SIGHUP after logrotate. Returns at once."""
        if self._file is not None:
            self._file.reopen()

    @property
    def lost(self) -> int:
        """Lines given up so far because disk and console did not take them fast enough."""
        return self._sender.lost


@contextmanager
def configure_logging(
    directory: Path | None,
    secrets: Secrets,
    *,
    debug: bool = False,
    console: TextIO | None = sys.stdout,
    largest: int = LARGEST,
    kept: int = KEPT,
) -> Iterator[LogSetup]:
    """Log to ``directory``/wings.log and to ``console`` while the block runs; flush at its end.

    ``largest`` is bytes per file, ``kept`` the number of rotated ones. A console that is a terminal gets
    colours. Raises ``ConfigurationError`` when the file cannot be written.
    """
    file = _open_file(directory, largest, kept) if directory is not None else None
    writers: list[logging.Handler] = []
    if file is not None:
        file.setFormatter(logging.Formatter("%(message)s"))
        writers.append(file)
    if console is not None:
        screen = _Screen(console)
        screen.setFormatter(_Readable(colours=console.isatty()))
        writers.append(screen)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    lines: Lines = Queue(QUEUE)
    sender = _Sender(lines)
    sender.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                secrets.processor,
                _as_json,
            ],
        )
    )
    previous = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    before = root.level
    root.addHandler(sender)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    listener = _Listener(lines, sender, writers)
    listener.start()
    try:
        yield LogSetup(file, sender)
    finally:
        root.removeHandler(sender)
        root.setLevel(before)
        structlog.configure(**previous)
        listener.stop()
        for writer in writers:
            writer.close()


class _Sender(logging.handlers.QueueHandler):
    """Turns a record into its line and passes it on without ever holding up the event loop."""

    def __init__(self, lines: "Lines") -> None:
        super().__init__(lines)
        self._lines = lines
        self.lost = 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: a thread that waits for room must not hold up the event loop's next line."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """A record that is nothing but its finished line."""
        line = copy.copy(record)
        line.msg = self.format(record)
        line.args = line.exc_info = line.exc_text = line.stack_info = None
        return line

    def enqueue(self, record: logging.LogRecord) -> None:
        """Pass it on; when there is no room, threads wait a little, the event loop does not."""
        try:
            self._lines.put(record, block=not _on_event_loop(), timeout=QUEUE_PATIENCE)
        except Full:
            self.lost += 1


class _Listener(logging.handlers.QueueListener):
    """Writes the lines, and says so when some were lost."""

    def __init__(self, lines: "Lines", sender: _Sender, writers: list[logging.Handler]) -> None:
        super().__init__(lines, *writers)
        self._lines = lines
        self._sender = sender
        self._told = 0

    def handle(self, record: logging.LogRecord) -> None:
        """Write one line."""
        super().handle(record)
        lost = self._sender.lost
        if lost > self._told:
            missing = logging.makeLogRecord({"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR"})
            missing.msg = f"{lost - self._told} log lines were lost: disk or console did not take them fast enough"
            self._told = lost
            super().handle(self._sender.prepare(missing))

    def enqueue_sentinel(self) -> None:
        """Wait for room: the queue is bounded."""
        self._lines.put(None)


class _Screen(logging.StreamHandler[TextIO]):
    """The console."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name
        """Nobody reads any more (a closed pipe): there is nowhere to say so, and the file has it all."""


class _Readable(logging.Formatter):
    """One line for people, tracebacks below it; control characters in values shown escaped."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._render = structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0, sort_keys=False)

    def format(self, record: logging.LogRecord) -> str:
        """The JSON line in readable form."""
        event: EventDict = json.loads(record.getMessage())
        for key, value in event.items():
            if isinstance(value, str) and key not in ("exception", "stack"):
                event[key] = shown(value)
        return str(self._render(None, record.levelname, event))


def _as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    ordered = {key: event.pop(key) for key in FIRST_KEYS if key in event}
    ordered.update(event)
    try:
        return orjson.dumps(ordered, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # names that are not UTF-8, numbers beyond 64 bits
        return json.dumps(ordered, default=str, skipkeys=True)


def _on_event_loop() -> bool:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    return False


def _open_file(directory: Path, largest: int, kept: int) -> LogFile:
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        return LogFile(directory / FILE_NAME, largest=largest, kept=kept)
    except OSError as error:
        raise ConfigurationError(
            f"no log can be written in {shown(directory)}: {error.strerror}; set system.log_directory to a directory "
            "the daemon may write to"
        ) from error
