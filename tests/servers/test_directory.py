"""Servers the operator registers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wings.errors import Conflict, InvalidInput, NotFound
from wings.host.threads import Pools
from wings.servers.directory import ServerDirectory
from wings.store.database import Database
from wings.store.servers import ServerStore


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[ServerDirectory]:
    root = tmp_path / "node"
    (root / "backups").mkdir(parents=True)
    database = await Database.open(root / "wings.db")
    with Pools(archive=1) as pools:
        yield ServerDirectory(ServerStore(database), pools, reserved=[root, root / "backups"])
    await database.close()


async def test_added_and_found(directory: ServerDirectory, tmp_path: Path) -> None:
    """By name, by uuid, by the start of the uuid."""
    (tmp_path / "world").mkdir()
    server = await directory.add("survival", tmp_path / "world")
    for text in ("survival", str(server.uuid), str(server.uuid)[:8], str(server.uuid)[:8].upper()):
        assert await directory.resolve(text) == server
    assert list(await directory.list()) == [server]
    await directory.remove(server.uuid)
    with pytest.raises(NotFound, match="wings server list"):
        await directory.resolve("survival")
    assert (tmp_path / "world").is_dir()


async def test_unknown_and_ambiguous(directory: ServerDirectory, tmp_path: Path) -> None:
    for number in range(17):  # by the pigeonhole, two uuids begin with the same digit
        (tmp_path / f"w{number}").mkdir()
        await directory.add(f"w{number}", tmp_path / f"w{number}")
    starts = [str(server.uuid)[0] for server in await directory.list()]
    twice = next(start for start in starts if starts.count(start) > 1)
    with pytest.raises(InvalidInput, match="is ambiguous"):
        await directory.resolve(twice)
    with pytest.raises(NotFound):
        await directory.resolve("zzz")
    with pytest.raises(NotFound):
        await directory.resolve("")


async def test_paths_that_cannot_be(directory: ServerDirectory, tmp_path: Path) -> None:
    """Each has its own message that says what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInput, match="is not a directory"):
        await directory.add("a", tmp_path / "file")
    with pytest.raises(InvalidInput, match="create the directory first"):
        await directory.add("a", tmp_path / "missing")
    with pytest.raises(InvalidInput, match="not an absolute path"):
        await directory.add("a", Path("relative"))
    with pytest.raises(InvalidInput, match="root of the file system"):
        await directory.add("a", Path("/"))
    for inside in ("node", "node/backups"):
        with pytest.raises(InvalidInput, match="choose a directory apart"):
            await directory.add("a", tmp_path / inside)
    with pytest.raises(InvalidInput, match="choose a directory apart"):
        await directory.add("a", tmp_path)  # around the daemon's own


@pytest.mark.parametrize("name", ["", "  ", "with\nnewline", "x" * 192, "bell\x07"])
async def test_names_that_cannot_be(directory: ServerDirectory, tmp_path: Path, name: str) -> None:
    (tmp_path / "world").mkdir()
    with pytest.raises(InvalidInput, match="cannot be a server's name"):
        await directory.add(name, tmp_path / "world")


async def test_taken(directory: ServerDirectory, tmp_path: Path) -> None:
    """One directory, one server: also through a link, also inside one another."""
    (tmp_path / "world" / "inner").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "world")
    await directory.add("survival", tmp_path / "world")
    with pytest.raises(Conflict, match="already server survival"):
        await directory.add("again", tmp_path / "alias")
    with pytest.raises(Conflict, match="inside one another"):
        await directory.add("again", tmp_path / "world" / "inner")
    with pytest.raises(Conflict):
        await directory.add("survival", tmp_path / "other")
