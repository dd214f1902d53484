"""Addresses: sockets left over, in use, too long; ports that are taken."""

import socket
import stat
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from wings.api.listener import CannotListen, Listener
from wings.host.sockets import short_name


def _application() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", hello)
    return application


async def _ask(path: Path) -> str:
    with short_name(path) as short:
        connector = aiohttp.UnixConnector(str(short))
        async with aiohttp.ClientSession(connector=connector) as session, session.get("http://wings/") as response:
            return await response.text()


async def test_only_the_owner_gets_in(tmp_path: Path) -> None:
    """P10: the socket has mode 0600 from its first moment, and goes with the listener."""
    path = tmp_path / "wings.sock"
    listener = Listener(_application(), str(path), 0)
    await listener.start()
    facts = path.stat()
    assert stat.S_ISSOCK(facts.st_mode) and stat.S_IMODE(facts.st_mode) == 0o600
    assert await _ask(path) == "hello"
    await listener.stop()
    assert list(tmp_path.iterdir()) == []


async def test_a_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    """Any --root works, however deep."""
    deep = tmp_path / ("d" * 60) / ("e" * 60) / ("f" * 60)
    deep.mkdir(parents=True)
    listener = Listener(_application(), str(deep / "wings.sock"), 0)
    await listener.start()
    assert await _ask(deep / "wings.sock") == "hello"
    await listener.stop()
    assert list(deep.iterdir()) == []


async def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "wings.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    listener = Listener(_application(), str(path), 0)
    await listener.start()
    assert await _ask(path) == "hello"
    await listener.stop()


async def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "wings.sock"
    first = Listener(_application(), str(path), 0)
    await first.start()
    with pytest.raises(CannotListen, match="another program answers"):
        await Listener(_application(), str(path), 0).start()
    assert await _ask(path) == "hello"
    await first.stop()


async def test_a_file_is_not_deleted(tmp_path: Path) -> None:
    """The reference removes whatever lies at the path; a typing mistake must not cost a file."""
    path = tmp_path / "localhost"
    path.write_text("precious")
    with pytest.raises(CannotListen, match="is no socket"):
        await Listener(_application(), str(path), 0).start()
    assert path.read_text() == "precious"


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"127.0.0.1:{port} already in use"):
            await Listener(_application(), "127.0.0.1", port).start()
