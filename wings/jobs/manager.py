"""The one owner of everything long: accepts jobs, runs them when they may, remembers how they ended."""

import asyncio
import sqlite3
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

import structlog

from wings.errors import Conflict, NotFound, Unavailable, WingsError
from wings.jobs.active import STOPPING, ActiveJob, RunJob, Settle
from wings.jobs.events import Event, EventBus
from wings.jobs.model import INTERRUPTED_CODE, JobKind, JobRecord, JobState
from wings.jobs.schedule import JobSpec, Schedule
from wings.store.jobs import Also, JobStore

__all__ = ["JobEnded", "JobManager", "JobMeter", "JobSpec", "RunJob", "Settle"]

T = TypeVar("T")

STATE_EVENT = "job.state"
PROGRESS_EVENT = "job.progress"

PROGRESS_INTERVAL = 0.5  # seconds between two progress events of one job at least (W-21)
SAVE_RETRIES = (0.2, 1.0, 5.0)  # seconds before the store is asked again to write a job's end
HOUSEKEEPING_INTERVAL = 30.0  # seconds between two attempts at what could not be written
PRUNE_INTERVAL = timedelta(hours=6)
ABORT_PATIENCE = 1.0  # seconds for a job to end after its task was cancelled


class JobEnded(Conflict):
    """It is over already; there is nothing left to cancel."""

    code = "job_ended"


class JobMeter(Protocol):
    """Wants to know how many jobs there are, keyed by kind and state (``running`` or ``queued``)."""

    def jobs_changed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Called after each change, with all pairs, also those that are 0."""


class JobManager:
    """Used on the event loop's thread only. Call ``start`` once before anything else and ``stop`` at the end.

    ``keep`` is how long ended jobs are remembered. The ``parallel_`` numbers are places per kind on the node.
    """

    def __init__(
        self,
        store: JobStore,
        events: EventBus,
        *,
        keep: timedelta,
        parallel_creates: int = 2,
        parallel_restores: int = 2,
        parallel_deletes: int = 2,
        parallel_verifies: int = 1,
        metrics: JobMeter | None = None,
        progress_interval: float = PROGRESS_INTERVAL,
        save_retries: Sequence[float] = SAVE_RETRIES,
    ) -> None:
        self._store = store
        self._events = events
        self._keep = keep
        self._metrics = metrics
        self._progress_interval = progress_interval
        self._save_retries = tuple(save_retries)
        self._schedule = Schedule(
            {
                JobKind.CREATE: parallel_creates,
                JobKind.RESTORE: parallel_restores,
                JobKind.DELETE: parallel_deletes,
                JobKind.VERIFY: parallel_verifies,
            }
        )
        self._active: dict[UUID, ActiveJob] = {}
        self._unsaved: dict[UUID, tuple[JobRecord, Settle | None]] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._background: list[asyncio.Task[None]] = []
        self._accepting = False
        self._log = structlog.stdlib.get_logger("wings.jobs")

    async def start(self, settle: Settle | None = None) -> Sequence[JobRecord]:
        """Mark the jobs that a crash cut off as interrupted (P5) and return them; begin to take jobs.

        ``settle`` is called for each of them in the transaction that does so.
        """
        interrupted = []
        for row in await self._store.unfinished():
            left = JobRecord.from_row(row)
            record = replace(
                left,
                state=JobState.INTERRUPTED,
                stage=str(JobState.INTERRUPTED),
                finished=datetime.now(UTC),
                error=f"the daemon ended while this job was {left.state}",
                error_code=INTERRUPTED_CODE,
            )
            await self._store.update(record.to_row(), _also(settle, record))
            interrupted.append(record)
        if interrupted:
            self._log.warning("jobs were cut off when the daemon ended", jobs=len(interrupted))
        await self._store.prune(datetime.now(UTC) - self._keep)
        self._accepting = True
        self._background = [asyncio.create_task(self._tell_progress()), asyncio.create_task(self._keep_house())]
        self._count()
        return interrupted

    async def submit(self, spec: JobSpec, run: RunJob, settle: Settle | None = None) -> JobRecord:
        """Accept a job: it is written down when this returns, and runs when its turn comes.

        Raises ``Unavailable`` while the daemon stops, ``StoreFull`` and ``StoreError`` when it cannot be
        written down. Being cancelled while waiting does not take the job back.
        """
        if not self._accepting:
            raise Unavailable("the daemon is stopping and takes no new jobs; ask again when it is back")
        return await asyncio.shield(self._spawn(self._accept(ActiveJob(spec, run, settle))))

    async def get(self, id: UUID) -> JobRecord:
        """The job as it stands. Raises ``NotFound`` for one that never was or is no longer remembered."""
        if job := self._active.get(id):
            return job.record()
        if id in self._unsaved:
            return self._unsaved[id][0]
        if row := await self._store.get(id):
            return JobRecord.from_row(row)
        raise NotFound(f"there is no job {id}; ended jobs are remembered for {self._keep.days} days")

    async def list(
        self,
        *,
        server: UUID | None = None,
        backup: UUID | None = None,
        kind: JobKind | None = None,
        states: Collection[JobState] | None = None,
        limit: int = 100,
    ) -> Sequence[JobRecord]:
        """The newest jobs that fit every filter given, newest first."""
        found = {
            row.id: JobRecord.from_row(row)
            for row in await self._store.ended(server=server, backup=backup, kind=kind, states=states, limit=limit)
        }
        in_memory = [job.record() for job in self._active.values()] + [record for record, _ in self._unsaved.values()]
        for record in in_memory:
            if (
                server in (None, record.server)
                and backup in (None, record.backup)
                and kind in (None, record.kind)
                and (states is None or record.state in states)
            ):
                found[record.id] = record
        return sorted(found.values(), key=lambda record: record.created, reverse=True)[:limit]

    def active_for(self, backup: UUID) -> Sequence[JobRecord]:
        """Jobs about this backup that have not ended."""
        return [job.record() for job in self._active.values() if job.spec.backup == backup]

    async def wait(
        self,
        id: UUID,
        timeout: float | None = None,  # noqa: ASYNC109  # running out of time is an answer here, not an error
    ) -> JobRecord:
        """The job once it has ended and that is written down, or as it stands after ``timeout`` seconds."""
        job = self._active.get(id)
        if job is None:
            return await self.get(id)
        await asyncio.wait({job.done}, timeout=timeout)
        return job.done.result() if job.done.done() else job.record()

    async def cancel(self, id: UUID) -> JobRecord:
        """Ask a job to stop (W-8): one in the queue is over when this returns, a running one soon.

        Raises ``NotFound``, and ``JobEnded`` for one that is over. What was too late to stop succeeds.
        """
        job = self._active.get(id)
        if job is None:
            ended = await self.get(id)
            raise JobEnded(f"job {id} is over already: {ended.state}")
        job.context.cancel("cancelled on request")
        if job.state is JobState.QUEUED and not job.ending:
            return await asyncio.shield(self._end(job, job.stopped("cancelled on request")))
        return job.record()

    async def stop(self, grace: float) -> None:
        """Take no more jobs, end those there are within ``grace`` seconds, and write down how.

        Queued and stopped jobs end as interrupted. What does not end in time is marked so too; its threads,
        if any, are the caller's to leave behind.
        """
        self._accepting = False
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        ends = []
        for job in list(self._active.values()):
            job.interrupt()
            if job.state is JobState.QUEUED and not job.ending:
                ends.append(self._end(job, job.stopped(STOPPING)))
        await asyncio.gather(*ends)
        if not await self._idle(grace):
            for job in self._active.values():
                job.abort()
            await self._idle(ABORT_PATIENCE)
        for job in [job for job in self._active.values() if not job.ending]:
            job.context.log.error("the job does not end and is left behind")
            await self._end(job, job.stopped(STOPPING))
        await self._save_leftovers()

    async def _accept(self, job: ActiveJob) -> JobRecord:
        await self._store.add(job.record().to_row())
        self._active[job.id] = job
        if not self._accepting:  # stop was called while the store wrote
            job.interrupt()
            return await self._end(job, job.stopped(STOPPING))
        self._schedule.add(job.id, job.spec)
        self._advance()
        if job.state is JobState.QUEUED:
            self._tell(job.record())
        return job.record()

    def _advance(self) -> None:
        """Start what may run now and say of the others why they wait."""
        if self._accepting:
            for id in self._schedule.advance():
                job = self._active[id]
                job.begin()
                self._tell(job.record())
                _ = self._spawn(self._run(job))  # awaited through the set of tasks
            for id, reason in self._schedule.reasons.items():
                self._active[id].context.stage(reason)
        self._count()

    async def _run(self, job: ActiveJob) -> None:
        subjects = {"kind": job.spec.kind, "job": job.id, "server": job.spec.server, "backup": job.spec.backup}
        known = {name: str(value) for name, value in subjects.items() if value is not None}
        with structlog.contextvars.bound_contextvars(**known):
            try:
                await self._store.update(job.record().to_row())
            except Exception as error:  # whatever it is: only the time of the start is lost, the job must go on
                self._log.warning("the start of a job could not be written down", error=str(error))
            record = await job.outcome()
            if not job.ending:
                await self._end(job, record)

    def _end(self, job: ActiveJob, record: JobRecord) -> "asyncio.Task[JobRecord]":
        """Begin to write the end down. From here on nobody else starts or ends this job."""
        job.ending = True
        if job.state is JobState.QUEUED:
            self._schedule.remove(job.id)
        return self._spawn(self._settle(job, record))

    async def _settle(self, job: ActiveJob, record: JobRecord) -> JobRecord:
        """Write the end down, then tell, then let others take the place."""
        if not await self._saved(record, job.settle):
            self._unsaved[job.id] = (record, job.settle)
        del self._active[job.id]
        self._schedule.remove(job.id)
        job.done.set_result(record)
        self._tell(record)
        self._advance()
        return record

    async def _saved(self, record: JobRecord, settle: Settle | None) -> bool:
        for delay in (*self._save_retries, None):
            try:
                await self._store.update(record.to_row(), _also(settle, record))
            except Exception as error:  # also a fault in ``settle``: waiters must not wait for ever for either
                self._log.exception("the end of a job could not be written down", job=str(record.id), error=str(error))
            else:
                return True
            if delay is not None and self._accepting:
                await asyncio.sleep(delay)
        return False

    async def _save_leftovers(self) -> None:
        for id, (record, settle) in list(self._unsaved.items()):
            try:
                await self._store.update(record.to_row(), _also(settle, record))
            except Exception as error:  # said before, in full; tried again until it works
                self._log.warning("the end of a job still cannot be written down", job=str(id), error=str(error))
            else:
                del self._unsaved[id]

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(self._progress_interval)
            for job in self._active.values():
                progress = job.context.progress()
                if progress != job.told:
                    job.told = progress
                    self._events.publish(Event(PROGRESS_EVENT, job.record().to_json(), replaces=str(job.id)))

    async def _keep_house(self) -> None:
        pruned = datetime.now(UTC)
        while True:
            await asyncio.sleep(HOUSEKEEPING_INTERVAL)
            await self._save_leftovers()
            if datetime.now(UTC) - pruned > PRUNE_INTERVAL:
                pruned = datetime.now(UTC)
                try:
                    await self._store.prune(pruned - self._keep)
                except WingsError as error:
                    self._log.warning("old jobs could not be removed", error=str(error))

    def _tell(self, record: JobRecord) -> None:
        self._events.publish(Event(STATE_EVENT, record.to_json()))

    def _count(self) -> None:
        if self._metrics is not None:
            counts = {(str(kind), state): 0 for kind in JobKind for state in ("running", "queued")}
            for job in self._active.values():
                counts[str(job.spec.kind), str(job.state)] += 1
            self._metrics.jobs_changed(counts)

    async def _idle(self, seconds: float) -> bool:
        """Wait for every task of ours; whether none is left."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        return not self._tasks

    def _spawn(self, work: Coroutine[object, object, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _also(settle: Settle | None, record: JobRecord) -> Also | None:
    if settle is None:
        return None

    def also(connection: sqlite3.Connection) -> None:
        settle(connection, record)

    return also
