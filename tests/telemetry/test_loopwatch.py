"""Noticing that the event loop stands still."""

import asyncio
import contextlib
import time

import structlog

from wings.telemetry.loopwatch import LoopWatch


async def test_a_blocked_loop_is_told_and_measured() -> None:
    lags: list[float] = []
    watch = asyncio.create_task(LoopWatch(lags.append, threshold=0.1, interval=0.02).run())
    with structlog.testing.capture_logs() as lines:
        await asyncio.sleep(0.1)
        time.sleep(0.2)  # the fault that is to be noticed
        await asyncio.sleep(0.1)
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch
    told = [line for line in lines if line["event"].startswith("the event loop was blocked")]
    assert len(told) == 1
    assert 0.1 < told[0]["seconds"] < 1
    assert max(lags) == lags[-1] > 0.1, "the worst of the last minute stays visible"
    assert lags[0] < 0.1
