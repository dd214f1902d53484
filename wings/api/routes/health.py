"""``/api/health``: whether the daemon is up."""

from aiohttp import web
from pydantic import BaseModel

from wings.api.routing import Route, json_response
from wings.api.services import Services


class Health(BaseModel):
    """``status`` is ``starting``, ``ready`` or ``stopping``; ready answers 200, the others 503."""

    status: str
    version: str


async def health(request: web.Request, services: Services) -> web.Response:
    """Say the phase."""
    phase = str(services.phase())
    return json_response(Health(status=phase, version=services.version), 200 if phase == "ready" else 503)


ROUTES = [Route("GET", "/api/health", health, "Whether the daemon is ready", answer=Health)]
