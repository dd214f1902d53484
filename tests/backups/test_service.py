"""The life of a backup, with every part real."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.backups.conftest import House, build_house
from tests.trees import build_deep
from wings.archives.formats import ArchiveFormat
from wings.backups.protocol import Depth
from wings.errors import Conflict, InvalidInput, NotFound, Unavailable
from wings.jobs.model import JobState
from wings.store.backups import BackupRow, BackupState

FILES = {"a.txt": b"alpha", "dir/b.bin": bytes(range(256)) * 1000}


async def test_create_to_delete(house: House) -> None:
    """A whole life, each step seen in the catalogue and on the disk."""
    server = await house.server("world", FILES)
    job = await house.done(house.service.create(server))
    assert job.state is JobState.SUCCEEDED and job.result is not None
    uuid = UUID(str(job.result["uuid"]))
    row = await house.service.resolve(str(uuid)[:8])
    assert (row.state, row.adapter, row.format, row.files, row.content_bytes) == (
        BackupState.AVAILABLE,
        "wings",
        "tar_gz",
        2,
        256_005,
    )
    assert row.size == (house.backups / f"{uuid}.tar.gz").stat().st_size
    assert [entry.path for entry in await house.service.tree(uuid, b"")] == [b"dir", b"a.txt"]
    download = await house.service.open_file(uuid, b"dir/b.bin", None)
    assert b"".join([chunk async for chunk in download.stream]) == FILES["dir/b.bin"]
    (server.path / "a.txt").write_bytes(b"changed")
    restored = await house.done(house.service.restore(uuid, None, truncate=True))
    assert restored.state is JobState.SUCCEEDED, restored.error
    assert restored.result is not None and restored.result["files"] == 2
    assert (server.path / "a.txt").read_bytes() == b"alpha"
    verified = await house.done(house.service.verify(uuid, Depth.FULL))
    assert verified.result is not None and verified.result["ok"] is True
    assert (await house.service.resolve(str(uuid))).verified_ok is True
    deleted = await house.done(house.service.delete(uuid))
    assert deleted.result == {"deleted": True}
    assert list(await house.service.list()) == []
    with pytest.raises(NotFound):
        await house.service.resolve(str(uuid))


async def test_restore_into_another_server(house: House) -> None:
    """The target is never derived from the backup (backup-drivers §3.3)."""
    server = await house.server("world", FILES)
    other = await house.server("other", {"mine": b"kept"})
    job = await house.done(house.service.create(server))
    assert job.backup is not None
    await house.done(house.service.restore(job.backup, other, truncate=False))
    assert (other.path / "a.txt").read_bytes() == b"alpha"
    assert (other.path / "mine").read_bytes() == b"kept"


async def test_same_uuid_at_once(house: House) -> None:
    """W-6, W-7, W-46: one of two creates of the same uuid is refused, the other is whole."""
    server = await house.server("world", FILES)
    uuid = uuid4()
    first = await house.service.create(server, uuid=uuid)
    with pytest.raises(Conflict):
        await house.service.create(server, uuid=uuid)
    assert (await house.jobs.wait(first.id, 20)).state is JobState.SUCCEEDED
    with pytest.raises(Conflict):
        await house.service.create(server, uuid=uuid)
    assert (await house.service.resolve(str(uuid))).state is BackupState.AVAILABLE


async def test_a_failed_create_says_why(house: House) -> None:
    """P1: a server whose directory is gone fails, holds nothing, and says so for ever."""
    server = await house.server("world", FILES)
    server.path.rename(server.path.with_name("moved"))
    job = await house.done(house.service.create(server))
    assert job.state is JobState.FAILED and job.backup is not None
    row = await house.service.resolve(str(job.backup))
    assert row.state is BackupState.FAILED and row.error == job.error
    with pytest.raises(NotFound, match="holds nothing"):
        await house.service.tree(job.backup, b"")
    assert list(house.backups.glob("*.tar.gz")) == []
    await house.done(house.service.delete(job.backup))
    assert list(await house.service.list()) == []


async def test_unreadable_directory_fails_the_backup(house: House) -> None:
    """P1, W-1: a directory that exists and is not read is a failure, whatever else was read.

    Nested too deep is what not even root can read; closed by permissions: tests/files/test_walk.py.
    """
    server = await house.server("world", FILES)
    build_deep(server.path, b"d" * 200, 340)
    job = await house.done(house.service.create(server))
    assert job.state is JobState.FAILED and "unreadable directory" in str(job.error)
    assert job.error_code == "incomplete"
    assert list(house.backups.glob("*.tar.gz")) == []


async def test_cancelled(house: House) -> None:
    """W-8, P7: cancelling a create leaves a row that says so and no archive."""
    server = await house.server("world", {f"{n}.bin": os.urandom(1 << 20) for n in range(30)})
    job = await house.service.create(server, format=ArchiveFormat.TAR_XZ)
    while (await house.jobs.get(job.id)).bytes_processed == 0:
        await asyncio.sleep(0.01)
    await house.jobs.cancel(job.id)
    ended = await house.jobs.wait(job.id, 20)
    assert ended.state is JobState.CANCELLED
    assert job.backup is not None
    assert (await house.service.resolve(str(job.backup))).error_code == "cancelled"
    assert list(house.backups.glob("*.tar*")) == []
    assert list((house.backups / ".wings" / "partial").iterdir()) == []


async def test_archive_removed_by_hand(house: House) -> None:
    """P2: gone on proof: the row says missing, and deleting forgets it."""
    server = await house.server("world", FILES)
    job = await house.done(house.service.create(server))
    assert job.backup is not None
    (house.backups / f"{job.backup}.tar.gz").unlink()
    with pytest.raises(NotFound, match="does not hold it any more"):
        await house.service.tree(job.backup, b"")
    assert (await house.service.resolve(str(job.backup))).state is BackupState.MISSING
    assert (await house.done(house.service.delete(job.backup))).result == {"deleted": False}


async def test_unreachable_storage_is_never_absence(house: House) -> None:
    """P2, W-44: while the disk is away nothing is said to be missing."""
    server = await house.server("world", FILES)
    job = await house.done(house.service.create(server))
    assert job.backup is not None
    house.backups.rename(house.root / "away")
    for question in (house.service.tree(job.backup, b""), house.service.resolve(str(uuid4()))):
        with pytest.raises(Unavailable):
            await question
    deleted = await house.done(house.service.delete(job.backup))
    assert deleted.state is JobState.FAILED and deleted.error_code == "unavailable"
    (house.root / "away").rename(house.backups)
    assert (await house.service.resolve(str(job.backup))).state is BackupState.AVAILABLE


async def test_found_again_without_the_store(tmp_path: Path) -> None:
    """P5: with the store deleted, backups come back from their storage, checksum and all."""
    async with build_house(tmp_path) as house:
        server = await house.server("world", FILES)
        job = await house.done(house.service.create(server))
        assert job.backup is not None
        before = await house.service.resolve(str(job.backup))
    for path in (tmp_path / "node").glob("wings.db*"):
        path.unlink()
    async with build_house(tmp_path) as house:
        (after,) = await house.service.list()
        assert (after.uuid, after.server, after.checksum, after.size, after.files) == (
            before.uuid,
            before.server,
            before.checksum,
            before.size,
            before.files,
        )


async def test_rows_of_a_crash_are_settled(tmp_path: Path) -> None:
    """P5: a row left in the making becomes what its storage says: whole, or failed."""
    async with build_house(tmp_path) as house:
        server = await house.server("world", FILES)
        job = await house.done(house.service.create(server))
        assert job.backup is not None
        whole, half = job.backup, uuid4()
        row = await house.catalogue.get(whole)
        assert row is not None
        for uuid in (whole, half):
            left = BackupRow(uuid, server.uuid, "wings", "tar_gz", BackupState.CREATING, datetime.now(UTC))
            await (house.catalogue.update(left) if uuid == whole else house.catalogue.add(left))
    async with build_house(tmp_path) as house:
        assert (await house.service.resolve(str(whole))).state is BackupState.AVAILABLE
        failed = await house.service.resolve(str(half))
        assert (failed.state, failed.error_code) == (BackupState.FAILED, "interrupted")


async def test_unknown_things(house: House) -> None:
    """Each question about what does not exist has an answer that says how to see what does."""
    server = await house.server("world", FILES)
    with pytest.raises(NotFound, match="there are: wings"):
        await house.service.create(server, adapter="tape")
    with pytest.raises(NotFound, match="wings backup list"):
        await house.service.resolve("beef")
    with pytest.raises(NotFound, match="wings backup list"):
        await house.service.resolve(str(uuid4()))
    for _ in range(17):
        await house.catalogue.add(
            BackupRow(uuid4(), server.uuid, "wings", "tar_gz", BackupState.FAILED, datetime.now(UTC))
        )
    starts = [str(row.uuid)[0] for row in await house.service.list()]
    with pytest.raises(InvalidInput, match="is ambiguous"):
        await house.service.resolve(next(start for start in starts if starts.count(start) > 1))


async def test_server_of_a_backup_is_gone(house: House) -> None:
    """A backup outlives its server; where to restore it has to be said then."""
    server = await house.server("world", FILES)
    job = await house.done(house.service.create(server))
    assert job.backup is not None
    await house.directory.remove(server.uuid)
    with pytest.raises(NotFound, match="wings server list"):
        await house.service.restore(job.backup, None, truncate=False)
    other = await house.server("other", {"x": b""})
    assert (await house.done(house.service.restore(job.backup, other, truncate=True))).state is JobState.SUCCEEDED


async def test_estimate_from_the_last_backup(house: House) -> None:
    """W-25: the total of the progress comes from memory, not from a second walk."""
    server = await house.server("world", FILES)
    first = await house.done(house.service.create(server))
    second = await house.done(house.service.create(server))
    assert (first.bytes_total, second.bytes_total) == (0, 256_005)
