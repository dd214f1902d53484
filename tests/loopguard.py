"""Fails a test in which code of ours kept the event loop from turning.

Two nets. blockbuster refuses well-known blocking calls made by ``wings`` on a running loop. What it does not
know (fsync, flock, a long computation) is seen by a thread that looks at every turn of the loop a hundred
times a second and adds up the time for which it finds code of ours at work or asleep there.

Time is counted so that a busy machine does not fail tests: the processor time the loop's thread really used,
or, when it used none, the time it was seen at the very same place.
"""

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import pytest
from blockbuster import BlockBuster

import wings

PACKAGE = Path(wings.__file__).parent
LIMIT = 0.1  # seconds
LOOK_EVERY = 0.01  # seconds
ON_TIME = 0.04  # seconds between two looks beyond which the machine is too busy to judge sleeping


@dataclass(slots=True)
class _Turn:
    """One callback of one event loop, while it runs."""

    callback: object  # its text is made only when it is needed: asking some objects for theirs changes them
    clock: int
    looked: float
    processor: float
    place: tuple[int, int] | None = None
    ours: float = 0.0
    collecting: float = 0.0  # the interpreter's own garbage collection, which may hit anybody
    stack: str = ""


class LoopGuard:
    """A context manager; ``blocked`` tells afterwards what held the loop longer than ``limit`` seconds.

    ``package`` is the directory whose code is watched. Watches every event loop of the process that is
    written in Python (uvloop's callbacks do not pass here).
    """

    def __init__(self, package: Path = PACKAGE, limit: float = LIMIT) -> None:
        self.blocked: list[str] = []
        self._package = f"{package}/"
        self._limit = limit
        self._turns: dict[int, _Turn] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="loop-guard", daemon=True)
        self._original = asyncio.Handle._run

    def __enter__(self) -> "LoopGuard":
        original = self._original = asyncio.Handle._run

        def run(handle: asyncio.Handle) -> None:
            thread = threading.get_ident()
            clock = time.pthread_getcpuclockid(thread)
            turn = _Turn(handle._callback, clock, time.monotonic(), time.clock_gettime(clock))
            outer = self._turns.get(thread)
            self._turns[thread] = turn
            try:
                original(handle)
            finally:
                if outer is None:
                    del self._turns[thread]
                else:
                    self._turns[thread] = outer
                ours = turn.ours - turn.collecting
                if ours > self._limit:
                    self.blocked.append(f"{ours:.2f} s in {turn.callback!r}, last seen at\n{turn.stack}")

        asyncio.Handle._run = run
        gc.callbacks.append(self._collect)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.Handle._run = self._original
        gc.callbacks.remove(self._collect)
        self._stop.set()
        self._watcher.join()

    def _collect(self, phase: str, info: dict[str, int]) -> None:
        turn = self._turns.get(threading.get_ident())
        if turn is not None:
            turn.collecting += time.thread_time() * (1 if phase == "stop" else -1)

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            frames = sys._current_frames()
            for thread, turn in list(self._turns.items()):
                if frame := frames.get(thread):
                    self._look(turn, frame)

    def _look(self, turn: _Turn, frame: FrameType) -> None:
        now = time.monotonic()
        try:
            processor = time.clock_gettime(turn.clock)
        except OSError:
            return  # the thread is gone
        passed, used = now - turn.looked, processor - turn.processor
        place = (id(frame), frame.f_lasti)
        if self._is_ours(frame):
            asleep = place == turn.place and used < passed / 5 and passed < ON_TIME
            turn.ours += passed if asleep else min(used, passed)
            turn.stack = "".join(traceback.format_stack(frame, limit=8))
        turn.looked, turn.processor, turn.place = now, processor, place

    def _is_ours(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code is threading.Thread.start.__code__:
                return False  # it waits for the new thread's first step, which a busy machine may put off
            if frame.f_code.co_filename.startswith(self._package):
                return True
            if frame.f_code.co_name == "_run" and frame.f_code.co_filename.endswith("asyncio/events.py"):
                return False
            frame = frame.f_back
        return False


_refuser = BlockBuster("wings")  # made once: looking the functions up takes longer than switching them


@contextmanager
def refusing_blocking_calls() -> Iterator[None]:
    """Calls that block raise ``BlockingError`` when code of ours makes them on an event loop."""
    _refuser.activate()
    try:
        yield
    finally:
        _refuser.deactivate()


@pytest.fixture(autouse=True)
def loop_guard() -> Iterator[None]:
    """Every test, by itself: nothing of ours blocks an event loop."""
    with refusing_blocking_calls(), LoopGuard() as guard:
        yield
    if guard.blocked:
        pytest.fail("the event loop was blocked:\n" + "\n".join(guard.blocked), pytrace=False)
