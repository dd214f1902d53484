"""What the work sees of its job."""

import asyncio
import threading
import time
from uuid import uuid4

import pytest
import structlog

from wings.backups.protocol import Job
from wings.errors import Cancelled
from wings.jobs.context import JobContext


def context() -> JobContext:
    return JobContext(uuid4(), "create", uuid4(), None)


def test_is_what_drivers_are_handed() -> None:
    job: Job = context()
    job.check()


def test_counts_from_many_threads_without_losing_any() -> None:
    job = context()

    def count() -> None:
        for _ in range(10_000):
            job.advance(3, 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job.expect(200_000, 50_000)
    job.stage("archiving")
    assert job.progress() == ("archiving", 120_000, 200_000, 40_000, 50_000)


def test_is_cheap() -> None:
    """Called for every entry of a walk: around a microsecond at most, far below the cost of opening a file."""
    job = context()
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        for _ in range(20_000):
            job.check()
            job.advance(1, 1)
        best = min(best, (time.thread_time() - begun) / 20_000)
    assert best < 3e-6  # both together; measured 0.3 µs, the rest is room for slow machines


def test_the_first_reason_counts() -> None:
    """W-8: cancellation reaches every thread at its next check."""
    job = context()
    job.check()
    assert job.cancel("the server was deleted") is True
    assert job.cancel("second") is False
    assert job.cancelled
    with pytest.raises(Cancelled, match="the server was deleted"):
        job.check()
    assert job.progress().stage == "cancelling"


async def test_until_cancelled_wakes_whoever_waits() -> None:
    job = context()
    waiting = [asyncio.create_task(job.until_cancelled()) for _ in range(3)]
    await asyncio.sleep(0.01)
    waiting[2].cancel()
    threading.Thread(target=job.cancel, args=("from another thread",)).start()
    await asyncio.wait_for(asyncio.gather(*waiting[:2]), 5)
    await asyncio.wait_for(job.until_cancelled(), 5)
    with pytest.raises(asyncio.CancelledError):
        await waiting[2]


def test_the_logger_knows_the_job() -> None:
    with structlog.testing.capture_logs() as lines:
        job = context()
        job.log.info("hello")
    assert lines[0]["job"] == str(job.id)
    assert lines[0]["kind"] == "create"
    assert "server" in lines[0]
    assert "backup" not in lines[0]
