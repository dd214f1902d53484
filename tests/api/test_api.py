"""The HTTP API as a client sees it."""

import asyncio
import base64
import json
import os
import re

import pytest
from aiohttp import ClientPayloadError
from openapi_spec_validator import validate

from tests.api.conftest import TOKEN, Api
from tests.conftest import ROOT
from wings.api.application import route_table
from wings.api.openapi import document
from wings.errors import WingsError


async def call(api: Api, method: str, path: str, **keywords: object) -> tuple[int, object]:
    async with api.session.request(method, path, **keywords) as response:  # type: ignore[arg-type]  # passed on as given
        return response.status, json.loads(await response.read())


async def finished(api: Api, answer: object) -> dict[str, object]:
    assert isinstance(answer, dict)
    status, job = await call(api, "GET", f"/api/jobs/{answer['job']['id']}?wait=20")
    assert status == 200 and isinstance(job, dict)
    return job


async def made(api: Api, files: dict[str, bytes]) -> str:
    """A backup of a server with these files."""
    await api.house.server("world", files)
    status, queued = await call(api, "POST", "/api/local/backups", json={"server": "world"})
    assert status == 202 and isinstance(queued, dict)
    job = await finished(api, queued)
    assert job["state"] == "succeeded", job
    return str(queued["uuid"])


async def test_every_route_but_the_document_needs_the_token(api: Api) -> None:
    """P10: the same answer for no token, a wrong one, and another scheme."""
    for route in route_table():
        path = route.path.replace("{", "").replace("}", "")
        for header in ("", "Bearer wrong", f"Basic {TOKEN}", "Bearer ", "Bearer \u00e4"):
            status, answer = await call(api, route.method, path, headers={"Authorization": header})
            if route.public:
                assert status == 200
            else:
                assert (status, answer) == (401, answer) and answer["code"] == "unauthorized", path  # type: ignore[index]


async def test_document_is_valid_and_complete(api: Api) -> None:
    """Every row of the table stands in /openapi.json, which is valid OpenAPI."""
    status, told = await call(api, "GET", "/openapi.json")
    assert status == 200 and isinstance(told, dict)
    validate(told)
    assert told == json.loads(json.dumps(document(route_table(), told["info"]["version"])))
    operations = {(path, method) for path, item in told["paths"].items() for method in item}
    assert operations == {(route.path, route.method.lower()) for route in route_table()}
    names = [operation["operationId"] for item in told["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names))


def test_every_route_is_documented() -> None:
    """docs/http-api.md has a row per route, and none besides."""
    rows = re.findall(r"^\| `([A-Z]+) (/[^`?]*)", (ROOT / "docs" / "http-api.md").read_text(), re.M)
    assert sorted(rows) == sorted((route.method, route.path) for route in route_table())


async def test_errors_have_one_shape(api: Api) -> None:
    cases = [
        ("GET", "/no/such/route", 404, "http_404"),
        ("PATCH", "/api/jobs", 405, "http_405"),
        ("GET", "/api/local/backups/beef", 404, "not_found"),
        ("GET", "/api/jobs/beef", 400, "invalid_input"),
        ("POST", "/api/local/adapters/tape/check", 404, "not_found"),
    ]
    for method, path, wanted, code in cases:
        status, answer = await call(api, method, path)
        assert isinstance(answer, dict)
        assert (status, answer["code"], set(answer)) == (wanted, code, {"error", "code"}), path
        assert answer["error"]


async def test_bodies_are_checked(api: Api) -> None:
    """All mistakes of a body at once, in words."""
    status, answer = await call(api, "POST", "/api/local/backups", json={"format": "rar", "ignore": 3})
    assert status == 400 and isinstance(answer, dict)
    for part in ("server", "format", "ignore"):
        assert part in str(answer["error"])
    status, answer = await call(api, "POST", "/api/local/backups", data=b"{not json")
    assert status == 400
    status, answer = await call(api, "POST", "/api/local/servers", json={"name": "x"})
    assert status == 400 and "path" in str(answer)


async def test_unexpected_errors_have_an_incident(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of a bug leaks out but an id; the log has the rest."""

    def broken() -> str:
        raise ZeroDivisionError("a secret detail")

    api.phase = "ready"
    services = api.house.service
    original = services.adapters
    services.adapters = broken  # type: ignore[method-assign,assignment]  # a bug, on purpose
    try:
        status, answer = await call(api, "GET", "/api/local/adapters")
    finally:
        services.adapters = original  # type: ignore[method-assign]
    assert status == 500 and isinstance(answer, dict) and answer["code"] == "internal"
    assert "secret" not in str(answer) and "incident" in str(answer["error"])


async def test_health(api: Api) -> None:
    assert (await call(api, "GET", "/api/health"))[0] == 200
    api.phase = "starting"
    status, answer = await call(api, "GET", "/api/health")
    assert status == 503 and isinstance(answer, dict) and answer["status"] == "starting"


async def test_ranges(api: Api) -> None:
    """206 with Content-Range, 416 outside, the whole where there is no range."""
    content = bytes(range(256)) * 5000
    uuid = await made(api, {"big.bin": content})
    path = f"/api/local/backups/{uuid}/file?path=big.bin"
    for header, status, body, content_range in [
        (None, 200, content, None),
        ("bytes=0-9", 206, content[:10], "bytes 0-9/1280000"),
        ("bytes=1279990-", 206, content[-10:], "bytes 1279990-1279999/1280000"),
        ("bytes=-3", 206, content[-3:], "bytes 1279997-1279999/1280000"),
        ("bytes=0-1,5-6", 200, content, None),
        ("lines=1-2", 200, content, None),
    ]:
        async with api.session.get(path, headers={"Range": header} if header else {}) as response:
            assert (response.status, response.headers.get("Content-Range")) == (status, content_range)
            assert await response.read() == body
            assert response.headers["Content-Length"] == str(len(body))
    async with api.session.get(path, headers={"Range": "bytes=1280000-"}) as response:
        assert response.status == 416
    async with api.session.get(f"/api/local/backups/{uuid}/download") as response:
        assert response.headers["Content-Type"] == "application/gzip"
        assert f"{uuid}.tar.gz" in response.headers["Content-Disposition"]
        assert len(await response.read()) == response.content_length


async def test_a_broken_body_breaks_the_connection(api: Api) -> None:
    """W-20: an archive that ends in the middle of a download never looks complete."""
    uuid = await made(api, {"noise.bin": os.urandom(24 << 20)})
    archive = next(api.house.backups.glob(f"{uuid}.*"))
    async with api.session.get(f"/api/local/backups/{uuid}/download") as response:
        await response.content.readexactly(1 << 20)
        os.truncate(archive, 2 << 20)
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_names_that_are_not_text(api: Api) -> None:
    """Raw bytes go out and come in as base64, beside a name people can read."""
    server = await api.house.server("world", {"plain": b"1"})
    raw = b"bad\xff\nname"
    with open(os.path.join(os.fsencode(server.path), raw), "wb") as file:
        file.write(b"content")
    _, queued = await call(api, "POST", "/api/local/backups", json={"server": "world"})
    await finished(api, queued)
    assert isinstance(queued, dict)
    _status, entries = await call(api, "GET", f"/api/local/backups/{queued['uuid']}/tree")
    assert isinstance(entries, list)
    (odd,) = [entry for entry in entries if entry["name"] != "plain"]
    assert odd["name"] == "bad\\xff\\x0aname"
    assert base64.b64decode(odd["name_b64"]) == raw
    async with api.session.get(
        f"/api/local/backups/{queued['uuid']}/file", params={"path_b64": base64.b64encode(raw).decode()}
    ) as response:
        assert await response.read() == b"content"


@pytest.mark.slow
async def test_a_large_directory_holds_nobody_up(api: Api) -> None:
    """The listing is put into JSON beside the event loop, which the loop guard watches."""
    server = await api.house.server("world", {"first": b""})
    for number in range(20_000):
        (server.path / f"file-{number:05}").touch()
    _, queued = await call(api, "POST", "/api/local/backups", json={"server": "world", "format": "tar"})
    await finished(api, queued)
    assert isinstance(queued, dict)
    _status, entries = await call(api, "GET", f"/api/local/backups/{queued['uuid']}/tree")
    assert isinstance(entries, list) and len(entries) == 20_001
    assert set(entries[0]) == {"name", "type", "size", "mode", "modified", "target", "name_b64"}


async def test_events_tell_the_life_of_a_job(api: Api) -> None:
    """P7: from queued to succeeded on the stream, and nothing about other backups."""
    await api.house.server("world", {"a": b"1"})
    async with api.session.get("/api/events") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        _status, queued = await call(api, "POST", "/api/local/backups", json={"server": "world"})
        assert isinstance(queued, dict)
        states: list[str] = []
        async with asyncio.timeout(8):
            while "succeeded" not in states:
                line = await stream.content.readline()
                if line.startswith(b"data: "):
                    told = json.loads(line[6:])
                    assert told["backup"] == queued["uuid"]
                    states.append(told["state"])
        assert states[-1] == "succeeded" and "running" in states


async def test_cancel_over_http(api: Api) -> None:
    """W-8: DELETE ends a job, a second one is told that it is over."""
    await api.house.server("world", {f"{n}": os.urandom(1 << 20) for n in range(30)})
    status, queued = await call(api, "POST", "/api/local/backups", json={"server": "world", "format": "tar_xz"})
    assert isinstance(queued, dict)
    status, job = await call(api, "DELETE", f"/api/jobs/{queued['job']['id']}")
    assert status == 200 and isinstance(job, dict) and job["state"] == "cancelled"
    status, _answer = await call(api, "DELETE", f"/api/jobs/{queued['job']['id']}")
    assert status == 409


async def test_metrics_count(api: Api) -> None:
    await made(api, {"a": b"1"})
    async with api.session.get("/metrics") as response:
        text = await response.text()
    assert "wings_http_requests_total" in text


def test_statuses_are_http() -> None:
    """Every error class has a status a client can act on."""

    def kinds(base: type[WingsError]) -> list[type[WingsError]]:
        return [base, *(kind for below in base.__subclasses__() for kind in kinds(below))]

    for kind in kinds(WingsError):
        assert 400 <= kind.http_status <= 599 and kind.code == kind.code.lower()
        assert 1 <= kind.exit_code <= 11
