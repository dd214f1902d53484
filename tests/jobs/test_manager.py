"""Jobs from being accepted to their end: persisted, cancelled, interrupted, told."""

import asyncio
import sqlite3
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from tests.jobs.work import Gate, deaf, nothing
from wings.errors import Cancelled, Damaged, NoSpace, NotFound, Unavailable
from wings.jobs.context import JobContext
from wings.jobs.events import EventBus
from wings.jobs.manager import JobEnded, JobManager, JobSpec
from wings.jobs.model import JobKind, JobRecord, JobState, JsonObject
from wings.store.database import Database
from wings.store.jobs import JobStore

CREATE = JobSpec(JobKind.CREATE, server=uuid4(), backup=uuid4())


async def test_a_job_runs_and_its_result_is_kept(manager: JobManager, store: JobStore) -> None:
    async def work(job: JobContext) -> JsonObject:
        job.stage("archiving")
        job.expect(10, 2)
        job.advance(bytes=10, files=2)
        return {"uuid": "x", "warnings": ["caf\udce9"], "nested": {"n": [1, None, True]}}

    accepted = await manager.submit(CREATE, work)
    assert (accepted.kind, accepted.server, accepted.backup) == (JobKind.CREATE, CREATE.server, CREATE.backup)
    ended = await manager.wait(accepted.id, 5)
    assert ended.state is JobState.SUCCEEDED
    assert ended.result == {"uuid": "x", "warnings": ["caf\udce9"], "nested": {"n": [1, None, True]}}
    assert (ended.bytes_processed, ended.bytes_total, ended.files_processed, ended.files_total) == (10, 10, 2, 2)
    assert ended.started and ended.finished and ended.created <= ended.started <= ended.finished
    assert (ended.error, ended.error_code) == (None, None)
    row = await store.get(accepted.id)
    assert row is not None
    assert JobRecord.from_row(row) == ended == await manager.get(accepted.id)


async def test_accepted_means_written_down(manager: JobManager, store: JobStore) -> None:
    """P5: the row is there when ``submit`` returns, so that a crash right afterwards forgets nothing."""
    gate = Gate()
    accepted = await manager.submit(CREATE, gate)
    assert [row.id for row in await store.unfinished()] == [accepted.id]
    gate.open()
    assert (await manager.wait(accepted.id, 5)).state is JobState.SUCCEEDED
    assert list(await store.unfinished()) == []


async def test_errors_keep_their_message_and_code(manager: JobManager) -> None:
    async def work(job: JobContext) -> JsonObject:
        raise NoSpace("no room on /backups")

    ended = await manager.wait((await manager.submit(CREATE, work)).id, 5)
    assert (ended.state, ended.error, ended.error_code) == (JobState.FAILED, "no room on /backups", "no_space")
    assert ended.result is None


async def test_unexpected_errors_get_an_incident_that_is_in_the_log(manager: JobManager) -> None:
    async def work(job: JobContext) -> JsonObject:
        raise ZeroDivisionError("secret details")

    with structlog.testing.capture_logs() as lines:
        ended = await manager.wait((await manager.submit(CREATE, work)).id, 5)
    assert ended.state is JobState.FAILED
    assert ended.error_code == "internal"
    assert ended.error and "secret details" not in ended.error
    line = next(line for line in lines if line["event"] == "unexpected error in a job")
    assert line["incident"] in ended.error
    assert line["exc_info"] is True
    assert line["job"] == str(ended.id)
    assert line["server"] == str(CREATE.server)
    # The manager lives on.
    assert (await manager.wait((await manager.submit(CREATE, nothing)).id, 5)).state is JobState.SUCCEEDED


async def test_a_result_that_is_no_json_fails_that_job_only(manager: JobManager) -> None:
    async def work(job: JobContext) -> JsonObject:
        return {"when": datetime.now(UTC)}  # type: ignore[dict-item]  # the mistake under test

    ended = await manager.wait((await manager.submit(CREATE, work)).id, 5)
    assert (ended.state, ended.error_code) == (JobState.FAILED, "internal")
    assert (await manager.wait((await manager.submit(CREATE, nothing)).id, 5)).state is JobState.SUCCEEDED


async def test_creates_of_a_server_wait_and_say_for_what(manager: JobManager) -> None:
    """W-7: the second create of a server queues, and its record says why."""
    gate = Gate()
    server = uuid4()
    first = await manager.submit(JobSpec(JobKind.CREATE, server, uuid4()), gate)
    second = await manager.submit(JobSpec(JobKind.CREATE, server, uuid4()), nothing)
    await gate.begun.wait()
    waiting = await manager.get(second.id)
    assert (waiting.state, waiting.stage) == (JobState.QUEUED, "waiting for another create of this server")
    assert waiting.started is None
    gate.open()
    assert (await manager.wait(second.id, 5)).state is JobState.SUCCEEDED
    assert (await manager.get(first.id)).state is JobState.SUCCEEDED


async def test_no_more_than_the_configured_number_run_on_the_node(store: JobStore, events: EventBus) -> None:
    """W-7: ten creates of ten servers, three places."""
    manager = JobManager(store, events, keep=timedelta(days=1), parallel_creates=3)
    await manager.start()
    running, most = 0, 0

    async def work(job: JobContext) -> JsonObject:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return {}

    jobs = [await manager.submit(JobSpec(JobKind.CREATE, uuid4(), uuid4()), work) for _ in range(10)]
    for job in jobs:
        assert (await manager.wait(job.id, 5)).state is JobState.SUCCEEDED
    assert most == 3
    await manager.stop(1)


async def test_cancel_takes_a_job_out_of_the_queue(manager: JobManager, store: JobStore) -> None:
    """W-8: one that waits never starts; the next in line is not held up by it."""
    gate, never = Gate(), Gate()
    server = uuid4()
    first = await manager.submit(JobSpec(JobKind.CREATE, server, uuid4()), gate)
    second = await manager.submit(JobSpec(JobKind.RESTORE, server, uuid4(), server_exclusive=True), never)
    third = await manager.submit(JobSpec(JobKind.DELETE, server, uuid4()), nothing)
    assert (await manager.get(third.id)).state is JobState.QUEUED
    cancelled = await manager.cancel(second.id)
    assert (cancelled.state, cancelled.error_code, cancelled.started) == (JobState.CANCELLED, "cancelled", None)
    assert (await manager.wait(third.id, 5)).state is JobState.SUCCEEDED
    row = await store.get(second.id)
    assert row is not None and row.state == "cancelled"
    assert not never.begun.is_set()
    gate.open()
    await manager.wait(first.id, 5)


async def test_cancel_stops_a_running_job(manager: JobManager) -> None:
    """W-8: the work hears of it at its next check, also in a thread."""
    begun = threading.Event()

    def loop(job: JobContext) -> None:
        while True:
            begun.set()
            job.check()

    async def work(job: JobContext) -> JsonObject:
        await asyncio.to_thread(loop, job)
        return {}

    accepted = await manager.submit(CREATE, work)
    await asyncio.to_thread(begun.wait)
    asked = await manager.cancel(accepted.id)
    assert (asked.state, asked.stage) == (JobState.RUNNING, "cancelling")
    ended = await manager.wait(accepted.id, 5)
    assert (ended.state, ended.error, ended.error_code) == (JobState.CANCELLED, "cancelled on request", "cancelled")


async def test_cancel_that_comes_too_late_changes_nothing(manager: JobManager) -> None:
    begun, asked = asyncio.Event(), asyncio.Event()

    async def work(job: JobContext) -> JsonObject:
        begun.set()
        await asked.wait()
        return {"done": True}

    accepted = await manager.submit(CREATE, work)
    await begun.wait()
    await manager.cancel(accepted.id)
    asked.set()
    ended = await manager.wait(accepted.id, 5)
    assert (ended.state, ended.result) == (JobState.SUCCEEDED, {"done": True})
    with pytest.raises(JobEnded, match="succeeded"):
        await manager.cancel(accepted.id)


async def test_cancelling_twice_is_the_same_as_once(manager: JobManager) -> None:
    gate = Gate()
    running = await manager.submit(CREATE, gate)
    waiting = await manager.submit(CREATE, nothing)
    both = await asyncio.gather(manager.cancel(waiting.id), manager.cancel(waiting.id))
    assert both[0].state is JobState.CANCELLED
    await manager.cancel(running.id)
    await manager.cancel(running.id)
    assert (await manager.wait(running.id, 5)).state is JobState.CANCELLED


async def test_unknown_jobs_are_not_found(manager: JobManager) -> None:
    for ask in (manager.get, manager.cancel, manager.wait):
        with pytest.raises(NotFound, match="no job"):
            await ask(uuid4())


async def test_wait_gives_the_state_when_time_is_up(manager: JobManager) -> None:
    gate = Gate()
    accepted = await manager.submit(CREATE, gate)
    assert (await manager.wait(accepted.id, 0.01)).state is JobState.RUNNING
    gate.open()
    results = await asyncio.gather(*(manager.wait(accepted.id) for _ in range(3)))
    assert {record.state for record in results} == {JobState.SUCCEEDED}


async def test_a_waiter_that_gives_up_does_not_harm_the_job(manager: JobManager) -> None:
    gate = Gate()
    accepted = await manager.submit(CREATE, gate)
    waiter = asyncio.create_task(manager.wait(accepted.id))
    await gate.begun.wait()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    gate.open()
    assert (await manager.wait(accepted.id, 5)).state is JobState.SUCCEEDED


async def test_a_caller_that_gives_up_does_not_take_its_job_back(manager: JobManager, store: JobStore) -> None:
    caller = asyncio.create_task(manager.submit(CREATE, nothing))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    for _ in range(100):
        if ended := await store.ended(limit=10):
            break
        await asyncio.sleep(0.01)
    assert [row.state for row in ended] == ["succeeded"]


async def test_waiters_hear_of_it_after_it_is_written_down(manager: JobManager, store: JobStore) -> None:
    accepted = await manager.submit(CREATE, nothing)
    await manager.wait(accepted.id, 5)
    row = await store.get(accepted.id)
    assert row is not None and row.state == "succeeded"


async def test_what_a_crash_cut_off_is_interrupted_at_the_next_start(tmp_path: Path) -> None:
    """P5: running and queued jobs of a killed daemon are returned, marked, and settled in the same transaction."""
    path = tmp_path / "wings.db"
    database = await Database.open(path)
    manager = JobManager(JobStore(database), EventBus(), keep=timedelta(days=1))
    await manager.start()
    running = await manager.submit(CREATE, deaf)
    waiting = await manager.submit(CREATE, nothing)
    await asyncio.sleep(0.05)
    # As after kill -9: what is in the file is all that is left.
    copy = tmp_path / "after.db"
    await database.run(lambda connection: connection.execute("SELECT 1").fetchone())
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())

    after = await Database.open(copy)
    settled: list[JobRecord] = []

    def settle(connection: sqlite3.Connection, record: JobRecord) -> None:
        settled.append(record)
        connection.execute(
            "INSERT INTO servers VALUES (?, ?, ?, 't')", (str(record.id), str(record.id), str(record.id))
        )

    events = EventBus()
    second = JobManager(JobStore(after), events, keep=timedelta(days=1))
    with pytest.raises(sqlite3.IntegrityError):
        await second.start(settle)  # text where bytes belong: the settling fails, and so nothing is marked
    assert len(await JobStore(after).unfinished()) == 2
    settled.clear()

    def settle_well(connection: sqlite3.Connection, record: JobRecord) -> None:
        settled.append(record)

    interrupted = await second.start(settle_well)
    assert [record.id for record in interrupted] == [running.id, waiting.id] == [record.id for record in settled]
    for record in interrupted:
        assert (record.state, record.error_code) == (JobState.INTERRUPTED, "interrupted")
        assert record.finished is not None
        assert await second.get(record.id) == record
    assert interrupted[0].error == "the daemon ended while this job was running"
    assert interrupted[1].error == "the daemon ended while this job was queued"
    assert second.active_for(CREATE.backup) == []  # type: ignore[arg-type]  # it has one
    await second.stop(1)
    third = JobManager(JobStore(after), events, keep=timedelta(days=1))
    assert list(await third.start()) == []
    await third.stop(1)
    await after.close()
    await manager.stop(0)
    await database.close()


async def test_stop_interrupts_what_waits_and_what_listens(store: JobStore, events: EventBus) -> None:
    manager = JobManager(store, events, keep=timedelta(days=1))
    await manager.start()
    gate = Gate()
    running = await manager.submit(CREATE, gate)
    waiting = await manager.submit(CREATE, nothing)
    await gate.begun.wait()
    waiters = asyncio.gather(manager.wait(running.id), manager.wait(waiting.id))
    await manager.stop(5)
    for record in await waiters:
        assert (record.state, record.error_code) == (JobState.INTERRUPTED, "interrupted")
        row = await store.get(record.id)
        assert row is not None and row.state == "interrupted"
    with pytest.raises(Unavailable, match="stopping"):
        await manager.submit(CREATE, nothing)


async def test_stop_lets_work_clean_up_first(store: JobStore, events: EventBus) -> None:
    manager = JobManager(store, events, keep=timedelta(days=1))
    await manager.start()
    cleaned = False

    async def work(job: JobContext) -> JsonObject:
        nonlocal cleaned
        try:
            await job.until_cancelled()
            job.check()
        finally:
            await asyncio.sleep(0.1)
            cleaned = True
        return {}

    await manager.submit(CREATE, work)
    await asyncio.sleep(0.02)
    await manager.stop(5)
    assert cleaned


async def test_stop_leaves_behind_what_does_not_listen(store: JobStore, events: EventBus) -> None:
    manager = JobManager(store, events, keep=timedelta(days=1))
    await manager.start()
    release = threading.Event()

    async def stuck(job: JobContext) -> JsonObject:
        thread = asyncio.get_running_loop().run_in_executor(None, release.wait)
        while not thread.done():
            try:
                await asyncio.shield(thread)
            except asyncio.CancelledError:
                continue
        return {"too": "late"}

    polite = await manager.submit(CREATE, deaf)
    rude = await manager.submit(JobSpec(JobKind.DELETE, uuid4(), uuid4()), stuck)
    await asyncio.sleep(0.02)
    begun = asyncio.get_running_loop().time()
    await manager.stop(0.1)
    assert asyncio.get_running_loop().time() - begun < 3
    for job in (polite, rude):
        row = await store.get(job.id)
        assert row is not None and row.state == "interrupted"
    release.set()
    await asyncio.sleep(0.05)
    row = await store.get(rude.id)
    assert row is not None and row.state == "interrupted"


async def test_what_somebody_cancelled_stays_cancelled_when_the_daemon_stops(store: JobStore, events: EventBus) -> None:
    manager = JobManager(store, events, keep=timedelta(days=1))
    await manager.start()
    accepted = await manager.submit(CREATE, Gate())
    await manager.cancel(accepted.id)
    await manager.stop(5)
    row = await store.get(accepted.id)
    assert row is not None and row.state == "cancelled"


async def test_settle_is_one_transaction_with_the_end(manager: JobManager, database: Database) -> None:
    """P4: what has to be reported is there exactly when the job has ended, also for a job that never ran."""

    def settle(connection: sqlite3.Connection, record: JobRecord) -> None:
        values = (str(record.id), str(record.state), str(record.id).encode())
        connection.execute("INSERT INTO servers VALUES (?, ?, ?, 't')", values)

    async def fails(job: JobContext) -> JsonObject:
        raise Damaged("bad")

    gate = Gate()
    first = await manager.submit(CREATE, gate, settle)
    queued = await manager.submit(CREATE, nothing, settle)
    await manager.cancel(queued.id)
    gate.open()
    await manager.wait(first.id, 5)
    await manager.wait((await manager.submit(CREATE, fails, settle)).id, 5)
    states = await database.run(lambda connection: connection.execute("SELECT name FROM servers").fetchall())
    assert sorted(state for (state,) in states) == ["cancelled", "failed", "succeeded"]


async def test_an_end_that_cannot_be_written_is_told_and_tried_again(
    manager: JobManager, store: JobStore, database: Database
) -> None:
    """A store without room does not keep waiters hanging, and nothing is forgotten while the daemon lives."""
    attempts = 0

    def settle(connection: sqlite3.Connection, record: JobRecord) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise sqlite3.OperationalError("database or disk is full")

    accepted = await manager.submit(CREATE, nothing, settle)
    ended = await manager.wait(accepted.id, 5)
    assert ended.state is JobState.SUCCEEDED
    assert attempts == 2
    assert [row.id for row in await store.unfinished()] == [accepted.id]
    assert await manager.get(accepted.id) == ended
    assert await manager.list() == [ended]
    await manager.stop(1)
    row = await store.get(accepted.id)
    assert row is not None and row.state == "succeeded"


async def test_list_mixes_memory_and_store_newest_first(manager: JobManager) -> None:
    gate = Gate()
    server = uuid4()
    first = await manager.submit(CREATE, nothing)
    await manager.wait(first.id, 5)
    running = await manager.submit(JobSpec(JobKind.CREATE, server, uuid4()), gate)
    waiting = await manager.submit(JobSpec(JobKind.VERIFY, server, running.backup), nothing)
    assert [job.id for job in await manager.list()] == [waiting.id, running.id, first.id]
    assert [job.id for job in await manager.list(limit=1)] == [waiting.id]
    assert [job.id for job in await manager.list(server=server)] == [waiting.id, running.id]
    assert [job.id for job in await manager.list(states=[JobState.QUEUED])] == [waiting.id]
    assert [job.id for job in await manager.list(states=[JobState.SUCCEEDED])] == [first.id]
    assert [job.id for job in await manager.list(kind=JobKind.CREATE)] == [running.id, first.id]
    assert running.backup is not None
    assert [job.id for job in manager.active_for(running.backup)] == [running.id, waiting.id]
    gate.open()
    await manager.wait(waiting.id, 5)
    assert manager.active_for(running.backup) == []


async def test_old_jobs_are_forgotten(store: JobStore, events: EventBus) -> None:
    manager = JobManager(store, events, keep=timedelta(days=1))
    await manager.start()
    job = await manager.wait((await manager.submit(CREATE, nothing)).id, 5)
    await manager.stop(1)
    later = JobManager(store, events, keep=timedelta(microseconds=1))
    await later.start()
    with pytest.raises(NotFound):
        await later.get(job.id)
    await later.stop(1)


async def test_meters_are_told_of_every_change(store: JobStore, events: EventBus) -> None:
    seen: list[Mapping[tuple[str, str], int]] = []

    class Meter:
        def jobs_changed(self, counts: Mapping[tuple[str, str], int]) -> None:
            seen.append(counts)

    manager = JobManager(store, events, keep=timedelta(days=1), metrics=Meter())
    await manager.start()
    gate = Gate()
    first = await manager.submit(CREATE, gate)
    second = await manager.submit(CREATE, nothing)
    assert (seen[-1]["create", "running"], seen[-1]["create", "queued"]) == (1, 1)
    gate.open()
    await manager.wait(first.id, 5)
    await manager.wait(second.id, 5)
    assert set(seen[-1].values()) == {0}
    assert len(seen[-1]) == 8
    await manager.stop(1)


async def test_lines_logged_by_the_work_know_their_job(manager: JobManager) -> None:
    seen: list[dict[str, object]] = []

    async def work(job: JobContext) -> JsonObject:
        seen.append(structlog.contextvars.get_contextvars())
        seen.append(await asyncio.to_thread(structlog.contextvars.get_contextvars))
        return {}

    job = await manager.wait((await manager.submit(CREATE, work)).id, 5)
    expected = {
        "job": str(job.id),
        "kind": "create",
        "server": str(CREATE.server),
        "backup": str(CREATE.backup),
    }
    assert seen == [expected, expected]


async def test_cancelled_raised_by_the_work_itself_is_an_end_too(manager: JobManager) -> None:
    async def work(job: JobContext) -> JsonObject:
        raise Cancelled("the server was deleted")

    ended = await manager.wait((await manager.submit(CREATE, work)).id, 5)
    assert (ended.state, ended.error) == (JobState.CANCELLED, "the server was deleted")
