"""The cache of open trees."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from wings.archives.entry import Entry
from wings.backups.browse import TreeCache
from wings.backups.protocol import TreeFile
from wings.errors import Damaged, NotFound


class Tree:
    """Counts whether it is open."""

    def __init__(self) -> None:
        self.closed = False

    def list(self, path: bytes) -> Sequence[Entry]:
        return []

    def stat(self, path: bytes) -> Entry:
        raise NotFound("empty")

    def read(self, path: bytes, offset: int = 0, length: int | None = None) -> TreeFile:
        raise NotFound("empty")

    def close(self) -> None:
        self.closed = True


class Builder:
    """Builds trees, slowly, and remembers them."""

    def __init__(self) -> None:
        self.built: list[Tree] = []

    async def __call__(self) -> Tree:
        await asyncio.sleep(0.01)
        self.built.append(Tree())
        return self.built[-1]


async def test_ten_clicks_build_once() -> None:
    """Backup-drivers §9: one build at a time per uuid, then everybody shares it."""
    cache, build, uuid = TreeCache(), Builder(), uuid4()

    async def click() -> object:
        async with cache.borrow("wings", uuid, build) as tree:
            return tree

    assert len(set(map(id, await asyncio.gather(*(click() for _ in range(10)))))) == 1
    assert len(build.built) == 1


async def test_adapter_is_part_of_the_key() -> None:
    """W-19: another adapter's tree of the same uuid is never served."""
    cache, build, uuid = TreeCache(), Builder(), uuid4()
    async with cache.borrow("wings", uuid, build) as one, cache.borrow("restic", uuid, build) as two:
        assert one is not two


async def test_forgotten_while_in_use() -> None:
    """W-19: a deleted backup is not served again, and its reader is not cut off."""
    cache, build, uuid = TreeCache(), Builder(), uuid4()
    async with cache.borrow("wings", uuid, build):
        cache.forget("wings", uuid)
        assert not build.built[0].closed
        async with cache.borrow("wings", uuid, build) as fresh:
            assert fresh is build.built[1]
    assert build.built[0].closed and not build.built[1].closed


async def test_a_failed_build_is_not_kept() -> None:
    cache, uuid = TreeCache(), uuid4()

    async def broken() -> Tree:
        raise Damaged("no")

    with pytest.raises(Damaged):
        async with cache.borrow("wings", uuid, broken):
            pass
    build = Builder()
    async with cache.borrow("wings", uuid, build) as tree:
        assert tree is build.built[0]


async def test_bounded_and_idle() -> None:
    """P6: no more than so many stay open, the longest unused go first; idle ones go after a while."""
    cache, build = TreeCache(kept=2, idle=0.0), Builder()
    uuids = [UUID(int=number) for number in range(3)]
    for uuid in uuids:
        async with cache.borrow("wings", uuid, build):
            pass
    assert [tree.closed for tree in build.built] == [True, False, False]
    async with cache.borrow("wings", uuids[1], build):
        await asyncio.sleep(0.01)
        cache.close_idle()
        assert [tree.closed for tree in build.built] == [True, False, True]
    cache.close()
    assert all(tree.closed for tree in build.built)
