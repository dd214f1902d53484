"""A daemon that misbehaves on purpose: real bytes over a real socket."""

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wings.cli.settings import Settings
from wings.config.locate import local_config
from wings.host.sockets import short_name


class ScriptedDaemon:
    """Answers each request with the bytes that were laid down for its path, then closes the connection."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = Settings(root=root)
        config = local_config(root, os.environ).config
        self.token = config.token.get_secret_value()
        self.requests: list[str] = []
        self._answers: dict[str, list[bytes]] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_name(root / "wings.sock") as short:
            self._socket.bind(str(short))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def lay(self, path: str, *answers: bytes) -> None:
        """What ``path`` answers, one after another; the last one again and again."""
        self._answers[path] = list(answers)

    def lay_json(self, path: str, *documents: object, status: int = 200) -> None:
        """The same with JSON documents."""
        self.lay(path, *(response(json.dumps(one).encode(), status=status) for one in documents))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):  # clients may go at any time
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = connection.recv(65536)
        while b"\r\n\r\n" not in head:
            head += _more(connection)
        head, _, body = head.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length is not None and len(body) < int(length[1]):
            body += _more(connection)
        method, path, _rest = head.decode().split(" ", 2)
        self.requests.append(f"{method} {path}")
        queue = self._answers.get(path.partition("?")[0], [response(b'{"error":"?","code":"x"}', status=404)])
        connection.sendall(queue.pop(0) if len(queue) > 1 else queue[0])


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the client has gone")
    return data


def response(body: bytes, *, status: int = 200, length: int | None = None, headers: str = "") -> bytes:
    """A complete answer, or with ``length`` one that promises something else than it holds."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    daemon = ScriptedDaemon(tmp_path / "node")
    yield daemon
    daemon.close()
