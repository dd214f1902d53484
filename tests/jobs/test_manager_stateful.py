"""Whatever is submitted, finished, failed and cancelled in whatever order: the rules hold and nothing is lost."""

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tests.jobs.test_schedule import PLACES, may_run_together
from wings.errors import Damaged
from wings.jobs.context import JobContext
from wings.jobs.events import EventBus
from wings.jobs.manager import JobEnded, JobManager, JobSpec
from wings.jobs.model import JobKind, JobRecord, JobState, JsonObject
from wings.store.database import Database
from wings.store.jobs import JobStore

SUBJECTS = [UUID(int=1), UUID(int=2), None]


class Steered:
    """Work that ends when and how the test says."""

    def __init__(self) -> None:
        self.running = False
        self.ran = 0
        self.order: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self, job: JobContext) -> JsonObject:
        self.running = True
        self.ran += 1
        cancelled = asyncio.create_task(job.until_cancelled())
        try:
            await asyncio.wait({self.order, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if not self.order.done():
                job.check()
            if self.order.result() == "fail":
                raise Damaged("as told")
            if self.order.result() == "crash":
                raise ZeroDivisionError
            return {"ok": True}
        finally:
            self.running = False
            cancelled.cancel()


class ManagerMachine(RuleBasedStateMachine):
    """Drives a real manager on a real store."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.specs: dict[UUID, JobSpec] = {}
        self.work: dict[UUID, Steered] = {}
        self.ends: dict[UUID, JobState] = {}
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.database = await Database.open(self.directory / "wings.db")
        self.manager = JobManager(JobStore(self.database), EventBus(), keep=timedelta(days=1))
        await self.manager.start()

    @rule(
        target=jobs, kind=st.sampled_from(JobKind), server=st.sampled_from(SUBJECTS), backup=st.sampled_from(SUBJECTS)
    )
    def submit(self, kind: JobKind, server: UUID | None, backup: UUID | None) -> UUID:
        spec = JobSpec(kind, server, backup, server_exclusive=kind is JobKind.RESTORE)

        async def submit() -> UUID:
            work = Steered()
            id = (await self.manager.submit(spec, work)).id
            self.specs[id], self.work[id] = spec, work
            return id

        return self.runner.run(submit())

    @rule(id=jobs, how=st.sampled_from(["succeed", "fail", "crash"]))
    def finish(self, id: UUID, how: str) -> None:
        """Of a job that waits: it will end so as soon as it runs."""

        async def finish() -> None:
            work = self.work[id]
            if not work.order.done():
                work.order.set_result(how)
                if work.running:
                    await self.manager.wait(id, 5)

        self.runner.run(finish())

    @rule(target=jobs, id=consumes(jobs))
    def cancel(self, id: UUID) -> object:
        async def cancel() -> None:
            before = await self.manager.get(id)
            try:
                asked = await self.manager.cancel(id)
            except JobEnded:
                assert before.state.ended
                return
            ended = await self.manager.wait(id, 5)
            assert ended.state.ended
            if before.state is JobState.QUEUED and asked.state.ended:
                assert ended.state is JobState.CANCELLED
                assert self.work[id].ran == 0

        self.runner.run(cancel())
        return multiple()

    @invariant()
    def the_rules_hold(self) -> None:
        async def look() -> dict[UUID, JobRecord]:
            for _ in range(3):  # let those that may start do so
                await asyncio.sleep(0)
            return {record.id: record for record in await self.manager.list(limit=10_000)}

        records = self.runner.run(look())
        assert set(records) == set(self.specs), "no job is ever lost"
        running = [id for id, work in self.work.items() if work.running]
        for number, id in enumerate(running):
            assert records[id].state is JobState.RUNNING
            assert all(may_run_together(self.specs[id], self.specs[other]) for other in running[number + 1 :])
        for kind in JobKind:
            assert sum(self.specs[id].kind is kind for id in running) <= PLACES[kind]
        waiting = [record for record in records.values() if record.state is JobState.QUEUED]
        assert all(record.stage.startswith("waiting for ") for record in waiting)
        assert not waiting or any(record.state is JobState.RUNNING for record in records.values())
        for id, record in records.items():
            assert self.work[id].ran <= 1
            if id in self.ends:
                assert record.state is self.ends[id], "an end never changes"
            elif record.state.ended:
                self.ends[id] = record.state

    def teardown(self) -> None:
        async def finish_all() -> None:
            for work in self.work.values():
                if not work.order.done():
                    work.order.set_result("succeed")
            for id in self.specs:
                assert (await self.manager.wait(id, 5)).state.ended, "nothing starves"
            await self.manager.stop(1)
            assert not await JobStore(self.database).unfinished()
            await self.database.close()

        self.runner.run(finish_all())
        self.runner.close()
        shutil.rmtree(self.directory)


TestManager = ManagerMachine.TestCase
TestManager.pytestmark = [pytest.mark.timeout(60)]  # fifteen scenarios in one test
TestManager.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
