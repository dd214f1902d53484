"""The walk sees everything, says what it could not take, and cannot be led outside."""

import ctypes
import errno
import os
import resource
import socket
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.files.seccomp import GETDENTS64, fail_from_now_on
from tests.meddling import Meddler, MeddlingWork, as_nobody, in_child
from tests.trees import (
    NASTY_NAMES,
    SYMLINKS,
    Facts,
    build_deep,
    build_nasty,
    build_small,
    differences,
    snapshot,
    storable,
)
from wings.archives.entry import EntryKind, Item, Source
from wings.archives.report import SourceReport, Trouble
from wings.archives.work import Unwatched, Work
from wings.errors import Cancelled
from wings.files import walk
from wings.files.ignore import Rules
from wings.files.jail import Jail
from wings.files.walk import TreeSource

NO_RULES = Rules.compile([])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.mkdir()
    path.chmod(0o755)
    return path


@contextmanager
def source(root: Path, rules: Rules = NO_RULES, work: Work | None = None, prefetch: int = 64) -> Iterator[TreeSource]:
    """A walk of ``root`` that must leave no descriptor behind."""
    before = descriptors()
    with Jail(root) as jail:
        yield TreeSource(jail, rules, work or Unwatched(), prefetch=prefetch)
    assert descriptors() == before


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def taken(items: Source) -> dict[bytes, bytes]:
    """Every path in order, with the bytes of its file (nothing for others)."""
    found = {}
    for item in items:
        assert item.entry.path not in found
        found[item.entry.path] = read_whole(item)
    return found


def read_whole(item: Item) -> bytes:
    assert (item.content is not None) == (item.entry.kind is EntryKind.FILE)
    content = item.content
    if content is None:
        return b""
    data = b"".join(iter(lambda: content.read(1 << 20), b""))
    content.close()
    return data


def noted(report: SourceReport) -> dict[Trouble, list[tuple[bytes, str]]]:
    return {
        trouble: sorted((one.path, one.reason) for one in examples) for trouble, examples in report.examples.items()
    }


# Everything is seen


@pytest.mark.parametrize("slow_disk", [False, True])
def test_the_nasty_tree_comes_out_as_it_is(root: Path, slow_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P8, W-4, W-24: every kind of name, link, mode, time and size; with files opened ahead, too."""
    if slow_disk:
        monkeypatch.setattr(walk, "_SLOW_READ_NS", -1)
    nasty = build_nasty(root, many=120, sparse=64 << 20)
    expected = storable(snapshot(root))
    seen: dict[bytes, Facts] = {}
    started = time.perf_counter()
    with source(root, prefetch=7) as tree:
        for item in tree:
            entry = item.entry
            data = read_whole(item)
            assert len(data) == entry.size
            if entry.kind is EntryKind.FILE and entry.path != nasty.sparse:
                with Jail(root) as jail, open(jail.open(entry.path, os.O_RDONLY), "rb") as file:
                    assert file.read() == data
            digest = expected[entry.path].digest if entry.kind is EntryKind.FILE else ""
            seen[entry.path] = Facts(entry.kind.value, entry.mode, entry.mtime_ns, entry.size, digest, entry.target)
    assert differences(expected, seen) == []
    assert {path: facts.mtime_ns for path, facts in seen.items()} == {
        path: facts.mtime_ns for path, facts in expected.items()
    }
    report = tree.report
    kinds = [facts.kind for facts in expected.values()]
    assert (report.files, report.directories, report.symlinks) == tuple(
        kinds.count(kind) for kind in ("file", "directory", "symlink")
    )
    assert report.content_bytes == sum(facts.size for facts in expected.values())
    assert {path for path, _ in noted(report).pop(Trouble.SPECIAL)} == nasty.specials
    assert set(report.counts) == {Trouble.SPECIAL}
    assert time.perf_counter() - started < 5


def test_long_symlink_targets_are_whole(root: Path) -> None:
    """W-4: a target of 120, 1000 or 4000 bytes, absolute or upwards, is yielded as it stands."""
    targets = {**SYMLINKS, b"4000 bytes": b"x" * 4000}
    for name, target in targets.items():
        os.symlink(target, os.fsencode(root) + b"/" + name)
    with source(root) as tree:
        assert {item.entry.path: item.entry.target for item in tree} == targets


def test_files_of_a_directory_come_together_before_its_subdirectories(root: Path) -> None:
    build_nasty(root, many=120, sparse=1 << 20)
    for name in (b"a", b"z"):
        (root / "files" / "sub" / os.fsdecode(name)).mkdir()
        (root / "files" / "sub" / os.fsdecode(name) / "file").touch()
    with source(root) as tree:
        entries = [item.entry for item in tree if read_whole(item) is not None]
    opened = [b""]
    for entry in entries:
        parent = entry.path.rpartition(b"/")[0]
        if entry.kind is EntryKind.DIRECTORY:
            while opened[-1] != parent:
                opened.pop()  # fails when a parent comes after its child, or a finished directory comes again
            opened.append(entry.path)
        else:
            assert opened[-1] == parent, "a file between or after subdirectories"


def test_each_name_is_looked_at_once(root: Path) -> None:
    """W-25: there is one walk, and none before it for the sake of a total."""
    build_small(root, 200, 10)
    work = MeddlingWork(0, lambda: None)
    with source(root, work=work) as tree:
        count = len(taken(tree))
    assert count == 211
    assert work.checks <= count + 11  # once when listed, directories once more when entered


def test_nothing_is_asked_of_empty_rules_and_ignored_entries_are_counted(root: Path) -> None:
    for path in ("game/csgo/cfg/server.cfg", "game/csgo/other.txt", "game/x.txt", "logs/a/b.log", "server.properties"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / "link").symlink_to("logs")
    rules = Rules.compile(["*", "!/server.properties", "!game/csgo/cfg"])
    with source(root, rules) as tree:
        assert sorted(taken(tree)) == [b"game/csgo/cfg", b"game/csgo/cfg/server.cfg", b"server.properties"]
    assert noted(tree.report) == {
        Trouble.IGNORED: [(b"game/csgo/other.txt", ""), (b"game/x.txt", ""), (b"link", ""), (b"logs", "")]
    }
    assert tree.report.directories == 1


# Troubles


def test_an_unreadable_directory_is_noted_and_its_siblings_are_stored(root: Path) -> None:
    """W-1: what cannot be listed is noted as unreadable, and everything after it still comes."""
    for number in range(20):
        (root / f"d{number}" / "inner").mkdir(parents=True)
        (root / f"d{number}" / "inner" / "file").write_text("x")
    for number in (3, 11):
        (root / f"d{number}").chmod(0o000)
    (root / "d7").chmod(0o311)  # may be entered but not listed
    (root / "d15").chmod(0o444)  # may be listed but not entered
    (root / "secret").write_text("x")
    (root / "secret").chmod(0o000)
    jail = Jail(root)

    def attempt() -> None:
        tree = TreeSource(jail, NO_RULES, Unwatched())
        paths = sorted(taken(tree))
        lost = {3, 7, 11}
        whole = [number for number in range(20) if number not in {*lost, 15}]
        assert paths == sorted(
            [f"d{number}{rest}".encode() for number in whole for rest in ("", "/inner", "/inner/file")]
            + [f"d{number}".encode() for number in {*lost, 15}]
        )
        denied = "Permission denied"
        assert noted(tree.report) == {
            Trouble.UNREADABLE_DIRECTORY: [(b"d11", denied), (b"d15/inner", denied), (b"d3", denied), (b"d7", denied)],
            Trouble.UNREADABLE_FILE: [(b"secret", denied)],
        }

    try:
        as_nobody(attempt)
    finally:
        jail.close()
        for number in (3, 7, 11, 15):
            (root / f"d{number}").chmod(0o755)


def test_a_directory_that_breaks_while_it_is_listed_is_unreadable(root: Path) -> None:
    """W-1: a disk that fails on listing is noted for each directory, and the siblings are tried."""
    for name in ("a", "b", "c"):
        (root / name).mkdir()
        (root / name / "file").touch()

    def attempt() -> None:
        tree = TreeSource(Jail(root), NO_RULES, Unwatched())
        paths = []
        for item in tree:
            paths.append(item.entry.path)
            if len(paths) == 1:
                fail_from_now_on(GETDENTS64, errno.EIO)
            read_whole(item)
        broken = noted(tree.report)[Trouble.UNREADABLE_DIRECTORY]
        assert {reason for _, reason in broken} == {"Input/output error"}
        assert sorted(path for path, _ in broken) == sorted(paths) == [b"a", b"b", b"c"]
        assert set(tree.report.counts) == {Trouble.UNREADABLE_DIRECTORY}

    in_child(attempt)


def test_a_directory_that_breaks_in_the_middle_keeps_what_was_listed(root: Path) -> None:
    """W-1: the same with the failure after the first names of a long directory."""
    for number in range(2000):
        (root / f"file with a rather long name {number}").touch()

    def attempt() -> None:
        tree = TreeSource(Jail(root), NO_RULES, Unwatched())
        count = 0
        for item in tree:
            read_whole(item)
            count += 1
            if count == 1:
                fail_from_now_on(GETDENTS64, errno.EIO)
        assert 1 < count < 2000
        assert noted(tree.report) == {Trouble.UNREADABLE_DIRECTORY: [(b"", "Input/output error")]}

    in_child(attempt)


def test_a_root_that_cannot_be_listed_is_never_an_empty_tree(root: Path) -> None:
    """W-1, P1: a server's directory deleted under the walk is unreadable, not a backup of nothing."""
    jail = Jail(root)
    root.rmdir()
    tree = TreeSource(jail, NO_RULES, Unwatched())
    assert taken(tree) == {}
    assert tree.report.counts[Trouble.UNREADABLE_DIRECTORY] >= 1
    jail.close()


def test_files_that_vanish_after_being_listed_are_skipped(root: Path) -> None:
    """W-2: a file, link or directory gone between listing and opening is noted; nothing fails."""
    (root / "a").mkdir()
    (root / "kept").mkdir()
    names = [f"f{number}" for number in range(50)]
    for name in names:
        (root / "kept" / name).write_text(name)
        (root / "a" / name).write_text(name)
    work = MeddlingWork(2, lambda: subprocess.run(["rm", "-rf", root / "a"], check=True))
    with source(root, work=work) as tree:
        assert len(taken(tree)) == 51
    assert noted(tree.report) == {Trouble.VANISHED: [(b"a", "")]}

    (root / "kept" / "link").symlink_to("f0")
    work = MeddlingWork(3, lambda: subprocess.run(["find", root / "kept", "-mindepth", "1", "-delete"], check=True))
    with source(root, work=work) as tree:
        assert list(taken(tree)) == [b"kept"]
    assert tree.report.counts == {Trouble.VANISHED: 51}
    assert (tree.report.files, tree.report.content_bytes) == (0, 0)


def test_a_directory_deleted_while_it_is_listed_has_vanished(root: Path) -> None:
    """W-2: the names of a deleted directory end, and that is not the backup's fault."""
    (root / "big").mkdir()
    for number in range(3000):
        (root / "big" / f"file with a rather long name {number}").touch()
    with source(root) as tree:
        count = 0
        for item in tree:
            if item.entry.kind is EntryKind.FILE:
                count += 1
                if count == 1:
                    subprocess.run(["rm", "-rf", root / "big"], check=True)
    assert count < 3000
    assert set(tree.report.counts) == {Trouble.VANISHED}
    assert (b"big", "deleted while it was read") in [
        (one.path, one.reason) for one in tree.report.examples[Trouble.VANISHED]
    ] or tree.report.counts[Trouble.VANISHED] > 20


Swap = Callable[[Path], object]


def _listen(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


@pytest.mark.parametrize(
    ("swap", "trouble", "reason"),
    [
        (os.mkfifo, Trouble.SPECIAL, "fifo"),
        (_listen, Trouble.SPECIAL, "socket"),
        (lambda path: path.symlink_to("/etc/passwd"), Trouble.VANISHED, "replaced meanwhile"),
        (lambda path: path.mkdir(), Trouble.VANISHED, "replaced meanwhile"),
    ],
    ids=["fifo", "socket", "link", "directory"],
)
def test_a_file_swapped_for_something_else_is_skipped_at_once(
    root: Path, swap: Swap, trouble: Trouble, reason: str
) -> None:
    """P8: between being listed and being opened a file became something that could block or lead outside."""

    def act() -> None:
        (root / "file").unlink()
        swap(root / "file")

    (root / "file").write_text("inside")
    with source(root, work=MeddlingWork(1, act)) as tree:
        assert taken(tree) == {}
    assert noted(tree.report) == {trouble: [(b"file", reason)]}


@pytest.mark.parametrize("kind", ["link to file", "link to fifo", "directory"])
def test_a_link_or_directory_swapped_for_something_else(root: Path, kind: str) -> None:
    path = root / kind

    def act() -> None:
        if kind == "directory":
            path.rmdir()
            path.symlink_to("/etc")
        else:
            path.unlink()
            os.mkfifo(path) if kind == "link to fifo" else path.write_text("a file")

    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with source(root, work=MeddlingWork(1, act)) as tree:
        assert taken(tree) == {}
    assert sum(tree.report.counts.values()) == 1


def test_files_that_grow_shrink_and_vanish_while_read(root: Path) -> None:
    """W-3: growth is cut, a shrunk file ends early and can be opened again, a deleted one is read to its end."""
    for name in ("grows", "shrinks", "vanishes", "small shrinks"):
        (root / name).write_bytes(b"x" * 200_000)
    (root / "small shrinks").write_bytes(b"x" * 50_000)

    def grow() -> None:
        with (root / "grows").open("ab") as file:
            file.write(b"y" * 1000)

    meddler = Meddler(
        before={b"small shrinks": lambda: os.truncate(root / "small shrinks", 10)},
        after_bytes={
            b"grows": (100_000, grow),
            b"shrinks": (100_000, lambda: os.truncate(root / "shrinks", 120_000)),
            b"vanishes": (100_000, (root / "vanishes").unlink),
        },
    )
    with source(root) as tree:
        watched = meddler.watching(tree)
        entries = {}
        found = {}
        for item in watched:
            entries[item.entry.path] = item.entry
            found[item.entry.path] = len(read_whole(item))
        assert found == {b"grows": 200_000, b"shrinks": 120_000, b"vanishes": 200_000, b"small shrinks": 50_000}
        assert {path: entry.size for path, entry in entries.items()} == {**found, b"shrinks": 200_000}
        assert noted(tree.report) == {Trouble.CHANGED: [(b"grows", "grew")]}

        second = watched.again(entries[b"shrinks"])
        assert second is not None
        assert second.entry.size == 120_000
        assert read_whole(second) == b"x" * 120_000
        assert watched.again(entries[b"vanishes"]) is None
        (root / "grows").unlink()
        (root / "grows").symlink_to("/etc/passwd")
        assert watched.again(entries[b"grows"]) is None
        os.mkfifo(root / "vanishes")
        assert watched.again(entries[b"vanishes"]) is None
    assert tree.report.files == 4


def test_running_out_of_descriptors_fails_the_walk(root: Path) -> None:
    """P1: it is no property of the file, so leaving the file out would be a lie."""
    for number in range(10):
        (root / f"d{number}").mkdir()
        (root / f"d{number}" / "file").write_text("x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with source(root) as tree, pytest.raises(OSError, match="Too many open files"):
        spare = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, hard))
        try:
            for _ in tree:
                while True:
                    try:
                        spare.append(os.dup(0))
                    except OSError:
                        break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in spare:
                os.close(fd)


def test_cancelling_ends_the_walk_at_once(root: Path) -> None:
    build_small(root, 100, 5)

    def cancel() -> None:
        raise Cancelled("stop")

    work = MeddlingWork(40, cancel)
    with source(root, work=work) as tree, pytest.raises(Cancelled):
        taken(tree)
    assert work.checks == 40


# Nothing outside


def test_a_directory_swapped_for_a_link_never_leads_outside(root: Path, tmp_path: Path) -> None:
    """P8: while directories are swapped for links outwards, only what is inside is ever read."""
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    for directory in (outside, outside / "inner"):
        (directory / "file").write_text("secret")
    for number in range(10):
        (root / f"d{number}" / "inner").mkdir(parents=True)
        (root / f"d{number}" / "file").write_text("inside")
        (root / f"d{number}" / "inner" / "file").write_text("inside")
        (root / f"x{number}").symlink_to(outside)
    stop = threading.Event()
    renameat2 = ctypes.CDLL(None).renameat2
    base = os.fsencode(root)

    def swap() -> None:
        while not stop.is_set():
            for number in range(10):
                renameat2(-100, base + b"/d%d" % number, -100, base + b"/x%d" % number, 2)  # RENAME_EXCHANGE

    thread = threading.Thread(target=swap)
    thread.start()
    replaced = 0
    try:
        until = time.monotonic() + 0.7
        while time.monotonic() < until or not replaced:
            with Jail(root) as jail:
                tree = TreeSource(jail, NO_RULES, Unwatched())
                for path, data in taken(tree).items():
                    if path.endswith(b"file"):
                        assert data == b"inside"
                replaced += tree.report.counts[Trouble.VANISHED]
                assert not tree.report.counts[Trouble.UNREADABLE_DIRECTORY]
    finally:
        stop.set()
        thread.join()


# Depth and size


@contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_levels_need_few_descriptors(root: Path) -> None:
    """P8, P6: neither the interpreter's depth nor open descriptors bound the depth of a tree."""
    levels = 1500
    build_deep(root, b"d", levels)
    for depth in range(0, levels, 50):  # something to come back for at many levels
        with Jail(root) as jail:
            fd = jail.open_directory(b"/".join([b"d"] * depth))
        os.mkdir(b"sibling", dir_fd=fd)
        os.close(fd)
    with few_descriptors(80), source(root) as tree:
        paths = list(taken(tree))
    assert len(paths) == levels + 1 + 30
    assert not tree.report.counts
    subprocess.run(["rm", "-rf", root / "d"], check=True)


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_depth_takes_no_memory(root: Path) -> None:
    """P6: the paths of a deep tree are not all kept, and from 64 KiB on a directory counts as unreadable."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(700):
        os.mkdir(b"d" * 99, dir_fd=fd)
        os.mkdir(b"sibling", dir_fd=fd)
        inner = os.open(b"d" * 99, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    with source(root) as tree:
        tracemalloc.start()
        count = sum(1 for _ in tree)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 6 << 20  # all paths together would be 23 MiB
    assert count == 655 + 656
    assert [reason for _, reason in noted(tree.report)[Trouble.UNREADABLE_DIRECTORY]] == ["nested too deep"]
    subprocess.run(["rm", "-rf", root], check=True)


@pytest.mark.parametrize("fate", ["deleted", "replaced", "link"])
def test_a_level_that_is_not_the_same_when_the_walk_comes_back(root: Path, tmp_path: Path, fate: str) -> None:
    """P8: a directory that was closed to save descriptors is entered again only if it is the same."""
    start = root / "top"
    for name in ("one", "two"):
        (start / name).mkdir(parents=True)
        build_deep(start / name, b"d", 100)
    (tmp_path / "outside" / "one").mkdir(parents=True)
    (tmp_path / "outside" / "two").mkdir()
    (tmp_path / "outside" / "two" / "secret").touch()
    with source(root) as tree:
        paths = []
        for item in tree:
            paths.append(item.entry.path)
            if item.entry.path.endswith(b"bottom"):
                if fate == "deleted":
                    subprocess.run(["rm", "-rf", start], check=True)
                else:
                    start.rename(tmp_path / "away")
                    if fate == "link":
                        start.symlink_to(tmp_path / "outside")
                    else:
                        (tmp_path / "outside").rename(start)
    assert len(paths) == 103
    trouble = Trouble.VANISHED if fate == "deleted" else Trouble.UNREADABLE_DIRECTORY
    assert noted(tree.report)[trouble][0][0] == b"top"


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_huge_directory_takes_no_memory(root: Path) -> None:
    """P6: memory does not grow with the number of files in a directory."""
    fd = os.open(root, os.O_RDONLY)
    for number in range(100_000):
        os.close(os.open(f"file number {number}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    with source(root) as tree:
        tracemalloc.start()
        count = sum(1 for _ in tree)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 1 << 20


@pytest.mark.peer("mkfs.ext2")
def test_a_file_system_that_does_not_tell_kinds(tmp_path: Path, needs_root: None) -> None:
    """DT_UNKNOWN: an old ext2 gives names only, and every kind is still told right."""
    image, mount = tmp_path / "image", tmp_path / "mount"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    mount.mkdir()
    subprocess.run(["mkfs.ext2", "-q", "-F", "-O", "^filetype", "-I", "256", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        tree_root = mount / "tree"
        nasty = build_nasty(tree_root, many=60, sparse=4 << 20)
        expected = storable(snapshot(tree_root))
        with source(tree_root) as tree:
            assert set(taken(tree)) == set(expected)
        assert tree.report.counts == {Trouble.SPECIAL: len(nasty.specials)}
    finally:
        subprocess.run(["umount", mount], check=True)


def test_every_nasty_name_is_in_the_tree(root: Path) -> None:
    build_nasty(root, many=1, sparse=4096)
    assert {path for path in snapshot(root) if path.startswith(b"names/")} >= {b"names/" + name for name in NASTY_NAMES}


def test_places_of_restores_are_no_files_of_the_server(tmp_path: Path) -> None:
    """P3: what a restore keeps inside the root is not backed up; the same name deeper down is the user's own."""
    for directory in (".wings-undo-0123456789abcdef/old", "mine/.wings-undo-0123456789abcdef"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "file").write_bytes(b"x")
    with Jail(tmp_path) as jail:
        paths = [item.entry.path for item in TreeSource(jail, Rules.compile([]), Unwatched())]
    assert paths == [b"mine", b"mine/.wings-undo-0123456789abcdef", b"mine/.wings-undo-0123456789abcdef/file"]
