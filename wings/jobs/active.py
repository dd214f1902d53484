"""A job from being accepted to its end."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from wings.errors import Cancelled, WingsError
from wings.jobs.context import JobContext, Progress
from wings.jobs.model import INTERRUPTED_CODE, JobRecord, JobState, JsonObject
from wings.jobs.schedule import JobSpec

# The work itself; what it returns is the job's result.
RunJob = Callable[[JobContext], Awaitable[JsonObject]]

# Runs in the transaction that writes a job's end, also when the job never started or was interrupted, so
# that what it writes (a report for the panel) is there exactly when the end is (P4). On the store's thread.
Settle = Callable[[sqlite3.Connection, JobRecord], None]

STOPPING = "the daemon is stopping"


class ActiveJob:
    """One job that has not ended. Used on the event loop's thread only; ``context`` is for the work."""

    def __init__(self, spec: JobSpec, run: RunJob, settle: Settle | None) -> None:
        self.id: UUID = uuid4()
        self.spec = spec
        self.settle = settle
        self.context = JobContext(self.id, spec.kind, spec.server, spec.backup)
        self.done: asyncio.Future[JobRecord] = asyncio.get_running_loop().create_future()
        self.state = JobState.QUEUED
        self.ending = False  # its end is known and being written down
        self.told: Progress = self.context.progress()
        self._run = run
        self._work: asyncio.Task[JsonObject] | None = None
        self._created = datetime.now(UTC)
        self._started: datetime | None = None
        self._stopped_by_us = False

    def record(self) -> JobRecord:
        """The job as it stands."""
        return JobRecord(
            id=self.id,
            kind=self.spec.kind,
            server=self.spec.server,
            backup=self.spec.backup,
            state=self.state,
            created=self._created,
            started=self._started,
            **self.context.progress()._asdict(),
        )

    def begin(self) -> None:
        """It has its place and starts now."""
        self.state = JobState.RUNNING
        self._started = datetime.now(UTC)
        self.context.stage("starting")

    def interrupt(self) -> None:
        """Ask it to stop because the daemon does."""
        self._stopped_by_us = self.context.cancel(STOPPING) or self._stopped_by_us

    def abort(self) -> None:
        """Stop waiting for it to listen: cancel the task it runs in."""
        if self._work is not None:
            self._stopped_by_us = True
            self._work.cancel()

    async def outcome(self) -> JobRecord:
        """Run the work and judge how it ended. Never raises an ``Exception``."""
        self._work = asyncio.create_task(self._call())
        try:
            return self._ended(JobState.SUCCEEDED, result=await self._work)
        except Cancelled as error:
            return self.stopped(str(error))
        except WingsError as error:
            return self._ended(JobState.FAILED, error=str(error), error_code=error.code)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # it is the manager's own task that was cancelled: the event loop is ending
            return self.stopped(STOPPING)
        except Exception as error:  # whatever else a job raises must end that job only, and be found in the log
            incident = uuid4().hex[:12]
            self.context.log.exception("unexpected error in a job", incident=incident)
            text = f"unexpected error ({type(error).__name__}); the log has the details under incident {incident}"
            return self._ended(JobState.FAILED, error=text, error_code=WingsError.code)

    def stopped(self, reason: str) -> JobRecord:
        """The record of an end that was asked for, by somebody or by the daemon stopping."""
        if self._stopped_by_us:
            text = f"{reason}; the job was {'interrupted' if self._started else 'still waiting'}"
            return self._ended(JobState.INTERRUPTED, error=text, error_code=INTERRUPTED_CODE)
        return self._ended(JobState.CANCELLED, error=reason, error_code=Cancelled.code)

    async def _call(self) -> JsonObject:
        self.context.check()
        result = await self._run(self.context)
        json.dumps(result)  # what cannot be stored is the work's mistake, and has to come out here
        return result

    def _ended(
        self,
        state: JobState,
        *,
        result: JsonObject | None = None,
        error: str | None = None,
        error_code: str | None = None,
    ) -> JobRecord:
        return replace(
            self.record(),
            state=state,
            stage=str(state),
            finished=datetime.now(UTC),
            result=result,
            error=error,
            error_code=error_code,
        )
