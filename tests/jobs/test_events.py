"""News: bounded for slow listeners, progress coalesced, changes never silently lost."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

from tests.jobs.work import nothing
from wings.jobs.context import JobContext
from wings.jobs.events import RESET, Event, EventBus, Subscription
from wings.jobs.manager import PROGRESS_EVENT, STATE_EVENT, JobManager, JobSpec
from wings.jobs.model import JobKind, JsonObject


async def drain(news: AsyncIterator[Event]) -> list[Event]:
    """All that is waiting now."""
    found = []
    while True:
        try:
            found.append(await asyncio.wait_for(anext(news), 0.02))
        except TimeoutError:
            return found


def state(number: int) -> Event:
    return Event("state", {"n": number})


def progress(job: str, number: int) -> Event:
    return Event("progress", {"n": number}, replaces=job)


async def test_every_subscriber_gets_everything_in_order() -> None:
    bus = EventBus()
    bus.publish(state(0))
    async with bus.subscribe() as one, bus.subscribe(lambda event: event.data["n"] == 2) as two:
        for number in (1, 2, 3):
            bus.publish(state(number))
        assert [event.data["n"] for event in await drain(one)] == [1, 2, 3]
        assert [event.data["n"] for event in await drain(two)] == [2]


async def test_waiting_listeners_wake() -> None:
    bus = EventBus()
    async with bus.subscribe() as news:
        waiting = asyncio.create_task(anext(news))
        await asyncio.sleep(0.01)
        bus.publish(state(1))
        assert (await asyncio.wait_for(waiting, 1)).data == {"n": 1}


async def test_only_the_latest_progress_of_a_job_waits() -> None:
    """W-21: a slow listener gets one progress event per job, not a flood."""
    bus = EventBus(queue=10)
    async with bus.subscribe() as news:
        for number in range(1000):
            bus.publish(progress("a", number))
            bus.publish(progress("b", number))
        assert await drain(news) == [progress("a", 999), progress("b", 999)]


async def test_newer_progress_stands_behind_what_came_before_it() -> None:
    bus = EventBus()
    async with bus.subscribe() as news:
        bus.publish(progress("a", 1))
        bus.publish(state(2))
        bus.publish(progress("a", 3))
        assert await drain(news) == [state(2), progress("a", 3)]


async def test_changes_push_progress_out() -> None:
    """W-21: with a full queue it is progress that goes."""
    bus = EventBus(queue=4)
    async with bus.subscribe() as news:
        bus.publish(progress("a", 1))
        bus.publish(state(1))
        bus.publish(progress("b", 1))
        for number in (2, 3, 4):
            bus.publish(state(number))
        bus.publish(progress("c", 1))
        assert await drain(news) == [state(1), state(2), state(3), state(4)]


async def test_a_listener_too_slow_for_changes_is_told_to_start_over() -> None:
    bus = EventBus(queue=4)
    async with bus.subscribe() as slow, bus.subscribe() as quick:
        for number in range(6):
            bus.publish(state(number))
            assert await anext(quick) == state(number)
        assert await drain(slow) == [RESET, state(5)]
        bus.publish(state(7))
        assert await drain(slow) == [state(7)]


async def test_closing_ends_the_iteration_after_what_is_left() -> None:
    bus = EventBus()
    async with bus.subscribe() as news:
        bus.publish(state(1))
        bus.close()
        assert [event async for event in news] == [state(1)]
    async with bus.subscribe() as late:
        assert [event async for event in late] == []


async def test_leaving_stops_the_delivery() -> None:
    bus = EventBus()
    left: Subscription
    async with bus.subscribe() as left:
        pass
    bus.publish(state(1))
    assert await drain(left) == []


async def test_a_job_tells_each_state_and_little_progress(manager: JobManager, events: EventBus) -> None:
    """W-21: thousands of steps, a handful of events: on change, at most one per interval."""

    async def work(job: JobContext) -> JsonObject:
        for _ in range(200):
            job.advance(1000, 10)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)  # nothing changes: nothing is told
        return {}

    told: list[Event] = []

    async def listen(news: Subscription) -> None:
        async for event in news:
            told.append(event)

    async with events.subscribe() as news:
        listening = asyncio.create_task(listen(news))
        job = await manager.submit(JobSpec(JobKind.CREATE, uuid4(), uuid4()), work)
        await manager.wait(job.id, 5)
        events.close()
        await listening
    assert [event.data["state"] for event in told if event.kind == STATE_EVENT] == ["running", "succeeded"]
    steps = [event.data["bytes_processed"] for event in told if event.kind == PROGRESS_EVENT]
    assert 2 <= len(steps) <= 10
    assert steps == sorted(steps)  # type: ignore[type-var]  # counters are numbers
    assert len(set(steps)) == len(steps)
    assert told[-1].data["bytes_processed"] == 200_000
    assert told[-1].data["id"] == str(job.id)


async def test_a_job_that_waits_tells_so(manager: JobManager, events: EventBus) -> None:
    server = uuid4()

    async def work(job: JobContext) -> JsonObject:
        await asyncio.sleep(0.05)
        return {}

    async with events.subscribe() as news:
        await manager.submit(JobSpec(JobKind.CREATE, server, uuid4()), work)
        second = await manager.submit(JobSpec(JobKind.CREATE, server, uuid4()), nothing)
        await manager.wait(second.id, 5)
        of_second = [event for event in await drain(news) if event.data["id"] == str(second.id)]
    states = [(event.data["state"], event.data["stage"]) for event in of_second if event.kind == STATE_EVENT]
    assert states == [
        ("queued", "waiting for another create of this server"),
        ("running", "starting"),
        ("succeeded", "succeeded"),
    ]
