"""Every request gets an id, a line in the log and a place in the metrics."""

import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import structlog
from aiohttp import hdrs, web

from wings.api.errors import GONE
from wings.api.routing import SERVICES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = "X-Request-Id"
# Asked every few seconds by machines and by whoever waits for a job: worth a line only when it goes wrong.
QUIET = frozenset({"/api/health", "/metrics", "/api/jobs/{job}"})

_ID = web.RequestKey("id", str)


@web.middleware
async def account_for(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log method, path and outcome. The query is left out: it may hold download tokens (cli-and-host §5.6)."""
    begun = time.monotonic()
    identity = request[_ID] = uuid4().hex[:12]
    status = GONE
    with structlog.contextvars.bound_contextvars(request=identity):
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            seconds = time.monotonic() - begun
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unmatched"
            # Anybody may invent methods; label values stay few.
            method = request.method if request.method in hdrs.METH_ALL else "other"
            metrics = request.app[SERVICES].metrics
            if metrics is not None:
                metrics.request_answered(method, route, status, seconds)
            log = structlog.stdlib.get_logger("wings.access")
            say = log.debug if route in QUIET and status < 400 and request.method == hdrs.METH_GET else log.info
            say("request", method=request.method, path=request.path, status=status, seconds=round(seconds, 4))


async def tell_id(request: web.Request, response: web.StreamResponse) -> None:
    """Put the id on every answer, streams included; for ``on_response_prepare``."""
    if _ID in request:
        response.headers[REQUEST_ID] = request[_ID]
