"""Extraction: order, parallel writers, limits, and errors that end everything (W-12, W-52)."""

import contextlib
import errno
import random
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archives.crafted import END, Member, file, header, make_zip
from tests.archives.listed import Counted, Zeros
from tests.archives.reading import unpack
from tests.trees import build_nasty, differences, snapshot, storable
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.extract import SMALL, Limits, extract
from wings.archives.formats import ArchiveFormat
from wings.archives.read import ArchiveReader, open_archive
from wings.archives.refusals import Refusal, Refusals
from wings.archives.target import Target
from wings.archives.work import Unwatched
from wings.errors import Cancelled, Damaged, NoSpace, Refused
from wings.files.jail import Jail
from wings.files.writer import TreeWriter


class Given:
    """A reader of these items."""

    content_bytes: int | None = None

    def __init__(self, items: Iterable[Item]) -> None:
        self.refusals = Refusals()
        self._items = items

    def __iter__(self) -> Iterator[Item]:
        yield from self._items

    def __enter__(self) -> "Given":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def close(self) -> None:
        pass


class Noted:
    """A target that keeps what it is given, after ``before`` had its say."""

    def __init__(self, before: Callable[[bytes], None] = lambda path: None) -> None:
        self.files: dict[bytes, bytes] = {}
        self.others: list[bytes] = []
        self.broken: list[bytes] = []
        self.finished = False
        self._before = before

    def denied(self, path: bytes) -> bool:
        return path.startswith(b"denied")

    def directory(self, path: bytes, mode: int, mtime_ns: int) -> None:
        self._before(path)
        self.others.append(path)

    def file(self, path: bytes, mode: int, mtime_ns: int, chunks: Iterable[bytes]) -> int:
        self._before(path)
        try:
            data = b"".join(bytes(chunk) for chunk in chunks)
        except BaseException:
            self.broken.append(path)
            raise
        self.files[path] = data
        return len(data)

    def symlink(self, path: bytes, target: bytes, mtime_ns: int) -> None:
        self._before(path)
        self.others.append(path)

    def hardlink(self, path: bytes, existing: bytes) -> None:
        self._before(path)
        self.files[path] = self.files[existing]

    def finish(self) -> None:
        self.finished = True


class Bytes:
    """Content in small portions."""

    def __init__(self, data: bytes) -> None:
        self._data = BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, 300_000))

    def close(self) -> None:
        pass


def a_file(path: bytes, data: bytes, announced: int | None = None) -> Item:
    size = len(data) if announced is None else announced
    return Item(Entry(path, EntryKind.FILE, 0o644, 0, size), Bytes(data))


def run(items: Iterable[Item], target: Target, *, writers: int = 2, limits: Limits | None = None) -> object:
    reader: ArchiveReader = Given(items)
    return extract(reader, target, work=Unwatched(), writers=writers, limits=limits or Limits())


def test_everything_arrives_with_sums_and_progress(tmp_path: Path) -> None:
    chance = random.Random(8)
    contents = {b"d%d/f%d" % (n % 7, n): chance.randbytes(chance.choice((0, 10, 5000, SMALL, SMALL + 1, 3_000_000)))
                for n in range(60)}  # fmt: skip
    archive = b"".join(
        [header(b"d%d/" % n, kind=b"5", mode=b"0000700\0", mtime=b"07346545000\0") for n in range(7)]
        + [file(path, data, mtime=b"07346545000\0") for path, data in contents.items()]
        + [header(b"link", kind=b"2", link=b"d1/f1"), header(b"hard", kind=b"1", link=b"d2/f2"), END]
    )
    work = Counted()
    done = unpack(archive, ArchiveFormat.TAR, tmp_path / "out", work=work)
    assert {path: (tmp_path / "out" / path.decode()).read_bytes() for path in contents} == contents
    assert (done.files, done.directories, done.symlinks) == (61, 7, 1)
    assert done.bytes == sum(map(len, contents.values()))
    assert (done.refused, done.warnings) == (0, ())
    assert work.files == 62
    assert work.bytes == len(archive)
    facts = (tmp_path / "out" / "d3").stat()
    assert (facts.st_mode & 0o7777, facts.st_mtime) == (0o700, 1_000_000_000)


def test_the_nasty_tree_comes_back(tmp_path: Path) -> None:
    """P9: what Python's own tar makes of the nasty tree, into an empty directory, then over itself."""
    nasty = build_nasty(tmp_path / "nasty", sparse=5_000_000)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1, format=tarfile.GNU_FORMAT) as writer:
        for path in sorted(storable(snapshot(nasty.root))):
            name = path.decode("utf-8", "surrogateescape")
            if len(path) < 4000:
                writer.add(nasty.root / name, name, recursive=False)
    expected = {path: facts for path, facts in storable(snapshot(nasty.root)).items() if len(path) < 4000}
    for _ in range(2):
        done = unpack(tmp_path / "a.tar.gz", ArchiveFormat.TAR_GZ, tmp_path / "out")
        assert done.refused == 0, done.warnings
        assert differences(expected, snapshot(tmp_path / "out")) == []


KINDS = st.sampled_from(["file", "file", "file", "large", "directory", "symlink", "hardlink"])
PATHS = st.sampled_from([b"a", b"b", b"a/b", b"a/c", b"a/b/c", b"b/a", b"b/a/d", b"c"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(KINDS, PATHS, PATHS), max_size=25), st.integers(0, 1000))
def test_parallel_writers_give_what_one_would(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes, bytes]], seed: int
) -> None:
    """W-52: with writers that are slow at random, any sequence of entries ends as if written one by one."""
    place = tmp_path_factory.mktemp("order")
    chance = random.Random(seed)

    def items() -> Iterator[Item]:
        for number, (kind, path, other) in enumerate(entries):
            if kind in ("file", "large"):
                data = b"%d" % number if kind == "file" else bytes([number]) * (SMALL + 5)
                yield a_file(path, data)
            else:
                yield Item(Entry(path, EntryKind(kind), 0o755, 0, 0, other))

    class Slow(TreeWriter):
        def file(self, path: bytes, mode: int, mtime_ns: int, chunks: Iterable[bytes]) -> int:
            time.sleep(chance.choice((0, 0, 0.001)))
            return super().file(path, mode, mtime_ns, chunks)

    results = []
    for name, writers in (("one", 0), ("many", 4)):
        (place / name).mkdir()
        with Jail(place / name) as jail:
            if writers:
                target = Slow(jail, denied=lambda path: False, fsync=False)
                with contextlib.suppress(OSError):  # not a single entry could be written
                    extract(Given(items()), target, work=Unwatched(), writers=writers, limits=Limits())
            else:
                target = TreeWriter(jail, denied=lambda path: False, fsync=False)
                _one_by_one(items(), target)
            target.close()
        results.append({path: (one.kind, one.digest, one.target) for path, one in snapshot(place / name).items()})
    assert results[0] == results[1]


def _one_by_one(items: Iterator[Item], target: Target) -> None:
    for item in items:
        entry = item.entry
        try:
            match entry.kind:
                case EntryKind.FILE:
                    assert item.content is not None
                    target.file(entry.path, entry.mode, 0, iter(lambda one=item: one.content.read(1 << 20), b""))
                case EntryKind.DIRECTORY:
                    target.directory(entry.path, entry.mode, 0)
                case EntryKind.SYMLINK:
                    target.symlink(entry.path, entry.target, 0)
                case _:
                    target.hardlink(entry.path, entry.target)
        except (OSError, Refused):
            pass
    target.finish()


def test_a_slow_target_is_written_in_parallel() -> None:
    """W-52: where every file waits for a disk or a network, four writers take a quarter of the time."""

    def wait(path: bytes) -> None:
        time.sleep(0.002)

    took = {}
    for writers in (1, 8):
        begun = time.monotonic()
        run((a_file(b"f%d" % number, b"x") for number in range(700)), target := Noted(wait), writers=writers)
        took[writers] = time.monotonic() - begun
        assert len(target.files) == 700
    assert took[8] < took[1] / 2


def test_never_two_writers_on_one_path() -> None:
    """W-52: the same path again waits for the one before, whatever its size."""
    inside: set[bytes] = set()
    lock = threading.Lock()

    class Watching(Noted):
        def file(self, path: bytes, mode: int, mtime_ns: int, chunks: Iterable[bytes]) -> int:
            with lock:
                assert path not in inside
                inside.add(path)
            time.sleep(0.001)
            size = super().file(path, mode, mtime_ns, chunks)
            with lock:
                inside.discard(path)
            return size

    chance = random.Random(9)
    sizes = [chance.choice((5, 50, SMALL + 1)) for _ in range(200)]
    items = (a_file(b"f%d" % (n % 5), bytes([n % 256]) * size) for n, size in enumerate(sizes))
    target = Watching()
    run(items, target, writers=4)
    assert {path: data[:1] for path, data in target.files.items()} == {
        b"f%d" % (n % 5): bytes([n % 256]) for n in range(195, 200)
    }


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE])
@pytest.mark.parametrize("size", [10, SMALL * 3])
@pytest.mark.parametrize("writers", [1, 4])
def test_a_full_or_broken_disk_ends_everything(error: int, size: int, writers: int) -> None:
    """W-16: the first such error comes out, nothing is finished, and no thread stays."""

    def fail(path: bytes) -> None:
        if path == b"f30":
            raise OSError(error, "no more")

    threads = threading.active_count()
    target = Noted(fail)
    with pytest.raises(OSError, match="no more"):
        run((a_file(b"f%d" % number, bytes(size)) for number in range(2000)), target, writers=writers)
    assert not target.finished
    assert len(target.files) < 500
    assert threading.active_count() == threads


def test_limits_of_a_server_end_everything() -> None:
    """W-16: our own NoSpace is no less fatal than the disk's."""

    def fail(path: bytes) -> None:
        raise NoSpace("the server's disk limit is reached")

    with pytest.raises(NoSpace):
        run([a_file(b"a", b"x"), a_file(b"b", b"x")], Noted(fail))


def test_errors_of_one_entry_are_collected() -> None:
    """What one entry cannot do does not keep the others from coming."""

    def fail(path: bytes) -> None:
        if path.startswith(b"directory in the way"):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        if path.startswith(b"link in the way"):
            raise Refused("leads over a symbolic link")

    items = [
        a_file(b"directory in the way", b"x"),
        a_file(b"directory in the way, large", bytes(SMALL * 5)),
        a_file(b"link in the way/x", b"x"),
        Item(Entry(b"link in the way/y", EntryKind.SYMLINK, 0, 0, 0, b"t")),
        a_file(b"good", b"x"),
        a_file(b"denied/x", b"x"),
        Item(Entry(b"h", EntryKind.HARDLINK, 0, 0, 0, b"denied/x")),
    ]
    target = Noted(fail)
    done = extract(Given(items), target, work=Unwatched(), writers=2, limits=Limits())
    assert target.files == {b"good": b"x"} and target.finished
    assert done.refused == 6
    assert done.refusals.counts == {Refusal.BLOCKED: 4, Refusal.DENIED: 1, Refusal.LINK: 1}
    assert "Is a directory" in "\n".join(done.warnings)


def test_if_nothing_can_be_written_that_is_no_success() -> None:
    """P1: a restore in which every single entry was refused by the disk is a failure."""

    def fail(path: bytes) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with pytest.raises(PermissionError):
        run([a_file(b"a", b"x"), a_file(b"b", b"x")], Noted(fail))


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_damage_in_the_middle_ends_everything_and_leaves_no_half_file(size: int) -> None:
    """W-12: damage that shows while a file is written takes the file away and is the extraction's error."""

    class Bad:
        def __init__(self) -> None:
            self._left = size // 2

        def read(self, wanted: int, /) -> bytes:
            if not self._left:
                raise Damaged("the checksum is wrong")
            part = bytes(min(wanted, self._left))
            self._left -= len(part)
            return part

        def close(self) -> None:
            pass

    threads = threading.active_count()
    target = Noted()
    bad = Item(Entry(b"bad", EntryKind.FILE, 0o644, 0, size), Bad())
    with pytest.raises(Damaged, match="checksum"):
        run([a_file(b"good", b"x"), bad, a_file(b"after", b"x")], target)
    assert b"bad" not in target.files and b"after" not in target.files
    assert not target.finished
    assert threading.active_count() == threads


@pytest.mark.parametrize("size", [10, 5_000_000])
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_content_of_another_size_is_damage(size: int, difference: int) -> None:
    """No reader of ours does that; if one did, the file must not stay."""
    target = Noted()
    if size + difference < 100 and difference < 0:
        return  # small contents are read as far as announced
    with pytest.raises(Damaged, match="another size"):
        run([a_file(b"a", bytes(size), announced=size - difference if difference < 0 else size + 1)], target)
    assert target.files == {}


def test_limits_hold_the_archive_to_what_was_announced() -> None:
    """W-16: more bytes than the catalogue or a measurement announced are damage, before they are written."""
    items = [a_file(b"a", bytes(600)), a_file(b"b", bytes(400)), a_file(b"c", b"x")]
    target = Noted()
    with pytest.raises(Damaged, match="1000 bytes"):
        run(items, target, limits=Limits(content_bytes=1000))
    assert b"c" not in target.files
    run([a_file(b"a", bytes(600)), a_file(b"b", bytes(400))], Noted(), limits=Limits(content_bytes=1000))
    with pytest.raises(Damaged, match="2 entries"):
        run([a_file(b"a", b""), a_file(b"b", b""), a_file(b"c", b"")], Noted(), limits=Limits(entries=2))


def test_a_bomb_is_stopped_by_its_announcement(tmp_path: Path) -> None:
    """P6: an exabyte that is announced in the archive itself is not even begun."""
    huge = Item(Entry(b"huge", EntryKind.FILE, 0o644, 0, 1 << 60), Zeros(1 << 60))
    target = Noted()
    with pytest.raises(Damaged):
        run([huge], target, limits=Limits(content_bytes=1 << 30))
    assert target.broken == []


def test_cancelling_ends_everything(tmp_path: Path) -> None:
    """P7: in the middle of many files and in the middle of a large one."""
    threads = threading.active_count()
    many = b"".join(file(b"f%d" % number, bytes(3000)) for number in range(3000)) + END
    large = file(b"large", bytes(20_000_000)) + END
    for name, archive in (("many", many), ("large", large)):
        with pytest.raises(Cancelled):
            unpack(archive, ArchiveFormat.TAR, tmp_path / name, work=Counted(limit=4_000_000))
        assert not (tmp_path / "large" / "large").exists()
        assert len(list((tmp_path / name).iterdir())) < 3000
    assert threading.active_count() == threads


def test_the_reader_does_not_run_away_from_slow_writers() -> None:
    """P6: what was read and not yet written is bounded, for small files and for one large."""
    read = written = furthest = 0

    class Counting:
        def __init__(self, size: int) -> None:
            self._left = size

        def read(self, wanted: int, /) -> bytes:
            nonlocal read, furthest
            part = bytes(min(wanted, self._left, 100_000))
            self._left -= len(part)
            read += len(part)
            furthest = max(furthest, read - written)
            return part

        def close(self) -> None:
            pass

    class Slow(Noted):
        def file(self, path: bytes, mode: int, mtime_ns: int, chunks: Iterable[bytes]) -> int:
            nonlocal written
            for chunk in chunks:
                time.sleep(0.0005)
                written += len(chunk)
            return 0

    sizes = [30_000_000] + [200_000] * 150
    run((Item(Entry(b"f%d" % n, EntryKind.FILE, 0, 0, s), Counting(s)) for n, s in enumerate(sizes)), Slow(), writers=2)
    assert read == sum(sizes)
    assert furthest < 20 << 20


def test_odd_names_are_counted(tmp_path: Path) -> None:
    done = unpack(make_zip(Member("/abs/a", b"x"), Member("./b", b"y")), ArchiveFormat.ZIP, tmp_path / "out")
    assert (tmp_path / "out" / "abs" / "a").read_bytes() == b"x"
    assert done.refused == 0
    assert done.warnings == ("1 names were absolute or odd and have been made relative",)


def test_refusals_of_the_reader_are_in_the_result(tmp_path: Path) -> None:
    """The result says what nobody could restore."""
    archive = header(b"tty", kind=b"3") + file(b"../a", b"x") + file(b"good", b"x") + END
    done = unpack(archive, ArchiveFormat.TAR, tmp_path / "out")
    assert done.refused == 2
    assert [line.split(":")[0] for line in done.warnings] == [
        "1 refused, with a hostile name",
        "1 refused, a device, fifo or socket",
    ]


def test_the_denylist_is_obeyed(tmp_path: Path) -> None:
    archive = file(b"keep", b"x") + file(b"secret", b"x") + header(b"h", kind=b"1", link=b"secret") + END
    done = unpack(archive, ArchiveFormat.TAR, tmp_path / "out", denied=lambda path: path == b"secret")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["keep"]
    assert done.refused == 2


def test_reading_ends_with_the_archive(tmp_path: Path) -> None:
    """W-12: every format, cut at many places: never a success, and no thread left over."""
    source = BytesIO()
    with tarfile.open(fileobj=source, mode="w:gz") as writer:
        for number in range(50):
            info = tarfile.TarInfo(f"f{number}")
            info.size = 3000
            writer.addfile(info, BytesIO(random.Random(number).randbytes(3000)))
    archive = source.getvalue()
    threads = threading.active_count()
    for cut in range(0, len(archive), 9973):
        with pytest.raises(Damaged):
            unpack(archive[:cut], ArchiveFormat.TAR_GZ, tmp_path / f"{cut}")
    assert threading.active_count() == threads


def test_opening_an_archive_reads_no_further_than_needed() -> None:
    """Closing a reader at once stops its threads."""
    threads = threading.active_count()
    with open_archive(BytesIO(file(b"a", b"x") + END), ArchiveFormat.TAR, threads=2, work=Unwatched()) as reader:
        assert next(iter(reader)).entry.path == b"a"
    assert threading.active_count() == threads
