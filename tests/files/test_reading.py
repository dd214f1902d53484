"""Reading a file that changes: growth is cut, loss is seen, holes cost nothing."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wings.archives.report import SourceReport, Trouble
from wings.files.reading import FileContent, SparseContent, WholeContent

KINDS = pytest.mark.parametrize("kind", [FileContent, SparseContent])


def opened(kind: type[FileContent], path: Path, report: SourceReport) -> FileContent:
    fd = os.open(path, os.O_RDONLY)
    facts = os.fstat(fd)
    return kind(fd, os.fsencode(path.name), facts.st_size, facts.st_mtime_ns, report)


def drained(content: FileContent, piece: int = 1 << 20) -> bytes:
    return b"".join(iter(lambda: content.read(piece), b""))


def test_whole_content_gives_its_bytes_once() -> None:
    content = WholeContent(b"abcdef")
    assert [content.read(4), content.read(4), content.read(4)] == [b"abcd", b"ef", b""]
    content.close()
    content.close()
    assert WholeContent(b"").read(10) == b""


@KINDS
def test_a_quiet_file_comes_out_whole_and_unremarked(kind: type[FileContent], tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    report = SourceReport()
    before = len(os.listdir("/proc/self/fd"))
    content = opened(kind, tmp_path / "file", report)
    assert drained(content, 70_000) == data
    assert content.read(1) == b""
    content.close()
    content.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not report.counts


@KINDS
@pytest.mark.parametrize(
    ("change", "length", "reason"),
    [
        (lambda path: os.truncate(path, 200_001), 200_000, "grew"),
        (lambda path: os.truncate(path, 50_000), 100_000, None),  # ends early: the reader counts and says torn
        (lambda path: os.truncate(path, 150_000), 150_000, None),
        (lambda path: os.utime(path, (1, 1)), 200_000, "written to"),
        (lambda path: path.unlink(), 200_000, None),  # an open file stays
    ],
    ids=["grows", "shrinks below", "shrinks", "is touched", "is deleted"],
)
def test_a_file_that_changes_while_read(
    kind: type[FileContent], tmp_path: Path, change: Callable[[Path], object], length: int, reason: str | None
) -> None:
    """W-3: never more than announced; less is seen by the reader; the rest of changes is noted on closing."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)
    report = SourceReport()
    content = opened(kind, path, report)
    assert len(content.read(100_000)) == 100_000
    change(path)
    assert 100_000 + len(drained(content)) == length
    content.close()
    assert [one.reason for one in report.examples.get(Trouble.CHANGED, [])] == ([reason] if reason else [])


def test_a_file_not_read_to_its_end_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 200_000)
    report = SourceReport()
    content = opened(FileContent, tmp_path / "file", report)
    content.read(1)
    os.utime(tmp_path / "file", (1, 1))
    content.close()
    assert not report.counts


def test_a_disk_that_fails_ends_the_file_and_is_noted() -> None:
    """W-3: an error in the middle is no end of the walk, and no silent end of the file either."""
    report = SourceReport()
    fd = os.open("/proc/self/mem", os.O_RDONLY)  # its first page is never mapped: reading is an I/O error
    content = FileContent(fd, b"bad sector", 100_000, 0, report)
    assert content.read(1000) == b""
    assert content.read(1000) == b""
    content.close()
    assert report.sentences() == ["1 unreadable file: bad sector (Input/output error)"]


@pytest.mark.parametrize(
    "extents",
    [
        [],
        [(0, 10)],
        [(0, 3 << 20)],
        [(5 << 20, 100)],
        [(0, 100), (2 << 20, 4096), ((2 << 20) + 8192, 5000), (9 << 20, 1 << 20)],
        [(number * 65_536, 100) for number in range(100)],
    ],
)
def test_sparse_files_come_out_byte_for_byte(tmp_path: Path, extents: list[tuple[int, int]]) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(10 << 20)
        for position, length in extents:
            file.seek(position)
            file.write(os.urandom(length))
    report = SourceReport()
    content = opened(SparseContent, path, report)
    assert drained(content, 1_000_003) == path.read_bytes()
    content.close()
    assert not report.counts


def test_holes_are_not_read_from_the_disk(tmp_path: Path) -> None:
    """A sparse gibibyte takes well under a second."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"data")
    content = opened(SparseContent, path, SourceReport())
    started = time.perf_counter()
    total = zeros = 0
    while data := content.read(1 << 20):
        total += len(data)
        zeros += data == bytes(1 << 20)
    content.close()
    assert time.perf_counter() - started < 1
    assert (total, zeros) == (1 << 30, 1023)


def test_a_sparse_file_that_loses_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(64 << 20)
    content = opened(SparseContent, path, SourceReport())
    content.read(4096)
    os.truncate(path, 1 << 20)
    assert len(drained(content)) == (1 << 20) - 4096
    content.close()
