"""Names in the backup directory."""

from pathlib import Path
from uuid import UUID

import pytest

from wings.archives.formats import ArchiveFormat
from wings.backups.drivers.local_layout import LocalLayout
from wings.errors import Unavailable

ONE = UUID("aaaaaaaa-1111-4111-8111-111111111111")
TWO = UUID("22222222-2222-4222-8222-222222222222")
SERVER = UUID("99999999-9999-4999-8999-999999999999")


@pytest.fixture
def layout(tmp_path: Path) -> LocalLayout:
    layout = LocalLayout(tmp_path / "backups", tmp_path / "id")
    layout.prepare()
    return layout


@pytest.mark.parametrize("format", list(ArchiveFormat))
def test_every_extension_is_found(layout: LocalLayout, format: ArchiveFormat) -> None:
    """P9: a change of the configured format never hides older backups."""
    path = layout.directory / f"{ONE}.{format.extension}"
    path.write_bytes(b"x")
    found = layout.find(ONE)
    assert found is not None and (found.path, found.format, found.server) == (path, format, None)
    assert [one.uuid for one in layout.scan()] == [ONE]


def test_pelican_directories(layout: LocalLayout) -> None:
    """P9: Pelican keeps one directory per server."""
    path = layout.directory / str(SERVER) / f"{TWO}.tar.gz"
    path.parent.mkdir()
    path.write_bytes(b"x")
    found = layout.find(TWO)
    assert found is not None and (found.path, found.server) == (path, SERVER)
    assert [one.uuid for one in layout.scan()] == [TWO]


@pytest.mark.parametrize(
    "name",
    [
        f"{ONE}.s3.tar.gz",
        f"{ONE}.s3.part",
        f"{ONE}.tar.gz.part",
        f"{ONE}.sql",
        f"{str(ONE).upper()}.tar",
        "restic_password",
        "notes.tar.gz",
        f"{ONE}",
    ],
)
def test_names_of_others_are_no_backups(layout: LocalLayout, name: str) -> None:
    """The reference's own files in this directory (backup-drivers §11.5) are neither listed nor swept."""
    (layout.directory / name).write_bytes(b"x")
    assert layout.find(ONE) is None
    assert list(layout.scan()) == []
    assert layout.leftovers() == [] and layout.orphans() == []


def test_a_link_or_directory_is_no_archive(layout: LocalLayout, tmp_path: Path) -> None:
    """P8: a name alone does not make a backup."""
    (tmp_path / "elsewhere").write_bytes(b"x")
    (layout.directory / f"{ONE}.tar").symlink_to(tmp_path / "elsewhere")
    (layout.directory / f"{TWO}.zip").mkdir()
    assert layout.find(ONE) is None and layout.find(TWO) is None
    assert list(layout.scan()) == []


def test_unmounted_disk_is_unavailable(layout: LocalLayout, tmp_path: Path) -> None:
    """P2: the empty mount point of a disk that is gone answers no question."""
    (layout.directory / f"{ONE}.tar").write_bytes(b"x")
    layout.directory.rename(tmp_path / "disk")
    layout.directory.mkdir()
    with pytest.raises(Unavailable, match="is the disk mounted"):
        layout.check_reachable()
    with pytest.raises(Unavailable, match="is the disk mounted"):
        layout.prepare()  # a create must not write onto the wrong disk either
    layout.directory.rmdir()
    (tmp_path / "disk").rename(layout.directory)
    layout.check_reachable()
    assert layout.find(ONE) is not None


def test_another_directory_starts_afresh(layout: LocalLayout, tmp_path: Path) -> None:
    """An operator who configures another backup directory is not held to the old one's identity."""
    moved = LocalLayout(tmp_path / "other", tmp_path / "id")
    moved.prepare()
    moved.check_reachable()
    with pytest.raises(Unavailable):
        (tmp_path / "other" / ".wings" / "storage-id").unlink()
        moved.check_reachable()


def test_orphans_are_memories_without_archive(layout: LocalLayout) -> None:
    """P5: a crash between record and archive leaves orphans, and only they are called so."""
    layout.record(ONE).write_text("{}")
    layout.index(ONE).write_bytes(b"")
    layout.record(TWO).write_text("{}")
    layout.archive(TWO, ArchiveFormat.TAR).write_bytes(b"x")
    assert layout.orphans() == [layout.index(ONE), layout.record(ONE)]


def test_directories_are_private(layout: LocalLayout) -> None:
    """P10: nobody else on the host reads backups."""
    for path in (layout.directory, layout.own, layout.partial):
        assert path.stat().st_mode & 0o777 == 0o700
