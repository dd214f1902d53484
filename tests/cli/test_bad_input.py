"""Bad input against a real daemon: each has its own words, says what to do, and has its exit code."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.node import Node
from wings.backups.durable import LOOK_AT_ROOM_EVERY
from wings.cli.main import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

FIRST = "aaaaaaaa-0000-4000-8000-000000000001"
SECOND = "aaaaaaaa-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    place = tmp_path_factory.mktemp("bad")
    (place / "world" / "inner").mkdir(parents=True)
    (place / "world" / "inner" / "a").write_bytes(b"content\n")
    (place / "file").write_bytes(b"")
    with Node(place / "node") as node:
        server = node.add_server("world", place / "world")
        for uuid in (FIRST, SECOND):
            queued = node.call("POST", "/api/local/backups", {"server": server, "format": "tar", "uuid": uuid})
            node.finish(queued["job"])
        # Sixteen servers can begin with a hexadecimal digit each; with seventeen, two share one.
        for number in range(16):
            (place / f"s{number}").mkdir()
            node.add_server(f"s{number}", place / f"s{number}")
        yield node


def refused(node: Node, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, code and text; both ways of telling agree."""
    capfd.readouterr()
    exit_code = run(["--root", str(node.root), *arguments])
    plain = capfd.readouterr()
    assert exit_code != 0 and plain.out == ""
    assert plain.err.startswith("error: ") and plain.err.count("\n") == 1
    assert run(["--root", str(node.root), *arguments, "--json"]) == exit_code
    told = json.loads(capfd.readouterr().out)
    assert set(told) == {"error", "code"}
    # Figures such as the free space may change between two runs.
    assert re.sub(r"\d+", "#", " ".join(told["error"].split())) == re.sub(r"\d+", "#", plain.err[7:-1])
    return exit_code, told["code"], told["error"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "words"),
    [
        (["backup", "create", "nobody"], 4, "not_found", "'wings server list' shows"),
        (["backup", "create", ""], 4, "not_found", "no server ''"),
        (["backup", "create", "world", "--adapter", "tape"], 4, "not_found", "there are: wings"),
        (["backup", "list", "--server", "nobody"], 4, "not_found", "no server 'nobody'"),
        (["backup", "show", "00000000-0000-4000-8000-000000000000"], 4, "not_found", "'wings backup list' shows"),
        (["backup", "show", "not-a-uuid"], 4, "not_found", "no backup 'not-a-uuid'"),
        (["backup", "show", "x/../y?z"], 4, "not_found", "no backup 'x/../y?z'"),
        (["backup", "show", ""], 3, "invalid_input", "names nothing"),
        (["backup", "restore", "aaaaaaaa"], 3, "invalid_input", f"{FIRST}, {SECOND}; give more of the uuid"),
        (["backup", "delete", "aaaa"], 3, "invalid_input", "ambiguous"),
        (["backup", "restore", FIRST, "--server", "nobody"], 4, "not_found", "no server 'nobody'"),
        (["server", "remove", "nobody"], 4, "not_found", "no server 'nobody'"),
        (["server", "add", "a\nb", "/tmp"], 3, "invalid_input", "printable"),
        (["check", "tape"], 4, "not_found", "there are: wings"),
    ],
)
def test_names(
    node: Node, capfd: pytest.CaptureFixture[str], arguments: list[str], exit_code: int, code: str, words: str
) -> None:
    told = refused(node, capfd, *arguments)
    assert told[:2] == (exit_code, code) and words in told[2]


def test_an_ambiguous_server(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    """The start of a uuid that two servers have: both are named."""
    starts = [one["uuid"][0] for one in node.call("GET", "/api/local/servers")]
    shared = next(start for start in starts if starts.count(start) > 1)
    exit_code, code, words = refused(node, capfd, "backup", "create", shared)
    assert (exit_code, code) == (3, "invalid_input") and "ambiguous" in words and "give more" in words


def test_paths(node: Node, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, nothing, a taken directory, the inside of another server or of the daemon's own directories."""
    place = node.root.parent
    monkeypatch.chdir(place)
    for path, exit_code, code, words in [
        (place / "file", 3, "invalid_input", "is not a directory"),
        (Path("file"), 3, "invalid_input", f"{place}/file is not a directory"),
        (place / "none", 3, "invalid_input", "create the directory first"),
        (place / "world", 5, "conflict", "is already server world"),
        (place / "world" / "inner", 5, "conflict", "needs a directory of its own"),
        (place, 3, "invalid_input", "choose a directory apart"),
        (node.root / "backups", 3, "invalid_input", "choose a directory apart"),
        (Path("/"), None, None, ""),
    ]:
        told = refused(node, capfd, "server", "add", "other", str(path))
        if exit_code is not None:
            assert told[:2] == (exit_code, code) and words in told[2], (path, told)
    assert refused(node, capfd, "server", "add", "world", str(place / "file"))[0] in (3, 5)


def test_no_permission(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    """A directory that the daemon may not read. (Root may read everything.)"""
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user")
    closed = node.root.parent / "closed"
    closed.mkdir(mode=0)
    exit_code, code, words = refused(node, capfd, "server", "add", "closed", str(closed))
    assert (exit_code, code) == (9, "refused") and "as a user who may" in words


def test_formats(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    exit_code, code, words = refused(node, capfd, "backup", "create", "world", "--format", "rar")
    assert (exit_code, code) == (2, "usage") and "'rar'" in words and "'tar_gz'" in words


def test_inside_a_backup(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    """Paths that are not there, or of the other kind."""
    for arguments, exit_code, words in [
        (["tree", FIRST, "no/such"], 4, "no/such"),
        (["tree", FIRST, "inner/a"], 3, "inner/a"),
        (["cat", FIRST, "inner"], 3, "inner"),
        (["cat", FIRST, "../../etc/passwd"], 4, "etc/passwd"),
        (["cat", FIRST, ""], 3, "which file"),
    ]:
        told = refused(node, capfd, "backup", *arguments)
        assert told[0] == exit_code and words in told[2], (arguments, told)


def test_no_space(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """W-9: it fails with the way out in the message; the job says the same later."""
    node = Node(tmp_path / "node")
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "noise").write_bytes(os.urandom(LOOK_AT_ROOM_EVERY + (2 << 20)))
    with node:
        node.add_server("world", tmp_path / "world")
    config = node.root / "config.yml"
    text = yaml.safe_load(config.read_text())
    text.setdefault("wings", {}).setdefault("backups", {})["reserve_space"] = "1000TiB"
    config.write_text(yaml.safe_dump(text))
    with node:
        exit_code, code, words = refused(node, capfd, "backup", "create", "world", "--format", "tar")
        assert (exit_code, code) == (7, "no_space") and "left on the disk" in words
        assert run(["--root", str(node.root), "jobs", "--json"]) == 0
        jobs = json.loads(capfd.readouterr().out)
        assert {(job["state"], job["error_code"], job["error_status"]) for job in jobs} == {("failed", "no_space", 507)}
