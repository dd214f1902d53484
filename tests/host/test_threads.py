"""Thread pools: apart from one another, bounded, and never abandoned by accident."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from wings.errors import Unavailable
from wings.host.threads import Pool, Pools


@pytest.fixture
def pools() -> Iterator[Pools]:
    with Pools(archive=2, files=2, browse=1) as made:
        yield made


async def test_results_and_errors_come_back(pools: Pools) -> None:
    def divide(one: int, *, by: int) -> float:
        return one / by

    assert await pools.run(Pool.FILES, divide, 6, by=3) == 2
    with pytest.raises(ZeroDivisionError):
        await pools.run(Pool.FILES, divide, 6, by=0)


async def test_threads_are_named_for_their_work(pools: Pools) -> None:
    for pool in Pool:
        name = await pools.run(pool, lambda: threading.current_thread().name)
        assert name.startswith(pool.value)


async def test_no_more_threads_than_configured(pools: Pools) -> None:
    """P6: the rest waits."""
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(pools.run(Pool.ARCHIVE, work) for _ in range(10)))
    assert most == 2
    assert pools.running()[Pool.ARCHIVE] == 0


async def test_a_hanging_mount_stops_only_its_own_pool(pools: Pools) -> None:
    """P6: all archive threads hang; files are still served."""
    release = threading.Event()
    hanging = [asyncio.create_task(pools.run(Pool.ARCHIVE, release.wait)) for _ in range(4)]
    await asyncio.sleep(0.01)
    assert await asyncio.wait_for(pools.run(Pool.FILES, lambda: 5), 2) == 5
    assert pools.running()[Pool.ARCHIVE] == 4
    release.set()
    await asyncio.gather(*hanging)


async def test_too_many_waiting_are_turned_away() -> None:
    """P6: a queue has an end, and it says so."""
    release = threading.Event()
    with Pools(archive=1, most_waiting=3) as pools:
        waiting = [asyncio.create_task(pools.run(Pool.BROWSE, release.wait)) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="browse"):
            await pools.run(Pool.BROWSE, release.wait)
        release.set()
        await asyncio.gather(*waiting)
        assert await pools.run(Pool.BROWSE, release.wait)


async def test_context_variables_go_along(pools: Pools) -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    assert await pools.run(Pool.FILES, variable.get) == "inside"


async def test_a_cancelled_caller_waits_for_its_thread(pools: Pools) -> None:
    """Nobody cleans up while the thread still writes."""
    release, through = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(5)
        through.set()
        raise LookupError("nobody hears of this")

    caller = asyncio.create_task(pools.run(Pool.ARCHIVE, work))
    await asyncio.sleep(0.02)
    caller.cancel()
    await asyncio.sleep(0.02)
    assert not caller.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert through.is_set()


async def test_cancelling_twice_leaves_the_thread_behind(pools: Pools) -> None:
    release = threading.Event()
    caller = asyncio.create_task(pools.run(Pool.ARCHIVE, release.wait))
    await asyncio.sleep(0.02)
    caller.cancel()
    await asyncio.sleep(0.02)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(caller, 1)
    assert pools.running()[Pool.ARCHIVE] == 1
    release.set()
    await asyncio.sleep(0.05)
    assert pools.running()[Pool.ARCHIVE] == 0


async def test_what_has_not_begun_is_taken_back(pools: Pools) -> None:
    release, called = threading.Event(), threading.Event()
    holding = asyncio.create_task(pools.run(Pool.BROWSE, release.wait))
    waiting = asyncio.create_task(pools.run(Pool.BROWSE, called.set))
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 1)
    release.set()
    await holding
    await asyncio.sleep(0.02)
    assert not called.is_set()


async def test_nothing_is_taken_after_closing() -> None:
    with Pools(archive=1) as pools:
        pass
    with pytest.raises(Unavailable, match="stopping"):
        await pools.run(Pool.FILES, time.monotonic)
