"""The one place where errors become HTTP."""

from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import structlog
from aiohttp import hdrs, web

from wings.api.auth import Unauthorized
from wings.api.names import plain
from wings.api.routing import json_response
from wings.errors import InvalidInput, Unavailable, WingsError, shown
from wings.jobs.model import INTERRUPTED_CODE

GONE = 499  # as proxies write it: the client went away before there was an answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raised into ``{"error": text, "code": code}`` with the error's status.

    Anything unexpected becomes 500 with an incident id that stands in the log beside the traceback. When a body
    has begun already, the log gets the reason and the connection is broken, so that nobody takes a part for the
    whole (W-20).
    """
    try:
        return await handler(request)
    except Exception as error:  # the border: nothing may pass it but an answer
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            return _broken(request, GONE)
        return _answer(request, error)


def status_of(code: str) -> int:
    """The HTTP status an error of this code has, for jobs that ended with it; 500 for codes nobody knows."""
    if code == INTERRUPTED_CODE:
        return Unavailable.http_status  # the daemon stopped: ask again when it is back
    return next((kind.http_status for kind in _kinds(WingsError) if kind.code == code), WingsError.http_status)


def _kinds(base: type[WingsError]) -> Iterator[type[WingsError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def _answer(request: web.Request, error: Exception) -> web.Response:
    log = structlog.stdlib.get_logger("wings.api").bind(method=request.method, path=request.path)
    headers: dict[str, str] = {}
    if isinstance(error, WingsError):
        text, code, status = plain(str(error)), error.code, error.http_status
        if isinstance(error, Unauthorized):
            headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    elif isinstance(error, web.HTTPException):
        text, code, status = _words(error, request), f"http_{error.status}", error.status
        if hdrs.ALLOW in error.headers:
            headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    elif isinstance(error, web.RequestPayloadError):
        text, code, status = f"the request's body cannot be read: {error}", InvalidInput.code, InvalidInput.http_status
    else:
        incident = uuid4().hex[:12]
        log.error("unexpected error", incident=incident, exc_info=error)
        text = f"an unexpected error occurred; incident {incident} in the daemon's log has the details"
        code, status = WingsError.code, WingsError.http_status
    if request.writer.output_size > 0:
        log.error("an answer broke off", error=text, code=code)
        return _broken(request, status)
    response = json_response({"error": text, "code": code}, status)
    response.headers.update(headers)
    return response


def _broken(request: web.Request, status: int) -> web.Response:
    """End a request whose client cannot be answered any more; what is returned never leaves."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=status)


def _words(error: web.HTTPException, request: web.Request) -> str:
    if error.status == 404:
        return f"there is no route {shown(request.path)}; /openapi.json lists those there are"
    if error.status == 405:
        return f"{shown(request.path)} does not take {shown(request.method)}"
    if error.status == 413:
        return f"the request's body is larger than the {request.client_max_size} bytes that are allowed"
    return error.reason or "the request was refused"
