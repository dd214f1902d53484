"""Tar archives of the real programs, restored by ours: every dialect, every compressor (backup-drivers §17)."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives.reading import everything, unpack
from tests.trees import Facts, Snapshot, build_nasty, differences, snapshot, storable
from wings.archives.formats import ArchiveFormat
from wings.archives.verify import verify_full
from wings.archives.work import Unwatched
from wings.errors import Damaged


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nasty tree, built once and only read."""
    root = tmp_path_factory.mktemp("nasty") / "tree"
    build_nasty(root, many=100, sparse=3_000_000)
    return root


def run(command: str, directory: Path, *, check: bool = True) -> None:
    """A shell command, quiet; its complaints are shown when it fails."""
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=directory, capture_output=True, check=False)
    assert done.returncode == 0 or not check, done.stderr.decode(errors="replace")


def restored(archive: Path, format: ArchiveFormat, place: Path) -> Snapshot:
    unpack(archive, format, place / "out")
    found = snapshot(place / "out")
    shutil.rmtree(place / "out")
    return found


def fits_old(path: bytes, facts: Facts) -> bool:
    """What v7 and ustar can hold with certainty."""
    return len(path) < 100 and len(facts.target) <= 100 and facts.mtime_ns >= 0


def everything_fits(path: bytes, facts: Facts) -> bool:
    return True


def shallow(path: bytes, facts: Facts) -> bool:
    """bsdtar does not reach below 4096 bytes of path."""
    return not path.startswith(b"deep ")


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ("--format=gnu", everything_fits),
        ("--format=oldgnu", everything_fits),
        ("--format=pax", everything_fits),
        ("--format=ustar", fits_old),
        ("--format=v7", fits_old),
        ("--format=gnu --sparse", everything_fits),
        ("--format=pax --sparse --sparse-version=0.0", everything_fits),
        ("--format=pax --sparse --sparse-version=0.1", everything_fits),
        ("--format=pax --sparse --sparse-version=1.0", everything_fits),
        ("--format=gnu --hard-dereference", everything_fits),
        ("--format=gnu --label=backup", everything_fits),
        ("--format=gnu --listed-incremental=../state", shallow),
    ],
)
@pytest.mark.peer("tar")
def test_gnu_tar(options: str, fits: Callable[[bytes, Facts], bool], nasty: Path, tmp_path: Path) -> None:
    """P9: GNU tar in all its formats: names, links, hard links, sparse files, modes and times come back."""
    archive = tmp_path / "a.tar"
    run(f"tar {options} -cf {archive} .", nasty, check=fits is everything_fits)
    differing = differences(
        storable(snapshot(nasty)), restored(archive, ArchiveFormat.TAR, tmp_path), skip=lambda p, f: not fits(p, f)
    )
    assert differing == []


def shallow_and_late(path: bytes, facts: Facts) -> bool:
    """In GNU's format bsdtar keeps no times before 1970."""
    return shallow(path, facts) and facts.mtime_ns >= 0


@pytest.mark.parametrize(
    ("format", "fits"),
    [("pax", shallow), ("gnutar", shallow_and_late), ("ustar", fits_old), ("v7tar", fits_old)],
)
@pytest.mark.peer("bsdtar")
def test_bsdtar(format: str, fits: Callable[[bytes, Facts], bool], nasty: Path, tmp_path: Path) -> None:
    """P9: the other tar, which the BSDs, macOS and many libraries use."""
    archive = tmp_path / "a.tar"
    run(f"bsdtar --format={format} -cf {archive} .", nasty, check=False)
    differing = differences(
        storable(snapshot(nasty)), restored(archive, ArchiveFormat.TAR, tmp_path), skip=lambda p, f: not fits(p, f)
    )
    assert differing == []


COMPRESSORS = [
    pytest.param("gzip -1", "tar_gz", id="gzip"),
    pytest.param("pigz -1 -p2", "tar_gz", marks=pytest.mark.peer("pigz"), id="pigz"),
    pytest.param("pigz -1 -p2 -i -b128", "tar_gz", marks=pytest.mark.peer("pigz"), id="pigz independent"),
    pytest.param("bzip2 -1", "tar_bz2", marks=pytest.mark.peer("bzip2"), id="bzip2"),
    pytest.param("pbzip2 -1 -p2 -c", "tar_bz2", marks=pytest.mark.peer("pbzip2"), id="pbzip2"),
    pytest.param("xz -1", "tar_xz", marks=pytest.mark.peer("xz"), id="xz"),
    pytest.param("xz -0 -T2 --block-size=256KiB", "tar_xz", marks=pytest.mark.peer("xz"), id="xz -T"),
    pytest.param("lzip -0", "tar_lzip", marks=pytest.mark.peer("lzip"), id="lzip"),
    pytest.param("plzip -0 -n2 -B 300KiB", "tar_lzip", marks=pytest.mark.peer("plzip"), id="plzip"),
    pytest.param("lz4 -1 -q", "tar_lz4", marks=pytest.mark.peer("lz4"), id="lz4"),
    pytest.param("zstd -1 -q", "tar_zstd", marks=pytest.mark.peer("zstd"), id="zstd"),
    pytest.param("zstd -1 -q -T2 -B1MiB", "tar_zstd", marks=pytest.mark.peer("zstd"), id="zstd -T"),
    pytest.param("cat", "tar", id="none"),
]


@pytest.mark.parametrize(("compressor", "format"), COMPRESSORS)
@pytest.mark.peer("tar")
def test_compressors(compressor: str, format: str, nasty: Path, tmp_path: Path) -> None:
    """P9, W-12: tar through every compressor is restored, verifies, and is damaged when cut off."""
    archive = tmp_path / "archive"
    run(f"tar -c files names links many | {compressor} >{archive}", nasty)
    expected = {
        path: facts
        for path, facts in storable(snapshot(nasty)).items()
        if path.split(b"/")[0] in (b"files", b"names", b"links", b"many")
    }
    assert differences(expected, restored(archive, ArchiveFormat(format), tmp_path)) == []
    with archive.open("rb") as file:
        contents = verify_full(file, ArchiveFormat(format), work=Unwatched(), threads=2)
    assert contents.entries == len(expected)
    whole = archive.read_bytes()
    for part in (0.3, 0.8):
        with pytest.raises(Damaged):
            everything(whole[: int(len(whole) * part)], ArchiveFormat(format))


@pytest.mark.parametrize(("compressor", "format"), COMPRESSORS)
@pytest.mark.peer("tar")
def test_archives_in_pieces(compressor: str, format: str, nasty: Path, tmp_path: Path) -> None:
    """A tar stream cut anywhere, each piece compressed by itself, and the pieces put behind each other."""
    run(f"tar -cf {tmp_path}/plain files many", nasty)
    run("split -b 1234567 plain piece.", tmp_path)
    run(f"for piece in piece.*; do {compressor} <$piece; done >archive", tmp_path)
    found = restored(tmp_path / "archive", ArchiveFormat(format), tmp_path)
    expected = storable(snapshot(nasty))
    assert set(found) == {path for path in expected if path.split(b"/")[0] in (b"files", b"many")}
    assert differences({path: expected[path] for path in found}, found) == []


@pytest.mark.peer("tar")
def test_appended_and_updated_archives(tmp_path: Path) -> None:
    """What was added later replaces what it repeats; joined archives of GNU tar lose nothing."""
    (tmp_path / "tree").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "tree" / name).write_text("old")
    run(f"tar -cf {tmp_path}/a.tar .", tmp_path / "tree")
    (tmp_path / "tree" / "b").write_text("new")
    run(f"tar -rf {tmp_path}/a.tar ./b ./b", tmp_path / "tree")
    run(f"tar -cf {tmp_path}/b.tar ./c && tar -Af {tmp_path}/a.tar {tmp_path}/b.tar", tmp_path / "tree")
    unpack(tmp_path / "a.tar", ArchiveFormat.TAR, tmp_path / "out")
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "a": "old",
        "b": "new",
        "c": "old",
    }


@pytest.mark.peer("tar")
def test_joined_archives_are_no_silent_loss(tmp_path: Path) -> None:
    """W-12: GNU tar reads only the first of two archives put together with cat; we say so instead."""
    (tmp_path / "a").write_text("a")
    run("tar -cf a.tar a && cat a.tar a.tar >two.tar", tmp_path)
    with pytest.raises(Damaged, match="behind the end"):
        everything((tmp_path / "two.tar").read_bytes(), ArchiveFormat.TAR)
