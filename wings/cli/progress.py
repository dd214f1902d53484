"""Waiting for a job: a bar on a terminal, now and then a line in a pipe, nothing for ``--json``."""

import time
from types import TracebackType
from typing import Self

from wings.cli.client import Client, Json, place
from wings.cli.failures import LeftRunning, ServerError
from wings.cli.output import duration, on_terminal, print_note, size
from wings.cli.settings import Settings
from wings.errors import Unavailable, shown

LINE_EVERY = 5.0  # seconds between two lines in a pipe
LOOK_EVERY = 0.25  # seconds between two looks at a running job on a terminal
LONG_LOOK = 30.0  # seconds the daemon may keep a question open when nobody watches


def follow(client: Client, settings: Settings, job: Json) -> Json:
    """Wait for the end of a job; its document.

    Raises its error unless it succeeded, ``LeftRunning`` on Ctrl-C: the job goes on without its watcher.
    """
    display = Silence() if settings.json else Bar() if on_terminal() else Lines()
    try:
        with display:
            while job["state"] in ("queued", "running"):
                job = client.call("GET", place("/api/jobs", job["id"]), query={"wait": str(display.patience)})
                display.show(job)
    except KeyboardInterrupt:
        show, end = settings.command("jobs"), settings.command(f"backup cancel {job['id']}")
        raise LeftRunning(f"not waiting any more, the job goes on: '{show}' shows it, '{end}' ends it") from None
    except Unavailable as error:
        show = settings.command("jobs")
        raise type(error)(f"{error}; once it runs, '{show}' shows how job {job['id']} ended") from error
    if job["state"] != "succeeded":
        code = job["error_code"] or job["state"]
        raise ServerError(job["error"] or f"the job was {job['state']}", code, job["error_status"] or 500)
    return job


class Silence:
    """Shows nothing. ``patience`` is how long the daemon may wait for the end before it answers."""

    patience = LONG_LOOK

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, job: Json) -> None:
        """Show the job as it stands."""


class Lines(Silence):
    """One line every few seconds on stderr."""

    patience = LINE_EVERY

    def __init__(self) -> None:
        self._stage = ""
        self._begun = 0.0
        self._before = 0

    def show(self, job: Json) -> None:
        """A line with amount, rate and remaining time as far as they are known."""
        if job["state"] not in ("queued", "running"):
            return
        stage, done, total = job["stage"], job["bytes_processed"], job["bytes_total"]
        if stage != self._stage:
            self._stage, self._begun, self._before = stage, time.monotonic(), done
            rate = 0.0
        else:
            rate = (done - self._before) / max(time.monotonic() - self._begun, 0.001)
        parts = [size(done) + (f" of about {size(total)}" if total > done else "")] if done or total else []
        if rate > 0:
            parts.append(f"{size(int(rate))}/s")
            if total > done:
                parts.append(f"about {duration((total - done) / rate)} left")
        print_note(f"{shown(stage)}: {', '.join(parts)}" if parts else shown(stage))


class Bar(Silence):
    """A bar with rate and remaining time on stderr, gone when the job is."""

    patience = LOOK_EVERY

    def __enter__(self) -> Self:
        from rich.console import Console  # noqa: PLC0415  # costs time that only a person at a terminal wants spent
        from rich.progress import (  # noqa: PLC0415  # the same
            BarColumn,
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("waiting", total=None)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, job: Json) -> None:
        """Move the bar; without a known total it only shows that something moves."""
        done, total = job["bytes_processed"], job["bytes_total"]
        self._progress.update(
            self._task, description=shown(job["stage"]), completed=done, total=max(total, done) if total else None
        )
