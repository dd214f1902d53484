"""Routes as data: one table row is registered, documented and measured alike.

Where the panel's routes join: ``Route.public`` becomes the kind of credential a route wants (node token, JWT of a
scope; ``auth.py`` checks it), and ``_wrapped`` and ``read_body`` choose between JSON and MessagePack (node-api §1.2),
errors included. Handlers know nothing of either.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from wings.api.auth import require_token
from wings.api.services import Services
from wings.errors import InvalidInput

SERVICES = web.AppKey("services", Services)
Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[[web.Request, Services], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, for the documentation; the handler reads it itself."""

    name: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    ``answer`` is the type of what the handler returns (anything pydantic can describe), ``None`` when it
    returns a response of its own, whose media type is then ``media``. ``public`` ones need no token.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: object = None
    body: type[BaseModel] | None = None
    query: Sequence[Parameter] = ()
    status: int = 200
    media: str = "application/json"
    public: bool = False


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """The JSON body as ``model``; an empty body counts as ``{}``. Raises ``InvalidInput`` naming every mistake."""
    data = await request.read() if request.can_read_body else b""
    try:
        return model.model_validate_json(data or b"{}")
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}"
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise InvalidInput(f"the request's body does not fit: {mistakes}") from None


def register(application: web.Application, routes: Sequence[Route]) -> None:
    """Add the rows of a table to the application."""
    for route in routes:
        application.router.add_route(route.method, route.path, _wrapped(route))


def json_response(data: object, status: int = 200) -> web.Response:
    """Any JSON-able data, models included, as a response."""
    return web.Response(body=orjson.dumps(data, default=_jsonable), status=status, content_type="application/json")


def _wrapped(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    encoder: TypeAdapter[object] | None = (
        TypeAdapter(cast("type[object]", route.answer)) if route.answer is not None else None
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        if not route.public:
            require_token(request, services.token)
        answer = await route.handler(request, services)
        if isinstance(answer, web.StreamResponse):
            return answer
        if encoder is None:
            return json_response(answer, route.status)
        return web.Response(body=encoder.dump_json(answer), status=route.status, content_type="application/json")

    return handle


def _jsonable(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON")
