"""The table of jobs: written when one is accepted, starts and ends, so that a crash loses none of them (P5)."""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from wings.errors import Conflict
from wings.store.columns import Table, Value, from_text, from_time, from_uuid, to_time, to_uuid
from wings.store.database import Database


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as it lies in the table. ``kind`` and ``state`` are the names ``wings.jobs.model`` gives them.

    ``result`` is a JSON document. A row without ``finished`` belongs to a job that has not ended, or whose
    daemon was killed.
    """

    id: UUID
    kind: str
    server: UUID | None
    backup: UUID | None
    state: str
    stage: str
    bytes_processed: int
    bytes_total: int
    files_processed: int
    files_total: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: str | None
    error_code: str | None
    result: str | None


# Runs in the transaction that writes a job's end, for what must be remembered exactly when that is (an
# outbox entry, say). Synchronous, on the store's thread.
Also = Callable[[sqlite3.Connection], None]

_TABLE = Table(
    "jobs",
    (
        "id",
        "kind",
        "server",
        "backup",
        "state",
        "stage",
        "bytes_processed",
        "bytes_total",
        "files_processed",
        "files_total",
        "created",
        "started",
        "finished",
        "error",
        "error_code",
        "result",
    ),
)


class JobStore:
    """The table of jobs. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: JobRow) -> None:
        """Remember a new job. Raises ``Conflict`` when its id is taken."""
        values = _values(row)

        def insert(connection: sqlite3.Connection) -> None:
            try:
                _TABLE.insert(connection, values)
            except sqlite3.IntegrityError as error:
                raise Conflict(f"job {row.id} exists already") from error

        await self._database.run(insert)

    async def update(self, row: JobRow, also: Also | None = None) -> None:
        """Replace the row, and do ``also`` in the same transaction. A row that was pruned is not made again."""
        values = _values(row)

        def write(connection: sqlite3.Connection) -> None:
            _TABLE.update(connection, values)
            if also is not None:
                also(connection)

        await self._database.run(write)

    async def get(self, id: UUID) -> JobRow | None:
        """The row, or ``None``."""
        rows = await self._database.run(lambda connection: _TABLE.select(connection, "WHERE id = ?", (str(id),)))
        return _row(rows[0]) if rows else None

    async def ended(
        self,
        *,
        server: UUID | None = None,
        backup: UUID | None = None,
        kind: str | None = None,
        states: Collection[str] | None = None,
        limit: int,
    ) -> Sequence[JobRow]:
        """The newest rows with an end that fit every filter, newest first."""
        conditions = ["finished IS NOT NULL"]
        values: list[Value] = []
        for column, value in (("server", from_uuid(server)), ("backup", from_uuid(backup)), ("kind", kind)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if states is not None:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        rest = f"WHERE {' AND '.join(conditions)} ORDER BY created DESC, rowid DESC LIMIT ?"
        rows = await self._database.run(lambda connection: _TABLE.select(connection, rest, (*values, limit)))
        return [_row(row) for row in rows]

    async def unfinished(self) -> Sequence[JobRow]:
        """Jobs without an end, oldest first: after a start, those that a crash cut off."""
        rows = await self._database.run(
            lambda connection: _TABLE.select(connection, "WHERE finished IS NULL ORDER BY created, rowid")
        )
        return [_row(row) for row in rows]

    async def prune(self, before: datetime) -> int:
        """Forget jobs that ended before this time; how many."""
        return await self._database.run(
            lambda connection: connection.execute("DELETE FROM jobs WHERE finished < ?", (from_time(before),)).rowcount
        )


def _values(row: JobRow) -> tuple[Value, ...]:
    return (
        str(row.id),
        str(row.kind),
        from_uuid(row.server),
        from_uuid(row.backup),
        str(row.state),
        from_text(row.stage),
        row.bytes_processed,
        row.bytes_total,
        row.files_processed,
        row.files_total,
        from_time(row.created),
        from_time(row.started),
        from_time(row.finished),
        from_text(row.error),
        row.error_code,
        row.result,
    )


# The types of a row's columns are guaranteed by the STRICT table it was read from.
_Columns = tuple[
    str,
    str,
    str | None,
    str | None,
    str,
    str,
    int,
    int,
    int,
    int,
    str,
    str | None,
    str | None,
    str | None,
    str | None,
    str | None,
]


def _row(values: tuple[Value, ...]) -> JobRow:
    columns = cast("_Columns", values)
    return JobRow(
        id=UUID(columns[0]),
        kind=columns[1],
        server=to_uuid(columns[2]),
        backup=to_uuid(columns[3]),
        state=columns[4],
        stage=columns[5],
        bytes_processed=columns[6],
        bytes_total=columns[7],
        files_processed=columns[8],
        files_total=columns[9],
        created=datetime.fromisoformat(columns[10]),
        started=to_time(columns[11]),
        finished=to_time(columns[12]),
        error=columns[13],
        error_code=columns[14],
        result=columns[15],
    )
