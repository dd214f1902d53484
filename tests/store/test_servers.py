"""Registered servers: unique names and paths, paths of any bytes."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from wings.errors import Conflict
from wings.store.database import Database
from wings.store.servers import ServerRow, ServerStore


def server(name: str, path: bytes) -> ServerRow:
    return ServerRow(uuid4(), name, Path(os.fsdecode(path)), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))


async def test_paths_of_any_bytes_come_back(database: Database) -> None:
    store = ServerStore(database)
    rows = [server("ü", b"/srv/caf\xe9\n"), server("b", b"/srv/b")]
    for row in rows:
        await store.add(row)
    assert list(await store.list()) == [rows[1], rows[0]]
    assert os.fsencode((await store.list())[1].path) == b"/srv/caf\xe9\n"
    assert await store.get(rows[0].uuid) == rows[0]
    assert await store.get(uuid4()) is None


async def test_names_and_paths_are_unique(database: Database) -> None:
    store = ServerStore(database)
    row = server("one", b"/srv/one")
    await store.add(row)
    with pytest.raises(Conflict, match="named 'one'"):
        await store.add(server("one", b"/srv/two"))
    with pytest.raises(Conflict, match="/srv/one is registered"):
        await store.add(server("two", b"/srv/one"))
    with pytest.raises(Conflict):
        await store.add(replace(server("two", b"/srv/two"), uuid=row.uuid))
    assert list(await store.list()) == [row]


async def test_remove_is_idempotent(database: Database) -> None:
    store = ServerStore(database)
    row = server("one", b"/srv/one")
    await store.add(row)
    assert await store.remove(row.uuid) is True
    assert await store.remove(row.uuid) is False
    await store.add(row)
