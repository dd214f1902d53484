"""The catalogue keeps every field, finds by prefix, and never overwrites by accident."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from wings.errors import Conflict, NotFound
from wings.store.backups import BackupRow, BackupState, Catalogue
from wings.store.database import Database

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def full() -> BackupRow:
    return BackupRow(
        uuid=uuid4(),
        server=uuid4(),
        adapter="wings",
        format="tar_zstd",
        state=BackupState.AVAILABLE,
        created=NOON,
        finished=NOON + timedelta(seconds=3),
        size=5 << 40,
        files=1_000_000,
        content_bytes=9 << 40,
        checksum_type="sha256",
        checksum="ab" * 32,
        browsable=True,
        streaming=True,
        warnings=("1 torn: world/level.dat", "ünïcode 🙂"),
        error=None,
        error_code=None,
        verified=NOON + timedelta(days=1),
        verified_ok=False,
        job=uuid4(),
    )


def bare(created: datetime = NOON, server: UUID | None = None, uuid: UUID | None = None) -> BackupRow:
    return BackupRow(
        uuid=uuid or uuid4(),
        server=server,
        adapter="s3",
        format=None,
        state=BackupState.CREATING,
        created=created,
    )


async def test_every_field_comes_back_as_it_went_in(tmp_path: Path) -> None:
    """W-50: which adapter holds a backup is remembered, also across a restart, so that nobody asks them all."""
    rows = [full(), bare()]
    database = await Database.open(tmp_path / "wings.db")
    for row in rows:
        await Catalogue(database).add(row)
    await database.close()
    database = await Database.open(tmp_path / "wings.db")
    for row in rows:
        assert await Catalogue(database).get(row.uuid) == row
    assert await Catalogue(database).get(uuid4()) is None
    await database.close()


async def test_times_of_other_zones_are_the_same_moment(database: Database) -> None:
    row = bare(created=datetime(2026, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2))))
    await Catalogue(database).add(row)
    found = await Catalogue(database).get(row.uuid)
    assert found is not None
    assert found.created == row.created
    assert found.created.utcoffset() == timedelta(0)


async def test_names_that_are_no_text_do_not_break_it(database: Database) -> None:
    row = replace(full(), warnings=("torn: caf\udce9",), error="caf\udce9")
    await Catalogue(database).add(row)
    found = await Catalogue(database).get(row.uuid)
    assert found is not None
    assert found.warnings == ("torn: caf\\udce9",)
    assert found.error == "caf\\udce9"


async def test_a_known_uuid_is_never_overwritten_by_add(database: Database) -> None:
    catalogue = Catalogue(database)
    row = full()
    await catalogue.add(row)
    with pytest.raises(Conflict, match=str(row.uuid)):
        await catalogue.add(replace(bare(), uuid=row.uuid))
    assert await catalogue.get(row.uuid) == row


async def test_update_needs_the_row_to_be_there(database: Database) -> None:
    catalogue = Catalogue(database)
    row = bare()
    with pytest.raises(NotFound):
        await catalogue.update(row)
    await catalogue.add(row)
    failed = replace(row, state=BackupState.FAILED, error="no space", error_code="no_space", finished=NOON)
    await catalogue.update(failed)
    assert await catalogue.get(row.uuid) == failed


async def test_list_is_oldest_first_and_by_server(database: Database) -> None:
    catalogue = Catalogue(database)
    server = uuid4()
    rows = [bare(created=NOON + timedelta(hours=hour), server=server if hour % 2 else None) for hour in (3, 1, 2, 0)]
    for row in rows:
        await catalogue.add(row)
    assert list(await catalogue.list()) == sorted(rows, key=lambda row: row.created)
    assert [row.created.hour for row in await catalogue.list(server)] == [13, 15]
    assert list(await catalogue.list(uuid4())) == []


async def test_find_prefix(database: Database) -> None:
    catalogue = Catalogue(database)
    one = UUID("aaaa0000-0000-4000-8000-000000000001")
    two = UUID("aaaa1111-0000-4000-8000-000000000002")
    for uuid in (one, two, UUID("bbbb0000-0000-4000-8000-000000000003")):
        await catalogue.add(bare(uuid=uuid))
    assert [row.uuid for row in await catalogue.find_prefix("aaaa")] == [one, two]
    assert [row.uuid for row in await catalogue.find_prefix("AAAA1")] == [two]
    assert [row.uuid for row in await catalogue.find_prefix(str(one))] == [one]
    for nothing in ("", "c", "%", "_aaa", "aaaa0000-0000-4000-8000-0000000000011", "\udcff"):
        assert list(await catalogue.find_prefix(nothing)) == []


async def test_remove_is_idempotent(database: Database) -> None:
    catalogue = Catalogue(database)
    row = full()
    await catalogue.add(row)
    assert await catalogue.remove(row.uuid) is True
    assert await catalogue.remove(row.uuid) is False
    assert await catalogue.get(row.uuid) is None
