"""The thread pools for everything that would block the event loop, one per kind of work.

Kept apart so that one slow network mount does not stop the rest, and bounded so that nothing piles up
without end (P6).
"""

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from types import TracebackType
from typing import ParamSpec, TypeVar

from wings.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

FILES_THREADS = 4
BROWSE_THREADS = 4
MOST_WAITING = 1000  # calls per pool, running ones included


class Pool(StrEnum):
    """Kinds of work. ``archive``: long, writes or reads archives. ``files``: short, metadata of a few files.

    ``browse``: reads inside backups for people who wait for the answer.
    """

    ARCHIVE = "archive"
    FILES = "files"
    BROWSE = "browse"


class Busy(Unavailable):
    """So many calls wait for threads that another one would only make it worse."""

    code = "busy"


class Pools:
    """All pools of the daemon; a context manager that releases their threads."""

    def __init__(
        self,
        *,
        archive: int,
        files: int = FILES_THREADS,
        browse: int = BROWSE_THREADS,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        sizes = {Pool.ARCHIVE: archive, Pool.FILES: files, Pool.BROWSE: browse}
        self._executors = {pool: ThreadPoolExecutor(size, thread_name_prefix=pool) for pool, size in sizes.items()}
        self._calls = dict.fromkeys(Pool, 0)
        self._most_waiting = most_waiting
        self._closed = False

    async def run(self, pool: Pool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function on a thread of the pool, with the caller's context variables.

        A caller that is cancelled while the function still waits for a thread takes it back. Once it runs,
        the caller is held until it is through, so that nobody cleans up under the feet of a thread that
        still works; cancelling a second time leaves it behind. Raises ``Busy`` when too many wait.
        """
        if self._calls[pool] >= self._most_waiting:
            raise Busy(f"{self._calls[pool]} operations wait for the '{pool}' threads already; try again later")
        if self._closed:
            raise Unavailable("the daemon is stopping; try again when it is back")
        context = contextvars.copy_context()
        future = self._executors[pool].submit(lambda: context.run(function, *args, **kwargs))
        self._calls[pool] += 1
        try:
            waiting = asyncio.wrap_future(future)
            waiting.add_done_callback(lambda _: self._through(pool))
        except BaseException:
            self._through(pool)
            raise
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not future.cancel():
                await asyncio.wait({waiting})
                if not waiting.cancelled():
                    waiting.exception()  # taken note of: the cancellation is what the caller hears of
            raise

    def running(self) -> Mapping[Pool, int]:
        """How many calls each pool has not finished; what is left after a stop hangs in the operating system."""
        return dict(self._calls)

    def close(self) -> None:
        """Take no more work, drop what has not begun, and let the threads end when they are through."""
        self._closed = True
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> "Pools":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _through(self, pool: Pool) -> None:
        self._calls[pool] -= 1
