"""Saving bytes: whole under the right name, or nothing."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.cli.conftest import ScriptedDaemon, response
from wings.cli.client import Client
from wings.cli.failures import TransferBroken
from wings.cli.transfer import Expected, to_file, to_stdout
from wings.errors import Conflict, Damaged, InvalidInput

BODY = b"archive" * 100_000
NAMED = "Content-Disposition: attachment; filename=\"_.tar\"; filename*=UTF-8''w%C3%B6rld.tar\r\n"


@pytest.fixture
def client(daemon: ScriptedDaemon) -> Client:
    daemon.lay("/whole", response(BODY, headers=NAMED))
    daemon.lay("/broken", response(BODY, length=len(BODY) + 1, headers=NAMED))
    daemon.lay("/outside", response(BODY, headers="Content-Disposition: attachment; filename*=UTF-8''..%2F..%2Fx\r\n"))
    daemon.lay("/unnamed", response(BODY))
    return Client(daemon.settings)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def test_named_by_the_daemon_or_by_the_user(client: Client, place: Path) -> None:
    """In the current directory, in a given one, or under a given name; never outside by the daemon's wish."""
    (place / "sub").mkdir()
    assert to_file(client, "/whole", None).path == Path("wörld.tar")
    assert to_file(client, "/whole", place / "sub").path == place / "sub" / "wörld.tar"
    assert to_file(client, "/whole", place / "mine").size == len(BODY)
    assert to_file(client, "/outside", None).path == Path("x")
    assert to_file(client, "/unnamed", None).path == Path("backup")
    names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert names == ["backup", "mine", "sub/wörld.tar", "wörld.tar", "x"]
    assert {path.read_bytes() for path in place.rglob("*") if path.is_file()} == {BODY}


def test_nothing_is_replaced(client: Client, daemon: ScriptedDaemon, place: Path) -> None:
    """Not a file, not a dangling link, and not what appears meanwhile; known before anything is transferred."""
    (place / "mine").write_bytes(b"precious")
    (place / "link").symlink_to("nowhere")
    for name in ("mine", "link"):
        with pytest.raises(Conflict, match="exists already"):
            to_file(client, "/whole", place / name)
    assert daemon.requests == []
    (place / "wörld.tar").write_bytes(b"precious")
    with pytest.raises(Conflict, match="exists already"):
        to_file(client, "/whole", None)
    assert sorted(path.name for path in place.iterdir()) == ["link", "mine", "wörld.tar"]
    assert (place / "mine").read_bytes() == (place / "wörld.tar").read_bytes() == b"precious"


def test_a_part_leaves_nothing(client: Client, place: Path) -> None:
    """W-20: a transfer that breaks off is an error, and no file."""
    with pytest.raises(TransferBroken, match=rf"after {len(BODY)} of {len(BODY) + 1} bytes"):
        to_file(client, "/broken", None)
    assert list(place.iterdir()) == []


def test_the_checksum_is_checked(client: Client, place: Path) -> None:
    right = Expected("sha256", hashlib.sha256(BODY).hexdigest())
    assert to_file(client, "/whole", place / "a", right).size == len(BODY)
    with pytest.raises(Damaged, match="another sha256"):
        to_file(client, "/whole", place / "b", Expected("sha256", "0" * 64))
    assert [path.name for path in place.iterdir()] == ["a"]


def test_a_directory_that_is_not_there(client: Client, place: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a directory that exists"):
        to_file(client, "/whole", place / "no" / "file")


def test_the_file_is_for_its_owner(client: Client, place: Path) -> None:
    """P10: a backup holds passwords of the game server."""
    before = os.umask(0)
    try:
        saved = to_file(client, "/whole", None)
    finally:
        os.umask(before)
    assert saved.path.stat().st_mode & 0o777 == 0o600


def test_to_stdout(client: Client, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    to_stdout(client, "/whole")
    assert capfdbinary.readouterr().out == BODY
    with pytest.raises(TransferBroken):
        to_stdout(client, "/broken")
