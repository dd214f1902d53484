"""``/api/events``: job states and progress as they change (server-sent events)."""

from aiohttp import web

from wings.api.routing import Parameter, Route
from wings.api.services import Services
from wings.api.sse import stream_events
from wings.jobs.events import Event


async def events(request: web.Request, services: Services) -> web.StreamResponse:
    """Stream until the client leaves or the daemon stops."""
    backup = request.query.get("backup", "").lower()

    def wanted(event: Event) -> bool:
        return not backup or event.data.get("backup") == backup

    async with services.events.subscribe(wanted) as subscription:
        return await stream_events(request, subscription)


ROUTES = [
    Route(
        "GET",
        "/api/events",
        events,
        "Job states and progress as server-sent events",
        query=[Parameter("backup", "only those of jobs about this backup, by its whole uuid")],
        media="text/event-stream",
    )
]
