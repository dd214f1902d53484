"""Zip and 7z archives of the real programs, restored by ours."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.archives.reading import unpack
from tests.trees import Facts, build_nasty, differences, snapshot, storable
from wings.archives.formats import ArchiveFormat
from wings.archives.verify import verify_full
from wings.archives.work import Unwatched
from wings.errors import Damaged

YEAR_2100 = 4_102_444_800


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nasty tree without what stops these programs: fifos, and paths that they cannot reach."""
    root = tmp_path_factory.mktemp("nasty") / "tree"
    build_nasty(root, many=100, sparse=3_000_000)
    shutil.rmtree(root / "special")
    subprocess.run(["bash", "-c", "rm -rf deep*"], cwd=root, check=True)
    return root


def not_unicode(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return True
    return False


def check(archive: Path, format: ArchiveFormat, nasty: Path, place: Path, *, unicode_only: bool = False) -> None:
    """Restored equal to the tree, verified, and damaged when cut off."""

    def skip(path: bytes, facts: Facts) -> bool:
        return unicode_only and (not_unicode(path) or not_unicode(facts.target) or "\ufffd".encode() in path)

    done = unpack(archive, format, place / "out")
    assert done.refused == 0, done.warnings
    tree = storable(snapshot(nasty))
    # Extended timestamps of zip end in 2106 at the latest, those of older writers in 2038.
    step, limits = (2, (-(1 << 31), YEAR_2100)) if format is ArchiveFormat.ZIP else (1, None)
    late = {path for path, facts in tree.items() if limits and facts.mtime_ns // 10**9 > limits[1]}
    found = snapshot(place / "out")
    assert differences(tree, found, mtime_step=step, skip=lambda p, f: p in late or skip(p, f)) == []
    assert late <= set(found)
    with archive.open("rb") as file:
        contents = verify_full(file, format, work=Unwatched(), threads=2)
    assert contents.files == done.files + done.symlinks
    assert contents.content_bytes == done.bytes
    whole = archive.read_bytes()
    for size in (len(whole) // 2, len(whole) - 10):
        with pytest.raises(Damaged):
            unpack(whole[:size], format, place / f"cut {size}")


@pytest.mark.parametrize("options", ["", "-0", "-9", "-Z bzip2", "-fz"])
@pytest.mark.peer("zip")
def test_info_zip(options: str, nasty: Path, tmp_path: Path) -> None:
    """P9: zip with links, names that are no UTF-8, times before 1980; stored, deflated, bzip2, zip64."""
    subprocess.run(["zip", "-qry", *options.split(), tmp_path / "a.zip", "."], cwd=nasty, check=True)
    check(tmp_path / "a.zip", ArchiveFormat.ZIP, nasty, tmp_path)


@pytest.mark.peer("zip")
def test_info_zip_through_a_pipe(nasty: Path, tmp_path: Path) -> None:
    """Sizes and checksums behind the data."""
    archive = subprocess.run(
        "zip -qr - files many | cat", shell=True, cwd=nasty, stdout=subprocess.PIPE, check=True
    ).stdout
    unpack(archive, ArchiveFormat.ZIP, tmp_path / "out")
    found = snapshot(tmp_path / "out")
    tree = storable(snapshot(nasty))
    assert set(found) == {path for path in tree if path.split(b"/")[0] in (b"files", b"many")}
    assert differences({path: tree[path] for path in found}, found, mtime_step=2) == []


@pytest.mark.peer("bsdtar")
def test_zip_of_bsdtar(nasty: Path, tmp_path: Path) -> None:
    """Names that are called UTF-8 and are none do not keep the rest from being read."""
    subprocess.run(["bsdtar", "--format=zip", "-cf", tmp_path / "a.zip", "."], cwd=nasty, check=True)
    check(tmp_path / "a.zip", ArchiveFormat.ZIP, nasty, tmp_path)


@pytest.mark.parametrize("options", ["-mx=1", "-mm=BZip2 -mx=1", "-mm=LZMA -mx=1", "-mm=Deflate64 -mx=1"])
@pytest.mark.peer("7zz")
def test_zip_of_7zip(options: str, nasty: Path, tmp_path: Path) -> None:
    """7-Zip's zip with its methods."""
    command = ["7zz", "a", "-bd", "-tzip", "-snl", *options.split(), tmp_path / "a.zip", "."]
    subprocess.run(command, cwd=nasty, check=True, stdout=subprocess.DEVNULL)
    check(tmp_path / "a.zip", ArchiveFormat.ZIP, nasty, tmp_path, unicode_only=True)


@pytest.mark.parametrize(
    "options", ["-mx=1", "-mx=1 -ms=off", "-mx=0", "-mx=5", "-m0=Deflate", "-m0=BZip2", "-m0=LZMA"]
)
@pytest.mark.peer("7zz")
def test_7zip(options: str, nasty: Path, tmp_path: Path) -> None:
    """P9: 7-Zip, solid and not, in every method but PPMd; names that are no UTF-8 included."""
    command = ["7zz", "a", "-bd", "-snl", *options.split(), tmp_path / "a.7z", "."]
    subprocess.run(command, cwd=nasty, check=True, stdout=subprocess.DEVNULL)
    check(tmp_path / "a.7z", ArchiveFormat.SEVEN_ZIP, nasty, tmp_path)


@pytest.mark.peer("bsdtar")
def test_7z_of_bsdtar(nasty: Path, tmp_path: Path) -> None:
    subprocess.run(["bsdtar", "--format=7zip", "-cf", tmp_path / "a.7z", "."], cwd=nasty, check=True)
    check(tmp_path / "a.7z", ArchiveFormat.SEVEN_ZIP, nasty, tmp_path, unicode_only=True)
