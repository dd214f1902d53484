"""Bodies that are files, with sources that fail in every way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from tests.api.conftest import Api
from wings.api.application import build_application
from wings.api.listener import Listener
from wings.api.routing import SERVICES, Route, register
from wings.api.services import Services
from wings.api.streams import asked_range, send
from wings.backups.protocol import ByteRange, Download
from wings.errors import Damaged, InvalidInput, Unavailable


class Chunks:
    """A ``FileStream`` of what it is given; exceptions are raised where they stand."""

    def __init__(self, *script: bytes | Exception) -> None:
        self.script = script
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for one in self.script:
            if isinstance(one, Exception):
                raise one
            yield one

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", ByteRange(0, 0)),
        ("bytes= 5-", ByteRange(5, None)),
        ("bytes=-7", ByteRange(suffix=7)),
        ("", None),
        ("lines=1-2", None),
        ("bytes=0-1,4-5", None),
    ],
)
def test_ranges_are_understood(header: str, wanted: ByteRange | None) -> None:
    assert asked_range(make_mocked_request("GET", "/", {"Range": header})) == wanted


@pytest.mark.parametrize(
    "header", ["bytes=", "bytes=-", "bytes=a-b", "bytes=1-2-3", f"bytes=0-{'9' * 5000}", "bytes=٣-"]
)
def test_nonsense_is_refused(header: str) -> None:
    """Digits without end and those of other scripts as well: an error of the caller, not of ours."""
    with pytest.raises(InvalidInput, match="Range header"):
        asked_range(make_mocked_request("GET", "/", {"Range": header}))


def test_a_condition_about_something_else() -> None:
    """There are no validators, so no If-Range can hold: the whole is the right answer."""
    headers = {"Range": "bytes=0-1", "If-Range": '"abc"'}
    assert asked_range(make_mocked_request("GET", "/", headers)) is None


@dataclass
class Broken:
    """A route of its own that sends what a test puts there, behind the real middlewares."""

    get: Callable[[], Awaitable[tuple[int, bytes, str | None]]]
    download: Download


@pytest.fixture
async def broken(api: Api, tmp_path: Path) -> AsyncIterator[Broken]:
    async def handler(request: web.Request, services: Services) -> web.StreamResponse:
        return await send(request, broken.download)

    application = build_application(api.services)
    assert application[SERVICES] is api.services
    register(application, [Route("GET", "/broken", handler, "A test")])
    socket = tmp_path / "broken.sock"
    listener = Listener(application, str(socket), 0)
    await listener.start()
    connector = aiohttp.UnixConnector(str(socket))
    async with aiohttp.ClientSession("http://wings", connector=connector, headers=api.session.headers) as session:

        async def get() -> tuple[int, bytes, str | None]:
            async with session.get("/broken") as response:
                return response.status, await response.read(), response.headers.get("Content-Disposition")

        broken = Broken(get, Download("x", "application/octet-stream", 6, Chunks(b"abc", b"", b"def")))
        yield broken
    await listener.stop()


async def test_the_whole(broken: Broken) -> None:
    """With and without a known length; empty chunks end nothing."""
    assert (await broken.get())[:2] == (200, b"abcdef")
    broken.download = replace(broken.download, size=None, stream=Chunks(b"abc", b"", b"def"))
    assert (await broken.get())[:2] == (200, b"abcdef")
    broken.download = replace(broken.download, size=0, stream=Chunks())
    assert (await broken.get())[:2] == (200, b"")


@pytest.mark.parametrize("size", [6, None])
@pytest.mark.parametrize("error", [Damaged("the archive ends early"), ZeroDivisionError("a bug")])
async def test_an_error_in_the_middle_breaks_the_connection(
    broken: Broken, size: int | None, error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    """W-20: whatever goes wrong, no clean end; the log says what it was, the source is closed."""
    chunks = Chunks(b"abc", error)
    broken.download = replace(broken.download, size=size, stream=chunks)
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await broken.get()
    assert chunks.closed >= 1
    told = capfd.readouterr().out
    assert "an answer broke off" in told
    assert "the archive ends early" in told or "ZeroDivisionError" in told


@pytest.mark.parametrize("size", [6, None])
async def test_an_error_after_the_last_byte(broken: Broken, size: int | None) -> None:
    """W-20: a checksum that turns out wrong at the end keeps the body from looking whole."""
    broken.download = replace(broken.download, size=size, stream=Chunks(b"abc", b"def", Damaged("checksum")))
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await broken.get()


@pytest.mark.parametrize("script", [(b"abc",), (b"abc", b"defg"), ()])
async def test_another_length_than_announced(broken: Broken, script: tuple[bytes, ...]) -> None:
    """W-20: a source that ends early without a word, or goes on too long, is never a whole body."""
    broken.download = replace(broken.download, size=6, stream=Chunks(*script))
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await broken.get()


@pytest.mark.parametrize(("error", "status"), [(Damaged("no"), 422), (Unavailable("no"), 503), (KeyError("x"), 500)])
async def test_what_cannot_be_begun_is_an_ordinary_error(broken: Broken, error: Exception, status: int) -> None:
    chunks = Chunks(error)
    broken.download = replace(broken.download, stream=chunks)
    got, body, disposition = await broken.get()
    assert (got, disposition, chunks.closed) == (status, None, 1) and b'"code"' in body


async def test_the_client_leaves(api: Api, broken: Broken, caplog: pytest.LogCaptureFixture) -> None:
    """No traceback for somebody who closes a window; the source is released."""
    chunks = Chunks(*([b"x" * (1 << 20)] * 64))
    broken.download = replace(broken.download, size=64 << 20, stream=chunks)
    connector = aiohttp.UnixConnector(str(api.socket.with_name("broken.sock")))
    async with aiohttp.ClientSession("http://wings", connector=connector, headers=api.session.headers) as session:
        response = await session.get("/broken")
        await response.content.readexactly(10)
        response.close()
    for _ in range(100):
        if chunks.closed:
            break
        await asyncio.sleep(0.02)
    assert chunks.closed == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("a.tar.gz", "attachment; filename=\"a.tar.gz\"; filename*=UTF-8''a.tar.gz"),
        ('w"ö\\;.zip', "attachment; filename=\"w___;.zip\"; filename*=UTF-8''w%22%C3%B6%5C%3B.zip"),
        ("a/../b", "attachment; filename=\"a/../b\"; filename*=UTF-8''a%2F..%2Fb"),
    ],
)
async def test_names_cannot_break_out_of_the_header(broken: Broken, name: str, disposition: str) -> None:
    broken.download = replace(broken.download, name=name)
    assert (await broken.get())[2] == disposition
