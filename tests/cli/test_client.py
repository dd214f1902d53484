"""What the command line makes of a daemon that is gone, strange, or breaks off."""

import os
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import ScriptedDaemon, response
from wings.cli.client import Client, place
from wings.cli.failures import NotRunning, ServerError, TransferBroken
from wings.cli.settings import Settings
from wings.config.locate import local_config
from wings.config.problems import NoConfiguration
from wings.errors import InvalidInput, Refused, Unavailable


def test_calls_and_errors(daemon: ScriptedDaemon) -> None:
    """Answers are decoded; the daemon's own errors keep text, code and meaning."""
    daemon.lay_json("/a", {"x": 1})
    daemon.lay_json("/b", {"error": "no such thing", "code": "not_found"}, status=404)
    daemon.lay_json("/c", {"error": "stored elsewhere", "code": "of_a_newer_version"}, status=507)
    daemon.lay("/d", response(b"<html>", status=502))
    daemon.lay("/e", response(b"[1]", status=404))
    client = Client(daemon.settings)
    assert client.call("GET", "/a", query={"q": "ä &"}) == {"x": 1}
    assert daemon.requests == ["GET /a?q=%C3%A4+%26"]
    for path, text, code, exit_code in [
        ("/b", "no such thing", "not_found", 4),
        ("/c", "stored elsewhere", "of_a_newer_version", 7),
        ("/d", "the daemon answered with HTTP status 502", "http_502", 1),
        ("/e", "the daemon answered with HTTP status 404", "http_404", 4),
    ]:
        with pytest.raises(ServerError) as failure:
            client.call("POST", path, body={})
        assert (str(failure.value), failure.value.told_code, failure.value.told_exit_code) == (text, code, exit_code)


def test_something_else_answers(daemon: ScriptedDaemon) -> None:
    daemon.lay("/a", response(b"hello"))
    daemon.lay("/b", b"SSH-2.0-x\r\n")
    daemon.lay("/c", b"")
    client = Client(daemon.settings)
    with pytest.raises(Unavailable, match="is no wings daemon"):
        client.call("GET", "/a")
    with pytest.raises(Unavailable, match="connection to the daemon broke"):
        client.call("GET", "/b")
    with pytest.raises(Unavailable, match="connection to the daemon broke"):
        client.call("GET", "/c")


def test_a_body_that_ends_early_is_an_error(daemon: ScriptedDaemon) -> None:
    """W-20: seen from the other side: with a length, in chunks, at the first byte and in the middle."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    daemon.lay("/length", response(b"hello", length=9))
    daemon.lay("/nothing", response(b"", length=9))
    daemon.lay("/chunked", chunked)
    daemon.lay("/whole", chunked + b"0\r\n\r\n")
    client = Client(daemon.settings)
    for path, come in [("/length", b"hello"), ("/nothing", b""), ("/chunked", b"hello")]:
        got = b""
        with client.stream("GET", path) as body, pytest.raises(TransferBroken, match="broke off after"):
            for chunk in body.chunks():
                got += chunk
        assert got in (come, b"")  # whatever came, it was not taken for the whole
    with client.stream("GET", "/whole") as body:
        assert b"".join(body.chunks()) == b"hello"


def test_nobody_there(tmp_path: Path) -> None:
    """No root, a root without a socket, a socket left over: how to start it, exit code 6."""
    settings = Settings(root=tmp_path / "a b")
    command = f"wings --root '{tmp_path}/a b'"
    with pytest.raises(NotRunning, match=command):
        Client(settings)
    local_config(tmp_path / "a b", os.environ)
    with pytest.raises(NotRunning, match=command):
        Client(settings).call("GET", "/")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / "a b" / "wings.sock"))
    with pytest.raises(NotRunning, match=command):
        Client(settings).call("GET", "/")
    assert NotRunning.exit_code == 6


def test_a_deep_root_that_is_gone(tmp_path: Path) -> None:
    """A socket path that is too long for the kernel, in a directory that is not there."""
    root = tmp_path / ("d" * 120)
    local_config(root, os.environ)
    client = Client(Settings(root=root))
    (root / "config.yml").unlink()
    root.rmdir()
    with pytest.raises(NotRunning):
        client.call("GET", "/")


def test_no_permission(daemon: ScriptedDaemon) -> None:
    """Another user's daemon: who has to ask, exit code 9."""
    if os.geteuid() != 0:
        (daemon.root / "wings.sock").chmod(0)
        with pytest.raises(Refused, match="run this as the user"):
            Client(daemon.settings).call("GET", "/")
        return
    client = Client(daemon.settings)
    os.seteuid(65534)
    try:
        with pytest.raises(Refused, match="run this as the user"):
            client.call("GET", "/")
    finally:
        os.seteuid(0)


def test_over_tcp(tmp_path: Path) -> None:
    """Address and token from a file, 0.0.0.0 meaning this machine; a port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "config.yml"
    config.write_text(f"token: abc\napi:\n  host: 0.0.0.0\n  port: {port}\n")
    with pytest.raises(NotRunning, match=rf"at 0.0.0.0:{port}: start it with .*wings --config {config}"):
        Client(Settings(config=config)).call("GET", "/")


def test_root_and_config_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="exclude each other"):
        Client(Settings(root=tmp_path, config=tmp_path / "config.yml"))


def test_no_configuration_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways on are named."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoConfiguration, match=r"(?s)wings configure.*wings --root DIR"):
        Client(Settings())


def test_names_in_paths() -> None:
    """Whatever a server is called, it stays one part of the path."""
    assert place("/api", "a/b?c%", "ä") == "/api/a%2Fb%3Fc%25/%C3%A4"
    assert place("/api", os.fsdecode(b"\xff"), "tree") == "/api/%FF/tree"
    with pytest.raises(InvalidInput, match="names nothing"):
        place("/api", "")
