"""Server-sent events: one message per event, and a sign of life when nothing happens."""

import asyncio

import orjson
from aiohttp import hdrs, web

from wings.api.names import presentable
from wings.jobs.events import Event, Subscription

HEARTBEAT = 15.0  # seconds of silence after which a comment shows that the stream lives


async def stream_events(
    request: web.Request, subscription: Subscription, *, heartbeat: float = HEARTBEAT
) -> web.StreamResponse:
    """Send what the subscription brings until the client leaves or the bus is closed."""
    headers = {hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(b": listening\n\n")  # whoever reads this misses nothing that happens from now on
    pending = asyncio.ensure_future(anext(subscription, None))
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=heartbeat)
            if not done:
                await response.write(b": alive\n\n")
                continue
            event = pending.result()
            if event is None:
                break
            await response.write(_message(event))
            pending = asyncio.ensure_future(anext(subscription, None))
    finally:
        pending.cancel()
    await response.write_eof()
    return response


def _message(event: Event) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event.kind.encode(), orjson.dumps(presentable(event.data)))
