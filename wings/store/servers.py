"""The servers an operator registered (local mode)."""

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast
from uuid import UUID

from wings.errors import Conflict, shown
from wings.store.columns import Table, Value, from_time
from wings.store.database import Database


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One registered server. ``path`` may hold bytes that are no text, as ``os.fsdecode`` shows them."""

    uuid: UUID
    name: str
    path: Path
    created: datetime


_TABLE = Table("servers", ("uuid", "name", "path", "created"))


class ServerStore:
    """The table of servers. Names and paths are unique."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: ServerRow) -> None:
        """Remember a server. Raises ``Conflict`` when its name, path or uuid is taken."""
        values = (str(row.uuid), row.name, os.fsencode(row.path), from_time(row.created))

        def insert(connection: sqlite3.Connection) -> None:
            try:
                _TABLE.insert(connection, values)
            except sqlite3.IntegrityError as error:
                taken = _TABLE.select(connection, "WHERE name = ?", (row.name,))
                raise Conflict(
                    f"there is a server named '{shown(row.name)}' already; choose another name"
                    if taken
                    else f"{shown(row.path)} is registered as a server already"
                ) from error

        await self._database.run(insert)

    async def get(self, uuid: UUID) -> ServerRow | None:
        """The server with this uuid, or ``None``."""
        rows = await self._database.run(lambda connection: _TABLE.select(connection, "WHERE uuid = ?", (str(uuid),)))
        return _row(rows[0]) if rows else None

    async def list(self) -> Sequence[ServerRow]:
        """All servers by name."""
        rows = await self._database.run(lambda connection: _TABLE.select(connection, "ORDER BY name"))
        return [_row(row) for row in rows]

    async def remove(self, uuid: UUID) -> bool:
        """Forget the server; whether it was known. Nothing but this row changes."""
        return await self._database.run(lambda connection: _TABLE.delete(connection, str(uuid)))


def _row(values: tuple[Value, ...]) -> ServerRow:
    uuid, name, path, created = cast("tuple[str, str, bytes, str]", values)
    return ServerRow(UUID(uuid), name, Path(os.fsdecode(path)), datetime.fromisoformat(created))
