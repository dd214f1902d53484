"""``/metrics`` for Prometheus."""

import asyncio

from aiohttp import web

from wings.api.routing import Route
from wings.api.services import Services
from wings.errors import NotFound


async def metrics(request: web.Request, services: Services) -> web.Response:
    """Render what there is now."""
    if services.metrics is None:
        raise NotFound("metrics are switched off (wings.metrics.enabled)")
    body, media = await asyncio.to_thread(services.metrics.render)
    return web.Response(body=body, headers={"Content-Type": media})


ROUTES = [Route("GET", "/metrics", metrics, "Metrics in Prometheus' text format", media="text/plain")]
