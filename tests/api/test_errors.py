"""How failures of every kind look on the wire, and what the log has of them."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.api.conftest import Api
from wings.api.application import LARGEST_BODY, build_application
from wings.api.errors import status_of
from wings.api.listener import Listener
from wings.api.routing import Route, register
from wings.api.services import Services
from wings.errors import Conflict, Damaged, NoSpace, NotFound, Refused, Unavailable, Unsupported, WingsError

Raise = Callable[[BaseException], Awaitable[tuple[int, dict[str, str]]]]


@pytest.fixture
async def raising(api: Api, tmp_path: Path) -> AsyncIterator[Raise]:
    """A route behind the real middlewares that raises what it is told to."""
    raised: list[BaseException] = []

    async def handler(request: web.Request, services: Services) -> object:
        raise raised[-1]

    application = build_application(api.services)
    register(application, [Route("GET", "/raise", handler, "A test")])
    socket = tmp_path / "raising.sock"
    listener = Listener(application, str(socket), 0)
    await listener.start()
    connector = aiohttp.UnixConnector(str(socket))
    async with aiohttp.ClientSession("http://wings", connector=connector, headers=api.session.headers) as session:

        async def get(error: BaseException) -> tuple[int, dict[str, str]]:
            raised.append(error)
            async with session.get("/raise") as response:
                return response.status, await response.json()

        yield get
    await listener.stop()


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (NotFound, 404, "not_found"),
        (Conflict, 409, "conflict"),
        (Unavailable, 503, "unavailable"),
        (NoSpace, 507, "no_space"),
        (Damaged, 422, "damaged"),
        (Refused, 403, "refused"),
        (Unsupported, 417, "unsupported"),
        (WingsError, 500, "internal"),
    ],
)
async def test_our_errors(raising: Raise, kind: type[WingsError], status: int, code: str) -> None:
    """Text, code and status are those of the class; a name that is no text cannot spoil the answer."""
    assert await raising(kind("what and why")) == (status, {"error": "what and why", "code": code})
    assert await raising(kind("bad \udcff name")) == (status, {"error": "bad \\xff name", "code": code})


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), ConnectionResetError("secret"), OSError(5, "secret")])
async def test_others(raising: Raise, error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    """P10: an id for the caller, the rest for the log; also where a storage, not the caller, hung up."""
    status, answer = await raising(error)
    assert (status, answer["code"]) == (500, "internal") and "secret" not in str(answer)
    told = capfd.readouterr().out
    incident = answer["error"].partition("incident ")[2].partition(" ")[0]
    assert len(incident) == 12 and incident in told and "secret" in told and "Traceback" in told


async def test_an_error_costs_nobody_the_connection(raising: Raise) -> None:
    """Answers before it on the same connection are no reason to believe that this one has begun."""
    for _ in range(3):
        assert (await raising(NotFound("x")))[0] == 404
        assert (await raising(ZeroDivisionError()))[0] == 500


def test_statuses_of_jobs() -> None:
    """What a job ended with has the status the request itself would have had."""
    assert [status_of(code) for code in ("no_space", "store_full", "cancelled", "interrupted", "?", "internal")] == [
        507,
        507,
        409,
        503,
        500,
        500,
    ]


async def test_bodies_have_a_limit(api: Api) -> None:
    async with api.session.post("/api/local/servers", data=io.BytesIO(b"x" * (LARGEST_BODY + 1))) as response:
        assert response.status == 413
        assert f"larger than the {LARGEST_BODY} bytes" in (await response.json())["error"]


async def test_a_broken_request_body(api: Api) -> None:
    """A body that cannot be decoded is the caller's mistake."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with api.session.post("/api/local/servers", data=b"no gzip", headers=headers) as response:
        assert response.status == 400
        assert set(await response.json()) == {"error", "code"}


async def test_other_methods_are_named(api: Api) -> None:
    async with api.session.patch("/api/local/servers") as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) >= {"GET", "POST"}


async def test_challenge(api: Api) -> None:
    async with api.session.get("/api/jobs", headers={"Authorization": "Bearer no"}) as response:
        assert response.status == 401 and response.headers["WWW-Authenticate"] == "Bearer"


async def test_every_answer_has_an_id_that_the_log_has_too(api: Api, capfd: pytest.CaptureFixture[str]) -> None:
    """P10: the line in the log has no query: it may hold download tokens."""
    for path in ("/api/jobs?token=hunter2", "/no/such/route?token=hunter2"):
        async with api.session.get(path) as response:
            identity = response.headers["X-Request-Id"]
        assert len(identity) == 12
        told = capfd.readouterr().out
        assert identity in told and "hunter2" not in told


async def test_requests_are_counted_by_route(api: Api) -> None:
    """Label values stay few, whatever methods and paths are tried."""
    for method, path in [("GET", "/api/local/backups/beef"), ("PROPFIND", "/pot/1"), ("MKCOL", "/pot/2")]:
        async with api.session.request(method, path):
            pass
    async with api.session.get("/metrics") as response:
        lines = [line for line in (await response.text()).splitlines() if line.startswith("wings_http_requests_total")]
    assert 'wings_http_requests_total{method="GET",route="/api/local/backups/{backup}",status="404"} 1.0' in lines
    assert 'wings_http_requests_total{method="other",route="unmatched",status="404"} 2.0' in lines
    assert "beef" not in str(lines) and "PROPFIND" not in str(lines)


async def test_switched_off(api: Api, tmp_path: Path) -> None:
    """Without metrics or documentation there is no such route, whoever asks."""
    services = replace(api.services, metrics=None, documentation=False)
    listener = Listener(build_application(services), str(tmp_path / "bare.sock"), 0)
    await listener.start()
    connector = aiohttp.UnixConnector(str(tmp_path / "bare.sock"))
    async with aiohttp.ClientSession("http://wings", connector=connector, headers=api.session.headers) as session:
        for path, status in [("/metrics", 404), ("/openapi.json", 404), ("/api/health", 200)]:
            async with session.get(path) as response:
                assert response.status == status
    await listener.stop()
