"""News for whoever listens: changes of jobs, progress. Nobody who listens slowly holds anybody up."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from wings.jobs.model import JsonObject

QUEUE = 256  # events a subscriber may lag behind


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of news. ``replaces`` names a subject of which only the latest news counts (W-21)."""

    kind: str
    data: JsonObject = field(default_factory=dict)
    replaces: str | None = None


RESET = Event("reset")  # news were lost: ask for the whole state again

Filter = Callable[[Event], bool]


class EventBus:
    """Hands every event to every subscriber. Used on the event loop's thread only.

    Each subscriber has a bounded queue. Events that ``replace`` earlier ones take their place at the end of
    the queue, and are the first to go when it is full. When others do not fit either, the subscriber gets
    ``reset`` instead of everything it missed: it is never left believing an old state.
    """

    def __init__(self, queue: int = QUEUE) -> None:
        self._queue = queue
        self._subscribers: set[Subscription] = set()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Tell everybody; returns at once."""
        for subscriber in self._subscribers:
            subscriber.offer(event)

    def subscribe(self, filter: Filter | None = None) -> "Subscription":
        """``async with bus.subscribe() as news: async for event in news``; only events ``filter`` is true for.

        Subscribe before asking for the state there is: then nothing falls in between.
        """
        return Subscription(self, filter, self._queue)

    def close(self) -> None:
        """End every subscription once it has delivered what it holds."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.end()

    def join(self, subscriber: "Subscription") -> None:
        """For ``Subscription``: begin to receive."""
        self._subscribers.add(subscriber)
        if self._closed:
            subscriber.end()

    def leave(self, subscriber: "Subscription") -> None:
        """For ``Subscription``: receive no more."""
        self._subscribers.discard(subscriber)


class Subscription:
    """One listener: an async context manager, and inside it an async iterator."""

    def __init__(self, bus: EventBus, filter: Filter | None, limit: int) -> None:
        self._bus = bus
        self._filter = filter
        self._limit = limit
        self._waiting: OrderedDict[str | int, Event] = OrderedDict()
        self._number = 0
        self._ended = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Subscription":
        self._bus.join(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.leave(self)
        self._waiting.clear()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        _, event = self._waiting.popitem(last=False)
        return event

    def offer(self, event: Event) -> None:
        """For the bus: take the event in, if it is of interest."""
        if self._filter is not None and not self._filter(event):
            return
        if event.replaces is not None:
            self._waiting.pop(event.replaces, None)
        if len(self._waiting) >= self._limit and not self._make_room(event):
            return
        self._put(event)

    def end(self) -> None:
        """For the bus: nothing more will come."""
        self._ended = True
        self._news.set()

    def _put(self, event: Event) -> None:
        self._number += 1
        self._waiting[event.replaces if event.replaces is not None else self._number] = event
        self._news.set()

    def _make_room(self, event: Event) -> bool:
        if event.replaces is not None:
            return False  # the next one of this subject will do as well
        for key, waiting in self._waiting.items():
            if waiting.replaces is not None:
                del self._waiting[key]
                return True
        self._waiting.clear()
        self._put(RESET)
        return False
