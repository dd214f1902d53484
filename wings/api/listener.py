"""Where the API listens: a TCP port, or a Unix socket that only its owner may use."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from aiohttp import web

from wings.errors import ConfigurationError, shown
from wings.host.sockets import short_name

STOP_PATIENCE = 5.0  # seconds that open requests get


class CannotListen(ConfigurationError):
    """The address is taken or cannot be used."""

    code = "cannot_listen"


class Listener:
    """Serves an application at ``host``: an IP address with ``port``, anything else is a socket's path
    (config §7.3)."""

    def __init__(self, application: web.Application, host: str, port: int) -> None:
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_PATIENCE)
        self._host = host
        self._port = port
        self._path = None if _is_address(host) else Path(host)
        self._inode: tuple[int, int] | None = None

    async def start(self) -> None:
        """Begin to answer. Raises ``CannotListen``."""
        sock = await asyncio.to_thread(self._bind)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Take no more requests, let those under way finish for a moment, and remove the socket."""
        await self._runner.cleanup()
        await asyncio.to_thread(self._remove)

    def _bind(self) -> socket.socket:
        if self._path is None:
            return _tcp(self._host, self._port)
        sock = _unix(self._path)
        facts = self._path.stat()
        self._inode = (facts.st_dev, facts.st_ino)
        return sock

    def _remove(self) -> None:
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                facts = self._path.stat()
                if (facts.st_dev, facts.st_ino) == self._inode:
                    self._path.unlink()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if host == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        sock.bind((host, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"failed to start http server ({host}:{port} already in use); stop the other program or change api.port"
            ) from error
        raise CannotListen(f"failed to start http server ({host}:{port}: {error.strerror})") from error
    return sock


def _unix(path: Path) -> socket.socket:
    """Bind below a name of our own and rename, so that the socket never exists with another mode than 0600."""
    with short_name(path) as short:
        _clear(path, short)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        fresh = short.with_name(f".{os.getpid()}.sock")
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            sock.bind(str(fresh))
            fresh.chmod(0o600)
            sock.listen(128)
            fresh.rename(short)
        except OSError as error:
            sock.close()
            raise CannotListen(f"failed to listen on {shown(path)}: {error.strerror}") from error
    return sock


def _clear(path: Path, short: Path) -> None:
    """Make way: a socket that nobody answers on is left over from a crash, anything else is somebody's."""
    try:
        facts = short.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise CannotListen(f"{shown(path)} exists and is no socket; move it away or change api.host")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(short))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError as error:
            raise CannotListen(f"{shown(path)} is in use ({error.strerror})") from error
    raise CannotListen(f"another program answers on {shown(path)}; stop it or change api.host")
