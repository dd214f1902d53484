"""``/api/local/servers``: directories the operator registered."""

import os
from pathlib import Path

from aiohttp import web
from pydantic import BaseModel

from wings.api.names import NamedPath, decode_path
from wings.api.routing import Route, read_body
from wings.api.services import Services
from wings.errors import InvalidInput
from wings.servers.directory import Server


class ServerDocument(BaseModel):
    """A server. ``path`` has undecodable bytes escaped; ``path_b64`` holds them when there are any."""

    uuid: str
    name: str
    path: str
    path_b64: str | None = None

    @classmethod
    def of(cls, server: Server) -> "ServerDocument":
        """As it goes out."""
        path = NamedPath.of(os.fsencode(server.path))
        return cls(uuid=str(server.uuid), name=server.name, path=path.text, path_b64=path.encoded)


class NewServer(BaseModel):
    """A server to register; ``path`` is absolute, ``path_b64`` the same for bytes that are not UTF-8."""

    name: str
    path: str | None = None
    path_b64: str | None = None


async def list_servers(request: web.Request, services: Services) -> list[ServerDocument]:
    """All of them."""
    return [ServerDocument.of(server) for server in await services.directory.list()]


async def add_server(request: web.Request, services: Services) -> ServerDocument:
    """Register one."""
    new = await read_body(request, NewServer)
    path = decode_path(new.path, new.path_b64)
    if path is None:
        raise InvalidInput("the path of the server is missing")
    return ServerDocument.of(await services.directory.add(new.name, Path(os.fsdecode(path))))


async def remove_server(request: web.Request, services: Services) -> ServerDocument:
    """Forget one; its files and backups stay."""
    server = await services.directory.resolve(request.match_info["server"])
    await services.directory.remove(server.uuid)
    return ServerDocument.of(server)


ROUTES = [
    Route("GET", "/api/local/servers", list_servers, "Registered servers", answer=list[ServerDocument]),
    Route("POST", "/api/local/servers", add_server, "Register", answer=ServerDocument, body=NewServer, status=201),
    Route("DELETE", "/api/local/servers/{server}", remove_server, "Forget a server", answer=ServerDocument),
]
