"""The usual programs read what is written here: they test it, list it and restore the same tree from it."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.trees import Facts, Nasty, Snapshot, build_nasty, differences, snapshot, storable
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.work import Unwatched
from wings.archives.write import Written, write_archive
from wings.files.ignore import gather
from wings.files.jail import Jail
from wings.files.walk import TreeSource


class FileSink:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self._file.write(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def store(root: Path, path: Path, format: ArchiveFormat) -> Written:
    work = Unwatched()
    sink = FileSink(path)
    try:
        with Jail(root) as jail:
            source = TreeSource(jail, gather([], jail, ()), work)
            return write_archive(source, sink, format=format, level=CompressionLevel.BEST_SPEED, threads=2, work=work)
    finally:
        sink.close()


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Nasty:
    """Without its deepest part, which no program that takes whole paths can restore."""
    tree = build_nasty(tmp_path_factory.mktemp("nasty") / "root", many=120, sparse=3 << 20)
    shutil.rmtree(tree.root / os.fsdecode(tree.deepest.partition(b"/")[0]))
    return tree


@pytest.fixture(scope="module")
def expected(nasty: Nasty) -> Snapshot:
    return storable(snapshot(nasty.root))


def run(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(words, check=False, capture_output=True, cwd=cwd)
    output = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, output[-3000:]
    return output


TAR_TESTS = {
    ArchiveFormat.TAR_GZ: ("pigz", "-t"),
    ArchiveFormat.TAR_XZ: ("xz", "-t"),
    ArchiveFormat.TAR_LZIP: ("lzip", "-t"),
    ArchiveFormat.TAR_BZ2: ("bzip2", "-t"),
    ArchiveFormat.TAR_LZ4: ("lz4", "-t", "-q"),
    ArchiveFormat.TAR_ZSTD: ("zstd", "-t", "-q"),
}


@pytest.mark.peer("tar")
@pytest.mark.peer("pigz")
@pytest.mark.peer("xz")
@pytest.mark.peer("lzip")
@pytest.mark.peer("bzip2")
@pytest.mark.peer("lz4")
@pytest.mark.peer("zstd")
@pytest.mark.parametrize("format", [one for one in ArchiveFormat if one.is_tar])
def test_gnu_tar_restores_the_nasty_tree(
    format: ArchiveFormat, nasty: Nasty, expected: Snapshot, tmp_path: Path, needs_root: None
) -> None:
    """W-4: long names and targets included; backup-drivers §17: GNU format, every compression."""
    archive = tmp_path / f"a.{format.extension}"
    store(nasty.root, archive, format)
    if (test := TAR_TESTS.get(format)) is not None:
        run(*test, archive)
    out = tmp_path / "out"
    out.mkdir()
    unpack = ("-I", TAR_TESTS[format][0]) if format in TAR_TESTS else ()
    run("tar", *unpack, "-xpf", archive, "-C", out)
    assert differences(expected, snapshot(out)) == []


@pytest.mark.peer("bsdtar")
@pytest.mark.parametrize("format", [ArchiveFormat.TAR_GZ, ArchiveFormat.TAR_ZSTD, ArchiveFormat.TAR_LZ4])
def test_bsdtar_restores_the_nasty_tree(
    format: ArchiveFormat, nasty: Nasty, expected: Snapshot, tmp_path: Path, needs_root: None
) -> None:
    archive = tmp_path / f"a.{format.extension}"
    store(nasty.root, archive, format)
    out = tmp_path / "out"
    out.mkdir()
    run("bsdtar", "-xpf", archive, "-C", out)
    assert differences(expected, snapshot(out)) == []


@pytest.mark.peer("tar")
def test_headers_are_those_of_gnu_tar(tmp_path: Path, needs_root: None) -> None:
    """Byte for byte, for the same plain files in the same order."""
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_bytes(b"content")
    (root / "d" / ("long" * 30)).write_bytes(b"x" * 5000)
    os.symlink("t" * 150, root / "d" / "link")
    for one in ("d/file", "d/" + "long" * 30, "d"):
        os.utime(root / one, (1_600_000_000, 1_600_000_000))
    os.utime(root / "d/link", (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    ours = tmp_path / "ours.tar"
    store(root, ours, ArchiveFormat.TAR)
    order = run("tar", "-tf", ours).split()
    theirs = tmp_path / "theirs.tar"
    run(
        *("tar", "--format=gnu", "--owner=:0", "--group=:0", "--no-recursion", "-cf", theirs, "-C", root, *order),
    )
    assert run("tar", "--numeric-owner", "-tvf", ours) == run("tar", "--numeric-owner", "-tvf", theirs)
    assert ours.stat().st_size == theirs.stat().st_size


def renamed(path: bytes) -> bool:
    """Zip and 7z hold text: what is not UTF-8 has another name there. bsdtar takes a backslash for a slash."""
    return b"\xff" in path or b"\xf0\x9f emoji" in path or b"\\" in path


def beyond_bsdtar(facts: Facts) -> bool:
    """It reads times before 1970 as late ones in a zip and as 0 in a 7z, and those of NTFS not in every version."""
    return not 0 <= facts.mtime_ns // 10**9 < 1 << 31


@pytest.mark.peer("unzip")
@pytest.mark.peer("7zz")
@pytest.mark.peer("bsdtar")
def test_zips_pass_every_test_and_bsdtar_restores_them(
    nasty: Nasty, expected: Snapshot, tmp_path: Path, needs_root: None
) -> None:
    """W-55, W-57: unzip -t, 7zz t and bsdtar are content; setuid, links and times before 1980 survive."""
    archive = tmp_path / "a.zip"
    store(nasty.root, archive, ArchiveFormat.ZIP)
    assert "No errors detected" in run("unzip", "-tq", archive)
    assert "Everything is Ok" in run("7zz", "t", archive)
    out = tmp_path / "out"
    out.mkdir()
    run("bsdtar", "-xpf", archive, "-C", out)

    found = snapshot(out)
    assert differences(expected, found, skip=lambda path, facts: renamed(path) or beyond_bsdtar(facts)) == []
    assert {path for path, facts in expected.items() if beyond_bsdtar(facts)} <= set(found)


@pytest.mark.peer("unzip")
def test_unzip_restores_modes_links_and_times(tmp_path: Path) -> None:
    """W-57."""
    root, out = tmp_path / "root", tmp_path / "out"
    plain_tree(root)
    store(root, tmp_path / "a.zip", ArchiveFormat.ZIP)
    run("unzip", "-q", "-K", tmp_path / "a.zip", "-d", out)
    assert differences(snapshot(root), snapshot(out)) == []


@pytest.mark.peer("7zz")
@pytest.mark.parametrize("format", [ArchiveFormat.SEVEN_ZIP, ArchiveFormat.ZIP])
def test_7zz_restores_what_it_can(format: ArchiveFormat, tmp_path: Path) -> None:
    """W-57: modes, links, empty directories that are directories, a time for each."""
    root, out = tmp_path / "root", tmp_path / "out"
    plain_tree(root)
    archive = tmp_path / f"a.{format.extension}"
    store(root, archive, format)
    run("7zz", "t", archive)
    run("7zz", "x", "-snld", f"-o{out}", archive)
    without_setuid = {
        path: Facts(one.kind, one.mode & 0o777, one.mtime_ns, one.size, one.digest, one.target)
        for path, one in snapshot(root).items()
    }
    found = {
        path: Facts(one.kind, one.mode & 0o777, one.mtime_ns, one.size, one.digest, one.target)
        for path, one in snapshot(out).items()
    }
    assert differences(without_setuid, found) == []


@pytest.mark.peer("7zz")
@pytest.mark.peer("bsdtar")
def test_7z_of_the_nasty_tree_is_read_by_7zz_and_bsdtar(
    nasty: Nasty, expected: Snapshot, tmp_path: Path, needs_root: None
) -> None:
    archive = tmp_path / "a.7z"
    store(nasty.root, archive, ArchiveFormat.SEVEN_ZIP)
    listing = run("7zz", "l", "-slt", archive)
    assert "Everything is Ok" in run("7zz", "t", archive)
    assert "Anti = +" not in listing
    out = tmp_path / "out"
    out.mkdir()
    run("bsdtar", "-xpf", archive, "-C", out)

    found = snapshot(out)
    assert differences(expected, found, skip=lambda path, facts: renamed(path) or beyond_bsdtar(facts)) == []


@pytest.mark.peer("7zz")
def test_7zz_finds_many_files_in_few_blocks(tmp_path: Path) -> None:
    """W-57: the reference writes a block per file."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(300):
        (root / f"f{number}").write_bytes(b"%d" % number * 300)
    store(root, tmp_path / "a.7z", ArchiveFormat.SEVEN_ZIP)
    output = run("7zz", "t", tmp_path / "a.7z")
    assert "Files: 300" in output
    assert "Solid = +" in output
    assert "Blocks = 1" in output


def plain_tree(root: Path) -> None:
    """What every one of the programs can restore."""
    (root / "d" / "empty").mkdir(parents=True)
    (root / "ünïcödé 日本").mkdir()
    contents: dict[str, bytes] = {
        "d/text": b"The quick brown fox.\n" * 9000,
        "d/random": os.urandom(200_000),
        "d/large": os.urandom(1_500_000) + bytes(1_500_000) + b"words and more words " * 50_000,
        "ünïcödé 日本/größe": b"x",
        "zero": b"",
        "script": b"#!/bin/sh\n",
    }
    for name, data in contents.items():
        (root / name).write_bytes(data)
    (root / "script").chmod(0o755)
    (root / "d/text").chmod(0o640)
    (root / "d/random").chmod(0o4755)
    os.symlink("text", root / "d" / "link")
    for name, seconds in (("d/text", 300_000_000), ("d/random", 1_600_000_001), ("zero", 2_000_000_000)):
        os.utime(root / name, (seconds, seconds))
    for name in ("d/empty", "d", "ünïcödé 日本"):
        os.utime(root / name, (1_500_000_001, 1_500_000_001))
    assert stat.S_IMODE((root / "d/random").stat().st_mode) == 0o4755
