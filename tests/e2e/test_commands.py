"""The commands scripts depend on, run as scripts run them: real processes, real daemon, exact JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.node import Node

pytestmark = [pytest.mark.timeout(60), pytest.mark.slow]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    place = tmp_path_factory.mktemp("e2e")
    world = place / "world"
    (world / "logs").mkdir(parents=True)
    (world / "server.properties").write_bytes(b"motd=hello\n")
    (world / "logs" / "latest.log").write_bytes(b"line\n" * 1000)
    os.utime(world / "server.properties", (1_600_000_000, 1_600_000_000))
    with Node(place / "node") as node:
        yield node


def wings(node: Node, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "wings", "--root", str(node.root), *arguments], capture_output=True, check=False
    )


def answer(node: Node, *arguments: str) -> object:
    """The one document on stdout of a command that succeeds."""
    done = wings(node, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def failure(node: Node, *arguments: str) -> tuple[int, dict[str, str]]:
    """Exit code and document of a command that fails; stderr must be one line."""
    plain = wings(node, *arguments)
    assert plain.returncode != 0 and plain.stdout == b""
    assert plain.stderr.count(b"\n") == 1, plain.stderr
    done = wings(node, *arguments, "--json")
    assert done.returncode == plain.returncode
    told = json.loads(done.stdout)
    assert set(told) == {"error", "code"}
    return done.returncode, told


@pytest.fixture(scope="module")
def server(node: Node) -> dict[str, str]:
    told = answer(node, "server", "add", "survival", str(node.root.parent / "world"))
    assert isinstance(told, dict)
    return told


@pytest.fixture(scope="module")
def backup(node: Node, server: dict[str, str]) -> dict[str, object]:
    told = answer(node, "backup", "create", "survival")
    assert isinstance(told, dict)
    return told


def test_server_add(node: Node, server: dict[str, str]) -> None:
    assert set(server) == {"uuid", "name", "path"}
    assert UUID(server["uuid"]) and server["name"] == "survival"
    assert Path(server["path"]).samefile(node.root.parent / "world")


def test_backup_create(server: dict[str, str], backup: dict[str, object]) -> None:
    assert set(backup) == {
        "uuid",
        "server",
        "adapter",
        "format",
        "state",
        "successful",
        "size",
        "files",
        "checksum_type",
        "checksum",
        "created",
        "browsable",
        "streaming",
        "warnings",
    }
    assert backup["server"] == server["uuid"]
    assert (backup["adapter"], backup["format"], backup["successful"]) == ("wings", "tar_gz", True)
    assert (backup["files"], backup["checksum_type"], backup["warnings"]) == (2, "sha256", [])
    assert len(str(backup["checksum"])) == 64


def test_backup_list(node: Node, backup: dict[str, object]) -> None:
    listed = answer(node, "backup", "list")
    assert isinstance(listed, list) and backup in listed


def test_backup_tree(node: Node, backup: dict[str, object]) -> None:
    entries = answer(node, "backup", "tree", str(backup["uuid"]))
    assert isinstance(entries, list)
    assert [entry["name"] for entry in entries] == ["logs", "server.properties"]
    assert set(entries[1]) == {"name", "type", "size", "mode", "modified"}
    assert (entries[1]["type"], entries[1]["size"]) == ("file", 11)
    assert str(entries[1]["modified"]).startswith("2020-09-13T12:26:40")
    inner = answer(node, "backup", "tree", str(backup["uuid"])[:8], "logs")
    assert isinstance(inner, list) and [entry["name"] for entry in inner] == ["latest.log"]


def test_backup_cat(node: Node, backup: dict[str, object]) -> None:
    done = wings(node, "backup", "cat", str(backup["uuid"]), "logs/latest.log")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"line\n" * 1000, b"")


def test_backup_verify_and_restore(node: Node, backup: dict[str, object]) -> None:
    report = answer(node, "backup", "verify", str(backup["uuid"]), "--full")
    assert isinstance(report, dict)
    assert report["ok"] is True and report["problems"] == [] and report["checked_bytes"] >= backup["size"]
    world = node.root.parent / "world"
    (world / "logs" / "latest.log").unlink()
    (world / "stray").write_bytes(b"x")
    restored = answer(node, "backup", "restore", str(backup["uuid"]), "--truncate")
    assert isinstance(restored, dict)
    assert (restored["successful"], restored["files"], restored["bytes"]) == (True, 2, 5011)
    assert sorted(path.name for path in world.iterdir()) == ["logs", "server.properties"]


def test_download(node: Node, backup: dict[str, object], tmp_path: Path) -> None:
    done = wings(node, "backup", "download", str(backup["uuid"]), "-o", str(tmp_path / "out.tar.gz"))
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(["tar", "-tzf", str(tmp_path / "out.tar.gz")], capture_output=True, check=True)
    assert sorted(listed.stdout.split()) == [b"logs/", b"logs/latest.log", b"server.properties"]
    again = wings(node, "backup", "download", str(backup["uuid"]), "-o", str(tmp_path / "out.tar.gz"))
    assert again.returncode != 0 and b"exists" in again.stderr


def test_failures(node: Node, server: dict[str, str], backup: dict[str, object], tmp_path: Path) -> None:
    """Every bad input has its own words, its own code, and one line."""
    uuid = str(backup["uuid"])
    (tmp_path / "file").write_bytes(b"")
    cases = [
        (("backup", "create", "nobody"), 4, "not_found", "no server 'nobody'"),
        (("backup", "restore", "00000000-0000-4000-8000-000000000000"), 4, "not_found", "no backup"),
        (("backup", "tree", uuid, "no/such"), 4, "not_found", "no/such"),
        (("backup", "cat", uuid, "logs"), 3, "invalid_input", "logs"),
        (("server", "add", "x", str(tmp_path / "file")), 3, "invalid_input", "is not a directory"),
        (("server", "add", "x", str(node.root)), 3, "invalid_input", "choose a directory apart"),
        (("server", "add", "survival", str(tmp_path)), 5, "conflict", "survival"),
        (("backup", "create", "survival", "--adapter", "tape"), 4, "not_found", "tape"),
    ]
    for arguments, exit_code, code, words in cases:
        got, told = failure(node, *arguments)
        assert (got, told["code"]) == (exit_code, code), (arguments, told)
        assert words in told["error"], (arguments, told)
    unknown = wings(node, "backup", "create", "survival", "--format", "rar")
    assert unknown.returncode in (2, 3) and b"rar" in unknown.stderr and b"tar_gz" in unknown.stderr


def test_second_daemon_is_refused(node: Node) -> None:
    """One owner per root, and the message names it."""
    done = wings(node)
    assert done.returncode == 5
    assert str(node.pid).encode() in done.stderr + done.stdout


def test_no_daemon(tmp_path: Path) -> None:
    """The command line says how to start one."""
    done = wings(Node(tmp_path / "nowhere"), "backup", "list")
    assert done.returncode == 6
    assert b"wings --root" in done.stderr and done.stderr.count(b"\n") == 1


def test_no_configuration(tmp_path: Path) -> None:
    """Without a file and without --root: one message, both ways on, exit 1."""
    done = subprocess.run(
        [sys.executable, "-m", "wings"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert b"--root" in done.stderr and b"configure" in done.stderr


def test_signals_end_it_cleanly(tmp_path: Path) -> None:
    """SIGINT and SIGTERM: exit code 0, the socket is gone, the next start finds everything in order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        node = Node(tmp_path / "node")
        node.start()
        assert node.process is not None
        node.process.send_signal(number)
        assert node.process.wait(timeout=15) == 0
        assert not (tmp_path / "node" / "wings.sock").exists()


def test_sighup_is_survived(tmp_path: Path) -> None:
    """Log rotation of other daemons sends HUP (cli-and-host §5.7)."""
    with Node(tmp_path / "node") as node:
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert node.call("GET", "/api/health")["status"] == "ready"


def test_damaged_store(tmp_path: Path) -> None:
    """P5: a damaged store is set aside, said loudly, and the backups are there again."""
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "a").write_bytes(b"a")
    node = Node(tmp_path / "node")
    with node:
        uuid = node.create(node.add_server("world", tmp_path / "world"), "zip")
    (node.root / "wings.db").write_bytes(b"this is no database" * 500)
    with node:
        assert [row["uuid"] for row in node.call("GET", "/api/local/backups")] == [uuid]
        assert len(list(node.root.glob("wings.db.damaged-*"))) == 1
        assert "set aside" in (node.root / "logs" / "wings.log").read_text()
