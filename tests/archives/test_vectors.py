"""P9: every archive the reference daemon made equals its manifest, within the losses its writers are known for."""

import hashlib
import json
import lzma
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archives.reading import unpack
from wings.archives.formats import ArchiveFormat
from wings.archives.verify import verify_full, verify_structure
from wings.archives.work import Unwatched

pytestmark = pytest.mark.vectors

YEAR_1980 = 315_532_800
FILES = {
    ArchiveFormat.TAR: "wings-tar.tar.packed.xz",
    ArchiveFormat.TAR_GZ: "wings-tar_gz.tar.gz",
    ArchiveFormat.TAR_XZ: "wings-tar_xz.tar.xz",
    ArchiveFormat.TAR_BZ2: "wings-tar_bz2.tar.bz2",
    ArchiveFormat.TAR_LZ4: "wings-tar_lz4.tar.lz4",
    ArchiveFormat.TAR_ZSTD: "wings-tar_zstd.tar.zst",
    ArchiveFormat.ZIP: "wings-zip.zip",
    ArchiveFormat.SEVEN_ZIP: "wings-seven_zip.7z",
}
ALL = pytest.mark.parametrize("format", FILES, ids=str)


@dataclass(frozen=True)
class Known:
    """What is compared of an entry; ``None`` where the writer lost it."""

    kind: str
    content: str
    mode: int | None
    seconds: int | None


def expected(reference: Path, format: ArchiveFormat) -> dict[str, Known]:
    """The manifest less what the writer of this format loses (README.md beside it)."""
    found = {}
    for one in json.loads((reference / "manifest.json").read_text()):
        kind = one["type"]
        mode: int | None = int(one["mode"], 8)
        seconds: int | None = one["mtime_ns"] // 10**9
        assert mode is not None and seconds is not None
        if kind == "symlink":
            if format is ArchiveFormat.SEVEN_ZIP or (format.is_tar and len(one["target"]) > 100):
                continue
            mode = seconds = None
        elif format is ArchiveFormat.ZIP:
            mode &= 0o777  # W-57: setuid is lost, and times before 1980 become that of the backup
            seconds = seconds // 2 * 2 if seconds >= YEAR_1980 else None
        elif format is ArchiveFormat.SEVEN_ZIP:
            # W-57: no modes, and what is in a directory has its time.
            mode = 0o755 if kind == "dir" else 0o644
            seconds = None if "/" in one["path"] else seconds
        found[one["path"]] = Known(kind, one.get("sha256", one.get("target", "")), mode, seconds)
    return found


def actual(root: Path, like: dict[str, Known]) -> dict[str, Known]:
    """The same of what was restored, leaving out what ``like`` does not know."""
    found = {}
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        name = str(path.relative_to(root))
        mode: int | None = stat.S_IMODE(facts.st_mode)
        seconds: int | None = facts.st_mtime_ns // 10**9
        if (wanted := like.get(name)) is not None:
            mode = None if wanted.mode is None else mode
            seconds = None if wanted.seconds is None else seconds
        if path.is_symlink():
            found[name] = Known("symlink", str(path.readlink()), mode, seconds)
        elif path.is_dir():
            found[name] = Known("dir", "", mode, seconds)
        else:
            found[name] = Known("file", hashlib.sha256(path.read_bytes()).hexdigest(), mode, seconds)
    return found


def archive(reference: Path, format: ArchiveFormat, place: Path) -> Path:
    path = reference / FILES[format]
    if path.name.endswith(".packed.xz"):
        plain = place / "plain.tar"
        plain.write_bytes(lzma.decompress(path.read_bytes()))
        return plain
    return path


@ALL
def test_archives_of_the_reference_are_restored(format: ArchiveFormat, vectors: Path, tmp_path: Path) -> None:
    """P9, W-57: all eight formats, directories that are marked "anti" included."""
    reference = vectors / "reference"
    done = unpack(archive(reference, format, tmp_path), format, tmp_path / "out")
    wanted = expected(reference, format)
    assert actual(tmp_path / "out", wanted) == wanted
    assert (done.refused, done.warnings) == (0, ())
    assert done.files + done.directories + done.symlinks == len(wanted)


@ALL
def test_archives_of_the_reference_verify(format: ArchiveFormat, vectors: Path, tmp_path: Path) -> None:
    """W-12: what is whole verifies, and says what it unpacks to."""
    reference = vectors / "reference"
    wanted = expected(reference, format)
    sizes = {one["path"]: one.get("size", 0) for one in json.loads((reference / "manifest.json").read_text())}
    with archive(reference, format, tmp_path).open("rb") as file:
        verify_structure(file, format)
        contents = verify_full(file, format, work=Unwatched(), threads=2)
    assert contents.entries == len(wanted)
    assert contents.directories == sum(one.kind == "dir" for one in wanted.values())
    assert contents.content_bytes == sum(sizes[path] for path, one in wanted.items() if one.kind == "file")
