"""A daemon that is killed at any instant: what is found afterwards is whole, and nothing good is lost."""

import random
import time
from pathlib import Path

import pytest

from tests.node import Node
from tests.trees import differences, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _world(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(60):
        path = root / f"d{number % 6}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(1, 600_000)))


def _kill_after(node: Node, seconds: float) -> None:
    time.sleep(seconds)
    node.kill()


def _settled(node: Node) -> list[dict[str, object]]:
    """The rows of the catalogue after a restart, with the claims P5 makes about every one of them checked."""
    jobs = node.call("GET", "/api/jobs")
    assert not [job for job in jobs if job["state"] in ("queued", "running")]
    partial = node.root / "backups" / ".wings" / "partial"
    assert list(partial.iterdir()) == []
    rows = node.call("GET", "/api/local/backups")
    held = {path.name[:36] for path in (node.root / "backups").iterdir() if path.name != ".wings"}
    assert held == {row["uuid"] for row in rows if row["state"] == "available"}
    for row in rows:
        assert row["state"] in ("available", "failed"), row
        if row["state"] == "available":
            report = node.finish(
                node.call("POST", f"/api/local/backups/{row['uuid']}/verify", {"depth": "full"})["job"]
            )
            assert report["result"]["ok"], report
    return rows


def test_killed_while_creating(tmp_path: Path) -> None:
    """P1, P5, W-10: 40 kills during create leave no half backup, and every finished one stays whole."""
    world = tmp_path / "world"
    _world(world, 1)
    chance = random.Random(11)
    node = Node(tmp_path / "node")
    node.start()
    server = node.add_server("world", world)
    begun = time.monotonic()
    keep = node.create(server, "tar_gz")
    duration = time.monotonic() - begun
    outcomes = {"available": 0, "failed": 0}
    for _ in range(40):
        answer = node.call("POST", "/api/local/backups", {"server": server, "format": "tar_gz"})
        _kill_after(node, chance.uniform(0, duration * 1.2))
        node.start()
        rows = {row["uuid"]: row for row in _settled(node)}
        assert rows[keep]["state"] == "available"
        ours = rows.get(answer["uuid"])
        job = node.call("GET", f"/api/jobs/{answer['job']['id']}")
        assert job["state"] in ("interrupted", "succeeded")
        if job["state"] == "succeeded":
            assert ours is not None and ours["state"] == "available"
        if ours is not None:
            outcomes[str(ours["state"])] += 1
            node.delete(answer["uuid"])
    node.stop()
    assert outcomes["failed"] > 0  # else the kills came too late to prove anything


@pytest.mark.parametrize("truncate", [True, False])
def test_killed_while_restoring(tmp_path: Path, truncate: bool) -> None:
    """P3, P5: 2 × 25 kills during restore: afterwards the server is as before or as in the backup, never a mixture."""
    world, later = tmp_path / "world", tmp_path / "later"
    _world(world, 2)
    chance = random.Random(12)
    node = Node(tmp_path / "node")
    node.start()
    server = node.add_server("world", world)
    uuid = node.create(server, "tar_zstd")
    later.mkdir()
    target = node.add_server("later", later)
    begun = time.monotonic()
    node.restore(uuid, target)
    duration = time.monotonic() - begun
    restored = snapshot(later)
    node.restore(uuid, target, truncate=True)
    seen = {"old": 0, "new": 0}
    for round in range(25):
        for path in sorted(later.rglob("*.bin"))[:20]:
            path.write_bytes(b"newer than the backup %d" % round)
        (later / "d1" / "mine.txt").write_bytes(b"not in the backup")
        before = snapshot(later)
        wanted = dict(restored)
        if not truncate:
            wanted[b"d1/mine.txt"] = before[b"d1/mine.txt"]
        node.call("POST", f"/api/local/backups/{uuid}/restore", {"server": target, "truncate": truncate})
        _kill_after(node, chance.uniform(0, duration * 2.5))
        node.start()
        now = snapshot(later)
        left = {"old": differences(before, now), "new": differences(wanted, now)}
        match = [name for name, gaps in left.items() if not gaps]
        assert match, left
        seen[match[0]] += 1
        assert [path.name for path in tmp_path.iterdir() if "undo" in path.name] == []
    node.stop()
    assert seen["old"] > 0 and seen["new"] > 0, seen


def test_killed_while_deleting(tmp_path: Path) -> None:
    """P5: 20 kills during delete: the backup is whole or gone."""
    world = tmp_path / "world"
    _world(world, 3)
    chance = random.Random(13)
    node = Node(tmp_path / "node")
    node.start()
    server = node.add_server("world", world)
    for _ in range(20):
        uuid = node.create(server, "tar")
        node.call("DELETE", f"/api/local/backups/{uuid}")
        _kill_after(node, chance.uniform(0, 0.03))
        node.start()
        _settled(node)
        if uuid in {row["uuid"] for row in node.call("GET", "/api/local/backups")}:
            node.delete(uuid)
    node.stop()
