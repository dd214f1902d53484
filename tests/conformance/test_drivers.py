"""What every storage must do; a driver that fails one of these is not shipped."""

import asyncio
import os
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conformance.cases import Case, WatchedJob
from tests.trees import build_nasty, differences, snapshot
from wings.backups.protocol import BackupRef, ByteRange, Depth
from wings.errors import Cancelled, Conflict, Damaged, InvalidInput, NoSpace, NotFound, Unavailable

# Nine formats, some of them slow by nature: what a quiet machine does in 2 s a busy one may take 20 for.
pytestmark = pytest.mark.timeout(60)


async def test_nasty_tree_comes_back(case: Case, tmp_path: Path) -> None:
    """P1, P8: every kind of entry that archives hold comes back as it was, whatever its name."""
    source, target = tmp_path / "nasty", tmp_path / "back"
    build_nasty(source, many=100, sparse=8 << 20)
    target.mkdir()
    stored = await case.create(source)
    await case.restore(stored, target)
    assert case.losses.differences(snapshot(source), snapshot(target)) == []


async def test_what_create_tells(case: Case, tree: Path) -> None:
    """P1: size, checksum and counts are recorded and true."""
    job = WatchedJob()
    stored = await case.create(tree, job=job)
    assert stored.size > 0
    assert stored.checksum_type and stored.checksum
    assert stored.files == 16  # twelve regions, three files, one link
    assert stored.content_bytes == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    assert job.bytes >= stored.content_bytes
    assert job.stages


async def test_found_again_by_another_daemon(case: Case, tree: Path) -> None:
    """P5: nothing that is needed to restore lives in the process."""
    stored = await case.create(tree)
    fresh = case.reopen()
    found = await fresh.locate(stored.ref)
    assert found is not None
    assert (found.size, found.checksum, found.files) == (stored.size, stored.checksum, stored.files)
    assert [one.ref.uuid for one in await fresh.list()] == [stored.ref.uuid]


async def test_absent_is_none(case: Case, tree: Path) -> None:
    """P2: what is provably not there is not found."""
    await case.create(tree)
    assert await case.driver.locate(BackupRef(uuid4())) is None


async def test_unreachable_is_not_absent(case: Case, tree: Path) -> None:
    """P2, W-44: a storage that went away is an error for every question, never "not found"."""
    stored = await case.create(tree)
    case.storage.rename(case.storage.with_name("elsewhere"))
    case.storage.mkdir()  # as the mount point of a disk that is gone
    with pytest.raises(Unavailable):
        await case.driver.locate(stored.ref)
    with pytest.raises(Unavailable):
        await case.driver.delete(stored.ref)
    with pytest.raises(Unavailable):
        await case.driver.list()
    case.storage.rmdir()
    with pytest.raises(Unavailable):
        await case.driver.locate(stored.ref)
    case.storage.with_name("elsewhere").rename(case.storage)
    assert await case.driver.locate(stored.ref) is not None


async def test_ignore_rules(case: Case, tree: Path) -> None:
    """Ignored entries are not stored; what is re-included below an excluded directory is."""
    stored = await case.create(tree, ignore=["world/region", "!world/region/r.3.mca", "*.properties"])
    async with case.look(stored) as inside:
        assert [entry.path for entry in await inside.list(b"world/region")] == [b"world/region/r.3.mca"]
        with pytest.raises(NotFound):
            await inside.stat(b"server.properties")
        assert (await inside.stat(b"start.sh")).size == 10


async def test_restore_over_what_is_there(case: Case, tree: Path, tmp_path: Path) -> None:
    """Without truncation only what the backup holds is replaced."""
    stored = await case.create(tree)
    before = snapshot(tree)
    (tree / "server.properties").write_bytes(b"changed")
    (tree / "world" / "region" / "r.1.mca").unlink()
    (tree / "mine.txt").write_bytes(b"not in the backup")
    await case.restore(stored, tree)
    after = snapshot(tree)
    assert after.pop(b"mine.txt").size == 17
    assert case.losses.differences(before, after) == []


async def test_truncating_restore(case: Case, tree: Path) -> None:
    """W-22: everything else goes, except what the denylist keeps out of backups."""
    stored = await case.create(tree, ignore=["secret.key"])
    (tree / "stray").mkdir()
    (tree / "stray" / "file").write_bytes(b"x")
    (tree / "secret.key").write_bytes(b"kept")
    (tree / "server.properties").unlink()
    await case.restore(stored, tree, truncate=True, denylist=["secret.key"])
    assert not (tree / "stray").exists()
    assert (tree / "secret.key").read_bytes() == b"kept"
    assert (tree / "server.properties").read_bytes() == b"motd=hello\n"


async def test_browse_equals_restore_equals_source(case: Case, tree: Path) -> None:
    """Browsing shows the same bytes as a restore, also in ranges."""
    stored = await case.create(tree)
    async with case.look(stored) as inside:
        top = [(entry.path, str(entry.kind)) for entry in await inside.list(b"")]
        assert top == [
            (b"with space", "directory"),
            (b"world", "directory"),
            (b"empty.txt", "file"),
            (b"link", "symlink"),
            (b"server.properties", "file"),
            (b"start.sh", "file"),
        ]
        assert list(await inside.list(b"with space")) == []
        whole = (tree / "world" / "region" / "r.7.mca").read_bytes()
        assert (await inside.stat(b"world/region/r.7.mca")).size == len(whole)
        assert await inside.read(b"world/region/r.7.mca") == whole
        assert await inside.read(b"world/region/r.7.mca", 65_000, 100) == whole[65_000:65_100]
        assert await inside.read(b"world/region/r.7.mca", len(whole) - 3) == whole[-3:]
        assert await inside.read(b"empty.txt") == b""
        for missing in (b"no/such", b"../server", b"server.properties/x"):
            with pytest.raises(NotFound):
                await inside.list(missing)
            with pytest.raises(NotFound):
                await inside.stat(missing)
        with pytest.raises(InvalidInput):
            await inside.list(b"server.properties")
        for no_file in (b"world", b""):
            with pytest.raises(InvalidInput):
                await inside.read(no_file)
        # Several people click at once: one tree serves them all.
        parts = await asyncio.gather(*(inside.read(f"world/region/r.{n}.mca".encode()) for n in range(12)))
        assert [len(part) for part in parts] == [70_000 + n for n in range(12)]


async def test_download_is_the_stored_archive(case: Case, tree: Path) -> None:
    """The body has the announced length, and ranges are cut out of the same bytes."""
    stored = await case.create(tree)
    whole = await case.driver.download(stored, None, None)
    data = b"".join([chunk async for chunk in whole.stream])
    assert whole.size == len(data)
    part = await case.driver.download(stored, None, ByteRange(10, 29))
    assert b"".join([chunk async for chunk in part.stream]) == data[10:30]
    assert (part.first, part.last, part.size) == (10, 29, len(data))
    tail = await case.driver.download(stored, None, ByteRange(suffix=5))
    assert b"".join([chunk async for chunk in tail.stream]) == data[-5:]


async def test_same_uuid_twice(case: Case, tree: Path) -> None:
    """W-46: the second create is refused and the first backup stays whole."""
    stored = await case.create(tree)
    with pytest.raises(Conflict):
        await case.create(tree, uuid=stored.ref.uuid)
    assert (await case.driver.verify(stored, Depth.FULL, WatchedJob())).ok


async def test_delete_twice(case: Case, tree: Path) -> None:
    """Deleting is idempotent, and nothing of the backup stays behind."""
    stored = await case.create(tree)
    other = await case.create(tree)
    assert await case.driver.delete(stored.ref) is True
    assert await case.driver.delete(stored.ref) is False
    assert await case.driver.locate(stored.ref) is None
    left = [path for path in case.storage.rglob("*") if str(stored.ref.uuid) in path.name]
    assert left == []
    assert await case.driver.locate(other.ref) is not None


async def test_cancel_in_the_middle(case: Case, tmp_path: Path) -> None:
    """W-8, P7: a cancelled create leaves nothing, and no thread goes on."""
    tree = tmp_path / "big"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}.bin").write_bytes(os.urandom(1 << 20))
    with pytest.raises(Cancelled):
        await case.create(tree, job=WatchedJob(cancel_after=8 << 20))
    assert await case.driver.list() == []
    assert [path for path in case.storage.rglob("*") if path.is_file() and path.stat().st_size > 1000] == []


async def test_two_at_once(case: Case, tree: Path) -> None:
    """W-7: parallel creates do not disturb each other."""
    one, two = await asyncio.gather(case.create(tree), case.create(tree))
    for stored in (one, two):
        assert (await case.driver.verify(stored, Depth.FULL, WatchedJob())).ok


async def test_verify_sees_a_flipped_bit(case: Case, tree: Path) -> None:
    """P3, W-11: a changed byte is found, and a restore refuses before it changes anything."""
    stored = await case.create(tree)
    assert (await case.driver.verify(stored, Depth.QUICK, WatchedJob())).ok
    report = await case.driver.verify(stored, Depth.FULL, WatchedJob())
    assert report.ok and report.checked_bytes >= stored.size
    _flip(case.storage / f"{stored.ref.uuid}.{case.format.extension}")  # type: ignore[union-attr]  # all cases here have one
    report = await case.driver.verify(stored, Depth.FULL, WatchedJob())
    assert not report.ok and report.problems
    before = snapshot(tree)
    with pytest.raises(Damaged):
        await case.restore(stored, tree, truncate=True)
    assert differences(before, snapshot(tree)) == []


async def test_verify_sees_a_lost_end(case: Case, tree: Path) -> None:
    """W-12: a truncated archive is found by the quick look already."""
    stored = await case.create(tree)
    path = case.storage / f"{stored.ref.uuid}.{case.format.extension}"  # type: ignore[union-attr]  # all cases here have one
    os.truncate(path, path.stat().st_size - 37)
    assert not (await case.driver.verify(stored, Depth.QUICK, WatchedJob())).ok
    with pytest.raises(Damaged):
        await case.restore(stored, tree, truncate=True)


async def test_damage_without_a_record(case: Case, tree: Path) -> None:
    """P3, P9: a backup of another daemon has no checksum of ours; everything is decoded before a restore."""
    stored = await case.create(tree)
    path = case.storage / f"{stored.ref.uuid}.{case.format.extension}"  # type: ignore[union-attr]  # all cases here have one
    for record in (case.storage / ".wings" / "records").iterdir():
        record.unlink()
    found = await case.driver.locate(stored.ref)
    assert found is not None and found.checksum == "" and found.files is None
    target = tree.with_name("elsewhere")
    target.mkdir()
    await case.restore(found, target)
    assert case.losses.differences(snapshot(tree), snapshot(target)) == []
    os.truncate(path, path.stat().st_size // 2)
    before = snapshot(tree)
    with pytest.raises(Damaged):
        await case.restore(found, tree, truncate=True)
    assert differences(before, snapshot(tree)) == []


async def test_disk_limit_before_the_first_byte(case: Case, tree: Path) -> None:
    """W-16: a backup that does not fit is refused with the server untouched."""
    stored = await case.create(tree)
    before = snapshot(tree)
    with pytest.raises(NoSpace):
        await case.restore(stored, tree, truncate=True, disk_limit=100_000)
    assert differences(before, snapshot(tree)) == []


async def test_cancelled_restore_puts_everything_back(case: Case, tree: Path, tmp_path: Path) -> None:
    """P3, P7: a restore stopped half-way leaves the server as it was."""
    for number in range(16):
        (tree / f"noise-{number}").write_bytes(os.urandom(1 << 19))
    stored = await case.create(tree)
    for path in sorted((tree / "world" / "region").iterdir())[:6]:
        path.write_bytes(b"newer than the backup")
    (tree / "mine.txt").write_bytes(b"x")
    before = snapshot(tree)
    job = WatchedJob()
    original = job.stage

    def stage(name: str) -> None:
        original(name)
        if name == "extracting":
            job._cancel_after = job.bytes + (1 << 20)

    job.stage = stage  # type: ignore[method-assign]  # the moment to cancel is known only to the job
    with pytest.raises(Cancelled):
        await case.restore(stored, tree, truncate=True, mode="staged", job=job)
    assert differences(before, snapshot(tree)) == []


async def test_sweep_keeps_what_is_whole(case: Case, tree: Path) -> None:
    """P3, P5: sweeping removes leftovers of interrupted runs and nothing else."""
    stored = await case.create(tree)
    leftover = case.storage / ".wings" / "partial" / f"{uuid4()}.0badf00d.tar.gz"
    leftover.write_bytes(b"half a backup")
    foreign = case.storage / "notes-of-the-operator.txt"
    foreign.write_bytes(b"mine")
    report = await case.reopen().sweep()
    assert [Path(path).name for path in report.removed] == [leftover.name]
    assert foreign.read_bytes() == b"mine"
    assert (await case.driver.verify(stored, Depth.FULL, WatchedJob())).ok


async def test_check_says_what_is_wrong(case: Case, tree: Path) -> None:
    """The connection test of the storage: fine now, and in words when not."""
    report = await case.driver.check()
    assert report.ok and {what for what, _, _ in report.items} >= {"directory", "writable", "free space"}
    case.storage.rename(case.storage.with_name("elsewhere"))
    case.storage.write_bytes(b"a file where the directory was")
    report = await case.driver.check()
    assert not report.ok
    assert any(str(case.storage) in detail for _, fine, detail in report.items if not fine)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
