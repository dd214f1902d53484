"""Files that get their name when they are whole."""

import os
from pathlib import Path

import pytest

from wings.backups.durable import PartialFile, write_durably
from wings.errors import Conflict, NoSpace


def test_invisible_until_published(tmp_path: Path) -> None:
    """W-10: the final name appears with the last byte, not with the first."""
    final = tmp_path / "backup.tar"
    partial = PartialFile(tmp_path / "backup.partial", reserve=0)
    partial.write(b"first ")
    partial.write(memoryview(b"second"))
    assert not final.exists()
    partial.publish(final)
    assert final.read_bytes() == b"first second"
    assert final.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["backup.tar"]


def test_never_replaces(tmp_path: Path) -> None:
    """W-46: a name that is taken is left alone, and the discarded run removes only its own file."""
    final = tmp_path / "backup.tar"
    final.write_bytes(b"older and good")
    partial = PartialFile(tmp_path / "backup.partial", reserve=0)
    partial.write(b"newer")
    with pytest.raises(Conflict, match="left as it is"):
        partial.publish(final)
    partial.discard()
    assert final.read_bytes() == b"older and good"
    assert [path.name for path in tmp_path.iterdir()] == ["backup.tar"]


def test_partial_name_is_exclusive(tmp_path: Path) -> None:
    """P3: two runs never write into one file, and a link laid out beforehand is not followed."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "name").symlink_to(victim)
    with pytest.raises(FileExistsError):
        PartialFile(tmp_path / "name", reserve=0)
    assert victim.read_bytes() == b"untouched"


def test_reserve_is_kept(tmp_path: Path) -> None:
    """W-9: nothing is begun on a disk that has no room left for the others. (A full one: tests/faults.)"""
    facts = os.statvfs(tmp_path)
    with pytest.raises(NoSpace, match="are kept free"):
        PartialFile(tmp_path / "partial", reserve=facts.f_bavail * facts.f_frsize + (1 << 40))
    assert list(tmp_path.iterdir()) == []


def test_write_durably_replaces_whole(tmp_path: Path) -> None:
    """P5: readers see the old or the new document."""
    path = tmp_path / "record.json"
    write_durably(path, b"old")
    write_durably(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert [one.name for one in tmp_path.iterdir()] == ["record.json"]
