"""Noticing that something keeps the event loop from turning."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog

THRESHOLD = 0.25  # seconds late that are worth a warning
INTERVAL = 0.1  # seconds between two looks
WINDOW = 60.0  # seconds that the reported maximum covers


class LoopWatch:
    """Measures how late the event loop is. ``report`` gets the longest lag of the last minute, in seconds."""

    def __init__(
        self, report: Callable[[float], None], *, threshold: float = THRESHOLD, interval: float = INTERVAL
    ) -> None:
        self._report = report
        self._threshold = threshold
        self._interval = interval
        self._log = structlog.stdlib.get_logger("wings.loop")

    async def run(self) -> None:
        """Watch until cancelled."""
        worst: deque[tuple[float, float]] = deque()  # (when, lag), lags falling: the first is the maximum
        while True:
            begun = time.monotonic()
            await asyncio.sleep(self._interval)
            now = time.monotonic()
            lag = max(0.0, now - begun - self._interval)
            while worst and worst[-1][1] <= lag:
                worst.pop()
            worst.append((now, lag))
            while worst[0][0] < now - WINDOW:
                worst.popleft()
            self._report(worst[0][1])
            if lag > self._threshold:
                self._log.warning(
                    "the event loop was blocked: something slow ran on it, or the machine is overloaded",
                    seconds=round(lag, 3),
                )
