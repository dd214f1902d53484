"""A disk that fills up in the middle of a create or a restore."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.cases import Case, WatchedJob, local_driver
from tests.trees import differences, snapshot
from wings.archives.formats import ArchiveFormat
from wings.backups.protocol import Depth
from wings.errors import NoSpace
from wings.host.threads import Pools

pytestmark = pytest.mark.usefixtures("needs_root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "wings-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def pools() -> Iterator[Pools]:
    with Pools(archive=4) as pools:
        yield pools


def _case(place: Path, pools: Pools) -> Case:
    return Case("wings", local_driver(place, pools), lambda: local_driver(place, pools), place / "backups", None)


def _fill(root: Path, mib: int) -> None:
    root.mkdir(exist_ok=True)
    for number in range(mib):
        (root / f"{number}.bin").write_bytes(os.urandom(1 << 20))


@pytest.mark.parametrize("format", [ArchiveFormat.TAR_GZ, ArchiveFormat.ZIP, ArchiveFormat.SEVEN_ZIP])
async def test_full_while_creating(small_disk: Path, tmp_path: Path, pools: Pools, format: ArchiveFormat) -> None:
    """P1, P3, W-9: the create fails with a reason, leaves nothing, and the older backup stays whole."""
    world = tmp_path / "world"
    _fill(world, 10)
    case = _case(small_disk, pools)
    case.format = format
    older = await case.create(world)
    _fill(world, 40)
    with pytest.raises(NoSpace, match=r"delete old backups|free some|is full"):
        await case.create(world)
    assert [stored.ref.uuid for stored in await case.driver.list()] == [older.ref.uuid]
    assert list((case.storage / ".wings" / "partial").iterdir()) == []
    assert (await case.driver.verify(older, Depth.FULL, WatchedJob())).ok


@pytest.mark.parametrize("truncate", [True, False])
async def test_full_while_restoring(small_disk: Path, tmp_path: Path, pools: Pools, truncate: bool) -> None:
    """P3, W-16: no room for the restored files: refused or rolled back, the server as it was."""
    world = tmp_path / "world"
    _fill(world, 30)
    case = _case(tmp_path / "storage", pools)
    (tmp_path / "storage").mkdir()
    stored = await case.create(world)
    server = small_disk / "server"
    _fill(server, 3)
    before = snapshot(server)
    with pytest.raises(NoSpace):
        await case.restore(stored, server, truncate=truncate)
    assert differences(before, snapshot(server)) == []
    # Without a record nobody knows the size beforehand, and an archive can lie about it: the disk decides.
    for record in (case.storage / ".wings" / "records").iterdir():
        record.unlink()
    found = await case.driver.locate(stored.ref)
    assert found is not None
    with pytest.raises(NoSpace):
        await case.restore(found, server, truncate=truncate)
    assert differences(before, snapshot(server)) == []
