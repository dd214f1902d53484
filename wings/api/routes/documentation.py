"""``/openapi.json``: this API described for programs."""

import asyncio

from aiohttp import web

from wings.api.openapi import Document, document
from wings.api.routing import Route
from wings.api.services import Services

TABLE = web.AppKey[list[Route]]("table")  # every route of the application


async def openapi(request: web.Request, services: Services) -> Document:
    """Made when asked for: hardly anybody asks, and every start would pay for it."""
    return await asyncio.to_thread(document, request.app[TABLE], services.version)


ROUTES = [Route("GET", "/openapi.json", openapi, "This document", public=True)]
