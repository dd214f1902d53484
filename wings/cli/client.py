"""The daemon's HTTP API as the commands use it.

Synchronous and on the standard library: a command makes a few calls one after another, and an asynchronous client
would double the time it takes to start.
"""

import http.client
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from wings.cli.failures import NotRunning, ServerError, TransferBroken
from wings.cli.settings import Settings
from wings.config.load import load
from wings.config.locate import find_config, local_config
from wings.config.models import Config
from wings.config.problems import NoConfiguration
from wings.errors import InvalidInput, Refused, Unavailable, shown
from wings.host.sockets import short_name

Json = Any  # what the daemon answers; each command knows the shape it asked for
CONNECT_PATIENCE = 5.0  # seconds
SILENCE = 120.0  # seconds without a byte after which the daemon counts as gone; longer than any wait asked of it
CHUNK = 1 << 20

_FILE_NAME = re.compile(r"filename\*=UTF-8''([^;\s]+)", re.IGNORECASE)


def place(base: str, *names: str) -> str:
    """The path of something below ``base``, whatever characters its name has."""
    if "" in names:
        raise InvalidInput("an empty name or uuid names nothing")
    return "/".join([base, *(quote(os.fsencode(name), safe="") for name in names)])


class Client:
    """Calls to the daemon that the global options mean. Each call is a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        config = _configuration(settings)
        self._token = config.token.get_secret_value()
        self._address = config.api.socket_path or _bracketed(config.api.host, config.api.port)
        self._config = config

    def call(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Json = None) -> Json:
        """One request; the decoded answer. Raises ``ServerError`` for the daemon's own errors."""
        with self.stream(method, path, query=query, body=body) as answer:
            data = b"".join(answer.chunks())
        try:
            return json.loads(data)
        except ValueError as error:
            raise Unavailable(f"what answers at {shown(self._address)} is no wings daemon") from error

    @contextmanager
    def stream(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Json = None
    ) -> Iterator["Body"]:
        """A request whose body the caller reads; error answers are raised already."""
        connection = self._connect()
        try:
            response = _ask(
                connection,
                method,
                f"{path}?{urlencode(query)}" if query else path,
                None if body is None else json.dumps(body).encode(),
                {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            )
            if response.status >= 400:
                raise _told(response.status, b"".join(Body(response).chunks()))
            yield Body(response)
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        api = self._config.api
        connection: http.client.HTTPConnection
        if api.socket_path is not None:
            connection = _SocketConnection(Path(api.socket_path))
        else:
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.host, api.host)  # noqa: S104 - it listens there
            connection = http.client.HTTPConnection(host, api.port, timeout=CONNECT_PATIENCE)
        where = shown(self._address)
        try:
            _open(connection)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning(f"the daemon is not running at {where}: {self._settings.how_to_start()}") from error
        except PermissionError as error:
            raise Refused(f"no permission to use {where}; run this as the user the daemon runs as") from error
        except OSError as error:
            raise Unavailable(f"the daemon cannot be reached at {where}: {error.strerror or error}") from error
        connection.sock.settimeout(SILENCE)
        return connection


class Body:
    """The body of an answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    @property
    def name(self) -> str:
        """The file name the daemon suggests, without any directory."""
        told = _FILE_NAME.search(self._response.headers.get("Content-Disposition", ""))
        name = Path(unquote(told[1])).name if told is not None else ""
        return "backup" if name in ("", "..") else name

    def chunks(self) -> Iterator[bytes]:
        """Piece by piece. Raises ``TransferBroken`` when it ends before its end: what came is then only a part."""
        length = self._response.headers.get("Content-Length")
        done = 0
        try:
            while chunk := self._response.read(CHUNK):
                done += len(chunk)
                yield chunk
        except TimeoutError as error:
            raise TransferBroken(f"nothing came for {SILENCE:.0f} seconds after {done} bytes") from error
        except (ConnectionError, http.client.HTTPException) as error:
            raise TransferBroken(_broken(done, length)) from error
        if length is not None and done != int(length):
            raise TransferBroken(_broken(done, length))


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("wings")
        self._path = path

    def connect(self) -> None:
        """Connect, also where the path is longer than a socket's address may be."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_PATIENCE)
        with short_name(self._path) as short:
            self.sock.connect(str(short))


def _configuration(settings: Settings) -> Config:
    if settings.root is None:
        return load(settings.config or find_config(), os.environ).config
    if settings.config is not None:
        raise InvalidInput("--config and --root exclude each other: --root DIR uses DIR/config.yml")
    try:
        return local_config(settings.root, os.environ, make=False).config
    except NoConfiguration as error:
        raise NotRunning(f"the daemon is not running: {settings.how_to_start()}") from error


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        return connection.getresponse()
    except TimeoutError as error:
        raise Unavailable(f"the daemon was silent for {SILENCE:.0f} seconds; its log may say why") from error
    except (ConnectionError, http.client.HTTPException) as error:
        reason = shown(str(error) or type(error).__name__)
        raise Unavailable(f"the connection to the daemon broke ({reason}); its log may say why") from error


def _open(connection: http.client.HTTPConnection) -> None:
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise


def _bracketed(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _broken(done: int, length: str | None) -> str:
    of = f" of {length}" if length is not None else ""
    return f"the transfer broke off after {done}{of} bytes; the daemon's log has the reason"


def _told(status: int, body: bytes) -> ServerError:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    if "status" in document and "error" not in document:  # /api/health of a daemon that is not ready
        return ServerError(f"the daemon is {document['status']}", Unavailable.code, status)
    message = str(document.get("error", f"the daemon answered with HTTP status {status}"))
    return ServerError(message, str(document.get("code", f"http_{status}")), status)
