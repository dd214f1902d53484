"""The catalogue: which adapter holds which backup, and what is known about it."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import cast
from uuid import UUID

from wings.errors import Conflict, NotFound
from wings.store.columns import Table, Value, from_text, from_time, from_uuid, to_time, to_uuid
from wings.store.database import Database


class BackupState(StrEnum):
    """What the catalogue believes. ``missing``: its storage proved that it is not there any more."""

    CREATING = "creating"
    AVAILABLE = "available"
    FAILED = "failed"
    DELETING = "deleting"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class BackupRow:
    """One backup. Sizes in bytes, times in UTC; the fields mean what ``StoredBackup`` says.

    ``format`` is the value of an ``ArchiveFormat``, ``None`` where the storage keeps no archives.
    ``verified`` is when it was last verified, ``verified_ok`` with what result.
    """

    uuid: UUID
    server: UUID | None
    adapter: str
    format: str | None
    state: BackupState
    created: datetime
    finished: datetime | None = None
    size: int = 0
    files: int | None = None
    content_bytes: int | None = None
    checksum_type: str = "sha256"
    checksum: str = ""
    browsable: bool = False
    streaming: bool = False
    warnings: tuple[str, ...] = ()
    error: str | None = None
    error_code: str | None = None
    verified: datetime | None = None
    verified_ok: bool | None = None
    job: UUID | None = None


_TABLE = Table(
    "backups",
    (
        "uuid",
        "server",
        "adapter",
        "format",
        "state",
        "created",
        "finished",
        "size",
        "files",
        "content_bytes",
        "checksum_type",
        "checksum",
        "browsable",
        "streaming",
        "warnings",
        "error",
        "error_code",
        "verified",
        "verified_ok",
        "job",
    ),
)


class Catalogue:
    """The table of backups. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: BackupRow) -> None:
        """Remember a new backup. Raises ``Conflict`` when its uuid is known already."""
        values = _values(row)

        def insert(connection: sqlite3.Connection) -> None:
            try:
                _TABLE.insert(connection, values)
            except sqlite3.IntegrityError as error:
                raise Conflict(f"backup {row.uuid} is in the catalogue already and is left as it is") from error

        await self._database.run(insert)

    async def update(self, row: BackupRow) -> None:
        """Replace what is known about it. Raises ``NotFound`` when its uuid is not known."""
        values = _values(row)
        if not await self._database.run(lambda connection: _TABLE.update(connection, values)):
            raise NotFound(f"backup {row.uuid} is not in the catalogue")

    async def get(self, uuid: UUID) -> BackupRow | None:
        """The row, or ``None``: then the storages have to be asked, this is only a memory (P2)."""
        rows = await self._database.run(lambda connection: _TABLE.select(connection, "WHERE uuid = ?", (str(uuid),)))
        return _row(rows[0]) if rows else None

    async def list(self, server: UUID | None = None) -> Sequence[BackupRow]:
        """All rows, or those of one server, oldest first."""
        rest, values = ("WHERE server = ?", (str(server),)) if server is not None else ("", ())
        rows = await self._database.run(
            lambda connection: _TABLE.select(connection, f"{rest} ORDER BY created, uuid", values)
        )
        return [_row(row) for row in rows]

    async def find_prefix(self, text: str) -> Sequence[BackupRow]:
        """Rows whose uuid begins with ``text``, case ignored; none for an empty text."""
        start = text.lower()
        if not start:
            return []
        rows = await self._database.run(
            lambda connection: _TABLE.select(
                connection, "WHERE substr(uuid, 1, ?) = ? ORDER BY uuid", (len(start), from_text(start))
            )
        )
        return [_row(row) for row in rows]

    async def remove(self, uuid: UUID) -> bool:
        """Forget it; whether it was known."""
        return await self._database.run(lambda connection: _TABLE.delete(connection, str(uuid)))


def _values(row: BackupRow) -> tuple[Value, ...]:
    return (
        str(row.uuid),
        from_uuid(row.server),
        row.adapter,
        None if row.format is None else str(row.format),
        str(row.state),
        from_time(row.created),
        from_time(row.finished),
        row.size,
        row.files,
        row.content_bytes,
        row.checksum_type,
        row.checksum,
        int(row.browsable),
        int(row.streaming),
        json.dumps([from_text(warning) for warning in row.warnings], ensure_ascii=False),
        from_text(row.error),
        row.error_code,
        from_time(row.verified),
        None if row.verified_ok is None else int(row.verified_ok),
        from_uuid(row.job),
    )


# The types of a row's columns are guaranteed by the STRICT table it was read from.
_Columns = tuple[
    str,
    str | None,
    str,
    str | None,
    str,
    str,
    str | None,
    int,
    int | None,
    int | None,
    str,
    str,
    int,
    int,
    str,
    str | None,
    str | None,
    str | None,
    int | None,
    str | None,
]


def _row(values: tuple[Value, ...]) -> BackupRow:
    columns = cast("_Columns", values)
    return BackupRow(
        uuid=UUID(columns[0]),
        server=to_uuid(columns[1]),
        adapter=columns[2],
        format=columns[3],
        state=BackupState(columns[4]),
        created=datetime.fromisoformat(columns[5]),
        finished=to_time(columns[6]),
        size=columns[7],
        files=columns[8],
        content_bytes=columns[9],
        checksum_type=columns[10],
        checksum=columns[11],
        browsable=bool(columns[12]),
        streaming=bool(columns[13]),
        warnings=tuple(json.loads(columns[14])),
        error=columns[15],
        error_code=columns[16],
        verified=to_time(columns[17]),
        verified_ok=None if columns[18] is None else bool(columns[18]),
        job=to_uuid(columns[19]),
    )
