"""The table of jobs: fields, filters, and one transaction for an end and what belongs to it."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from wings.errors import Conflict
from wings.store.database import Database
from wings.store.jobs import JobRow, JobStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def job(kind: str = "create", *, minutes: int = 0, ended: bool = True, server: UUID | None = None) -> JobRow:
    created = NOON + timedelta(minutes=minutes)
    return JobRow(
        id=uuid4(),
        kind=kind,
        server=server,
        backup=uuid4(),
        state="succeeded" if ended else "running",
        stage="archiving",
        bytes_processed=1 << 50,
        bytes_total=2 << 50,
        files_processed=3,
        files_total=4,
        created=created,
        started=created,
        finished=created if ended else None,
        error="broken caf\udce9" if kind == "verify" else None,
        error_code="damaged" if kind == "verify" else None,
        result='{"a": 1}' if ended else None,
    )


async def test_fields_come_back(database: Database) -> None:
    store = JobStore(database)
    row = job()
    await store.add(row)
    assert await store.get(row.id) == row
    assert await store.get(uuid4()) is None
    with pytest.raises(Conflict):
        await store.add(row)
    odd = job("verify")
    await store.add(odd)
    assert (await store.get(odd.id)) == replace(odd, error="broken caf\\udce9")


async def test_filters(database: Database) -> None:
    store = JobStore(database)
    server = uuid4()
    rows = [job(minutes=1, server=server), job("delete", minutes=2), job(minutes=3, ended=False, server=server)]
    for row in rows:
        await store.add(row)
    assert list(await store.ended(limit=10)) == [rows[1], rows[0]]
    assert list(await store.ended(limit=1)) == [rows[1]]
    assert list(await store.ended(server=server, limit=10)) == [rows[0]]
    assert list(await store.ended(backup=rows[1].backup, limit=10)) == [rows[1]]
    assert list(await store.ended(kind="create", limit=10)) == [rows[0]]
    assert list(await store.ended(states=["failed"], limit=10)) == []
    assert list(await store.ended(states=[], limit=10)) == []
    assert list(await store.unfinished()) == [rows[2]]


async def test_an_end_and_what_belongs_to_it_are_one_transaction(database: Database) -> None:
    store = JobStore(database)
    row = job(ended=False)
    await store.add(row)
    ended = replace(row, state="failed", finished=NOON)

    def fails(connection: sqlite3.Connection) -> None:
        raise LookupError("in the middle")

    with pytest.raises(LookupError):
        await store.update(ended, fails)
    assert await store.get(row.id) == row

    def writes(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO servers VALUES ('u', 'outbox', x'00', 't')")

    await store.update(ended, writes)
    assert await store.get(row.id) == ended
    assert await database.run(lambda connection: connection.execute("SELECT name FROM servers").fetchall()) == [
        ("outbox",)
    ]


async def test_prune_leaves_what_has_not_ended(database: Database) -> None:
    store = JobStore(database)
    old, running, new = job(minutes=0), job(minutes=0, ended=False), job(minutes=60)
    for row in (old, running, new):
        await store.add(row)
    assert await store.prune(NOON + timedelta(minutes=30)) == 1
    assert await store.get(old.id) is None
    assert await store.get(running.id) == running
    assert await store.get(new.id) == new
