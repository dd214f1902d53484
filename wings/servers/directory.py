"""The servers the operator registered, for a node without a panel."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from wings.errors import Conflict, InvalidInput, NotFound, Refused, shown
from wings.host.threads import Pool, Pools
from wings.store.servers import ServerRow, ServerStore

LONGEST_NAME = 191  # what panels store for a server's name


@dataclass(frozen=True, slots=True)
class Server:
    """One server: a name for people, a uuid for everything else, and the directory of its files."""

    uuid: UUID
    name: str
    path: Path


class ServerDirectory:
    """Registers directories as servers. Needs no engine and no panel.

    ``reserved`` are directories of the daemon itself (its root, its backups): a server may lie neither
    inside nor around one of them, or backups would swallow themselves.
    """

    def __init__(self, store: ServerStore, pools: Pools, reserved: Sequence[Path]) -> None:
        self._store = store
        self._pools = pools
        self._reserved = reserved

    async def add(self, name: str, path: Path) -> Server:
        """Register ``path``, which must be a readable directory apart from every other server's.

        Raises ``InvalidInput`` for a name or path that cannot be, ``Conflict`` for one that is taken.
        """
        _check_name(name)
        real = await self._pools.run(Pool.FILES, _real_directory, path, self._reserved)
        for other in await self.list():
            if other.path == real:
                raise Conflict(f"{shown(path)} is already server {shown(other.name)} ({other.uuid})")
            if _overlap(other.path, real):
                raise Conflict(
                    f"{shown(path)} and the directory of server {shown(other.name)} ({shown(other.path)}) "
                    "lie inside one another; a server needs a directory of its own"
                )
        row = ServerRow(uuid=uuid4(), name=name, path=real, created=datetime.now(UTC))
        await self._store.add(row)
        return Server(row.uuid, row.name, row.path)

    async def list(self) -> Sequence[Server]:
        """All of them, sorted by name."""
        rows = await self._store.list()
        return sorted((Server(row.uuid, row.name, row.path) for row in rows), key=lambda one: one.name)

    async def get(self, uuid: UUID) -> Server:
        """The server with this uuid. Raises ``NotFound``."""
        for server in await self.list():
            if server.uuid == uuid:
                return server
        raise NotFound(f"there is no server {uuid}; 'wings server list' shows those there are")

    async def resolve(self, text: str) -> Server:
        """Find by name, uuid, or the start of a uuid that only one server has."""
        servers = await self.list()
        for server in servers:
            if text in (server.name, str(server.uuid)):
                return server
        matches = [one for one in servers if text and str(one.uuid).startswith(text.lower())]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(f"{one.uuid} ({shown(one.name)})" for one in matches[:5])
            raise InvalidInput(f"'{shown(text)}' is ambiguous: {names}; give more of the uuid")
        raise NotFound(f"there is no server '{shown(text)}'; 'wings server list' shows those there are")

    async def remove(self, uuid: UUID) -> None:
        """Forget the server. Its files and its backups stay where they are."""
        await self.get(uuid)
        await self._store.remove(uuid)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInput(
            f"'{shown(name[:LONGEST_NAME])}' cannot be a server's name: "
            f"1 to {LONGEST_NAME} printable characters, please"
        )


def _real_directory(path: Path, reserved: Sequence[Path]) -> Path:
    if not path.is_absolute():
        raise InvalidInput(f"{shown(path)} is not an absolute path")
    real = Path(os.path.realpath(path))
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InvalidInput(f"{shown(path)} does not exist; create the directory first") from error
    except NotADirectoryError as error:
        raise InvalidInput(f"{shown(path)} is not a directory") from error
    except PermissionError as error:
        raise Refused(
            f"no permission to read {shown(path)}; run the daemon as a user who may, or change its mode"
        ) from error
    os.close(descriptor)
    if real == Path("/"):
        raise InvalidInput("the root of the file system cannot be a server's directory")
    for own in reserved:
        if _overlap(Path(os.path.realpath(own)), real):
            raise InvalidInput(
                f"{shown(path)} and the daemon's own directory {shown(own)} lie inside one another; "
                "choose a directory apart from it, or start the daemon with another --root"
            )
    return real


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
