"""Rates shared by everything on the node that reads, writes or uploads (W-53)."""

import threading
import time
from collections import deque

from wings.archives.work import Work

BURST = 0.25  # seconds' worth of bytes that may pass at once after a pause
SHARE = 0.05  # seconds' worth of bytes served to one waiter before the next one's turn
SMALLEST_SHARE = 16 << 10  # bytes; at low rates turns get longer rather than smaller
PATIENCE = 0.1  # seconds a waiter sleeps at most before it looks whether it was cancelled


class TokenBucket:
    """Bytes per second for all users together; ``None`` is no limit.

    Waiters are served in turns of a small share each, so a stream that asks for 4 MiB at a time gets no
    more than one that asks for 64 KiB. Thread-safe; ``take`` blocks its thread, never call it on the event
    loop.
    """

    def __init__(self, rate: float | None) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[object] = deque()
        self._filled = time.monotonic()
        self._tokens = 0.0  # below zero while a share that was larger than what there was is paid off
        self._rate = _checked(rate)

    @property
    def rate(self) -> float | None:
        """Bytes per second now; ``None`` without limit."""
        return self._rate

    def set_rate(self, rate: float | None) -> None:
        """Change the limit for everybody, also for those waiting now."""
        with self._changed:
            self._fill()
            self._rate = _checked(rate)
            self._changed.notify_all()

    def take(self, n: int, work: Work) -> None:
        """Wait until ``n`` more bytes may pass. Raises ``Cancelled`` as soon as ``work`` is cancelled."""
        while n > 0 and (rate := self._rate) is not None:
            share = min(n, max(SMALLEST_SHARE, int(rate * SHARE)))
            self._take_share(share, work)
            n -= share

    def _take_share(self, share: int, work: Work) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
        try:
            while not self._served(ticket, share):
                work.check()
        except BaseException:
            with self._changed:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()
            raise

    def _served(self, ticket: object, share: int) -> bool:
        """Pay for the share when it is this ticket's turn and there are tokens; otherwise wait a little."""
        with self._changed:
            self._fill()
            rate = self._rate
            if rate is None or (self._waiting[0] is ticket and self._tokens >= 0):
                if rate is not None:
                    self._tokens -= share
                self._waiting.remove(ticket)
                self._changed.notify_all()
                return True
            turn = self._waiting[0] is ticket
            self._changed.wait(min(PATIENCE, -self._tokens / rate) if turn else PATIENCE)
            return False

    def _fill(self) -> None:
        now = time.monotonic()
        if self._rate is not None:
            self._tokens = min(self._tokens + (now - self._filled) * self._rate, self._rate * BURST)
        self._filled = now


def _checked(rate: float | None) -> float | None:
    if rate is not None and rate <= 0:
        raise ValueError("a rate is positive, or None for no limit")
    return rate
