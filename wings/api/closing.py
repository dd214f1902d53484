"""Knowing that the daemon stops, for requests that would otherwise hold it up by waiting."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

from wings.api.routing import SERVICES

T = TypeVar("T")

_CLOSING = web.AppKey("closing", asyncio.Event)


def install(application: web.Application) -> None:
    """Let ``or_closing`` work and the event streams end as soon as the application is asked to shut down."""
    closing = application[_CLOSING] = asyncio.Event()

    async def begin(application: web.Application) -> None:
        closing.set()
        application[SERVICES].events.close()

    application.on_shutdown.append(begin)


async def or_closing(application: web.Application, work: Awaitable[T]) -> T | None:
    """The result of ``work``, or ``None`` when the daemon stops before there is one; ``work`` is cancelled then."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(application[_CLOSING].wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()
