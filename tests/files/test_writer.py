import errno
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.files.states import NOBODY, ordinary_user, state_of
from wings.errors import NoSpace
from wings.files.content import HOLE
from wings.files.jail import Jail, OutsideJail
from wings.files.space import Allowance
from wings.files.writer import Inodes, TreeWriter

SECOND = 10**9
NOON = 1_700_000_000 * SECOND + 123_456_789


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.mkdir()
    return path


def writer(root: Path, *, owner: tuple[int, int] | None = None, allowance: Allowance | None = None) -> TreeWriter:
    return TreeWriter(Jail(root), owner=owner, denied=lambda path: False, fsync=False, allowance=allowance)


def test_every_kind_arrives_with_mode_and_time(root: Path) -> None:
    tree = writer(root)
    tree.directory(b"world", 0o750, NOON)
    assert tree.file(b"world/level.dat", 0o640, NOON + 1, [b"abc", b"", b"def"]) == 6
    assert tree.file(b"empty", 0o600, -5 * SECOND, []) == 0
    tree.symlink(b"link", b"world/level.dat", NOON + 2)
    tree.hardlink(b"again", b"world/level.dat")
    tree.finish()
    tree.close()
    facts = {path: one[:2] + one[4:] for path, one in state_of(root).items() if path}
    assert facts[b"world"] == ("0o40000", 0o750, NOON, "")
    assert facts[b"empty"][2] == -5 * SECOND
    assert facts[b"link"][2:] == (NOON + 2, "world/level.dat")
    assert facts[b"again"] == facts[b"world/level.dat"]
    assert (root / "world/level.dat").read_bytes() == b"abcdef"
    assert os.stat(root / "again").st_ino == os.stat(root / "world/level.dat").st_ino


def test_times_beyond_what_disks_hold_do_no_harm(root: Path) -> None:
    tree = writer(root)
    tree.file(b"far", 0o644, 1 << 200, [b"x"])
    tree.file(b"late", 0o644, 4_400_000_000 * SECOND, [b"x"])
    tree.directory(b"long ago", 0o755, -(1 << 200))
    tree.finish()
    assert (root / "far").read_bytes() == b"x"
    assert os.stat(root / "late").st_mtime_ns == 4_400_000_000 * SECOND


def test_a_failing_source_leaves_no_half_file(root: Path) -> None:
    """W-12: what cannot be decoded is not left behind as if it were whole."""

    def torn() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("bad block")

    tree = writer(root)
    with pytest.raises(ValueError, match="bad block"):
        tree.file(b"a/b", 0o644, NOON, torn())
    assert os.listdir(root / "a") == []


def test_what_is_in_the_way_gives_way_but_a_directory(root: Path) -> None:
    (root / "file").write_text("old")
    (root / "link").symlink_to("file")
    (root / "directory").mkdir()
    os.mkfifo(root / "fifo")
    tree = writer(root)
    for name in (b"file", b"link", b"fifo"):
        tree.file(name, 0o644, NOON, [b"new"])
        assert (root / os.fsdecode(name)).read_bytes() == b"new"
        assert not (root / os.fsdecode(name)).is_symlink()
    for write in (
        lambda: tree.file(b"directory", 0o644, NOON, [b"x"]),
        lambda: tree.symlink(b"directory", b"x", NOON),
        lambda: tree.hardlink(b"directory", b"file"),
    ):
        with pytest.raises(IsADirectoryError):
            write()
    tree.directory(b"fifo", 0o755, NOON)
    tree.file(b"file/inside", 0o644, NOON, [b"x"])
    assert (root / "fifo").is_dir()
    assert (root / "file/inside").read_bytes() == b"x"


def test_nothing_goes_through_a_symlink(root: Path, tmp_path: Path) -> None:
    """P8: neither through one that was there, nor through one that the archive brought."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "passwd").write_text("safe")
    (root / "old").symlink_to(outside)
    tree = writer(root)
    tree.symlink(b"new", os.fsencode(outside), NOON)
    tree.symlink(b"inner", b".", NOON)
    before = state_of(outside)
    for name in (b"old", b"new", b"inner"):
        with pytest.raises(OutsideJail):
            tree.file(name + b"/passwd", 0o644, NOON, [b"evil"])
        with pytest.raises(OutsideJail):
            tree.directory(name + b"/sub", 0o777, NOON)
        with pytest.raises(OutsideJail):
            tree.symlink(name + b"/passwd", b"x", NOON)
        with pytest.raises(OutsideJail):
            tree.hardlink(b"hard", name + b"/passwd")
    with pytest.raises(OSError, match="hard link"):
        tree.hardlink(b"hard", b"new")
    tree.file(b"new", 0o644, NOON, [b"replaced, not followed"])
    tree.directory(b"old", 0o700, NOON)  # said outright, a directory takes the link's place
    tree.file(b"old/passwd", 0o644, NOON, [b"inside"])
    tree.finish()
    tree.close()
    assert state_of(outside) == before
    assert (root / "old/passwd").read_bytes() == b"inside"


def test_a_directory_that_turns_into_a_link_under_our_hands_leads_nowhere(root: Path, tmp_path: Path) -> None:
    """P8: a process in the server swaps a directory for a link out while files are written into it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    stop = threading.Event()
    (root / "real").mkdir()

    def swap() -> None:
        while not stop.is_set():
            try:
                os.rename(root / "real", root / "aside")
                os.symlink(outside, root / "real")
                os.unlink(root / "real")
                os.rename(root / "aside", root / "real")
            except OSError:
                if not (root / "aside").exists():
                    os.makedirs(root / "aside", exist_ok=True)

    thread = threading.Thread(target=swap)
    thread.start()
    refused = 0
    try:
        for number in range(300):
            tree = writer(root)  # a new one each time: nothing of it is in the cache
            try:
                tree.file(b"real/%d" % number, 0o644, NOON, [b"x"])
            except (OutsideJail, OSError):
                refused += 1
            tree.close()
    finally:
        stop.set()
        thread.join()
    assert os.listdir(outside) == []
    assert refused < 300


def test_owner_is_given_to_everything_at_once(needs_root: None, root: Path) -> None:
    """W-15: nothing restored stays root's, not until the next boot nor for a moment longer than needed."""
    tree = writer(root, owner=(NOBODY, NOBODY))
    tree.directory(b"said", 0o755, NOON)
    tree.file(b"implied/file", 0o644, NOON, [b"x"])
    tree.symlink(b"link", b"nowhere", NOON)
    seen = [os.lstat(root / name) for name in ("said", "implied", "implied/file", "link")]
    assert [(one.st_uid, one.st_gid) for one in seen] == [(NOBODY, NOBODY)] * 4
    tree.finish()


def test_owner_outranks_a_directory_that_hands_its_group_on(needs_root: None, root: Path) -> None:
    """W-15: with our own user as the owner, a set-group-id directory must not decide."""
    (root / "shared").mkdir()
    os.chown(root / "shared", 0, NOBODY)
    os.chmod(root / "shared", 0o2775)
    tree = writer(root, owner=(0, 0))
    tree.file(b"shared/file", 0o644, NOON, [b"x"])
    tree.directory(b"shared/directory", 0o755, NOON)
    tree.finish()
    assert os.stat(root / "shared/file").st_gid == 0
    assert os.stat(root / "shared/directory").st_gid == 0


def test_setuid_survives_the_change_of_owner(needs_root: None, root: Path) -> None:
    """W-57: set-user-id, set-group-id and sticky bits arrive."""
    tree = writer(root, owner=(NOBODY, NOBODY))
    tree.file(b"tool", 0o6755, NOON, [b"x"])
    tree.directory(b"shared", 0o3777, NOON)
    tree.finish()
    assert stat.S_IMODE(os.stat(root / "tool").st_mode) == 0o6755
    assert stat.S_IMODE(os.stat(root / "shared").st_mode) == 0o3777


def test_nobody_else_reads_a_file_before_it_is_right(root: Path) -> None:
    modes = []

    def watched() -> Iterator[bytes]:
        for _ in range(2):
            modes.append(stat.S_IMODE(os.stat(root / "tool").st_mode))
            yield b"x"

    tree = writer(root)
    tree.file(b"tool", 0o4777, NOON, watched())
    assert modes == [0o600, 0o600]
    assert stat.S_IMODE(os.stat(root / "tool").st_mode) == 0o4777


@pytest.mark.parametrize(
    "text", [b"../sibling", b"/etc/passwd", b"../../../../etc", b"x" * 120, b"y/" * 500, b"\xff\n'", b"loop"]
)
def test_symlink_text_stays_what_it_was(root: Path, text: bytes) -> None:
    """W-4: never rewritten, never resolved; the link's own time is set and not that of its target."""
    tree = writer(root)
    tree.symlink(b"deep/loop", text, NOON)
    assert os.readlink(os.fsencode(root / "deep/loop")) == text
    assert os.lstat(root / "deep/loop").st_mtime_ns == NOON


def test_symlink_text_that_cannot_be_is_an_error_of_that_entry(root: Path) -> None:
    tree = writer(root)
    for text in (b"", b"a\0b"):
        with pytest.raises(OSError, match="symbolic link") as caught:
            tree.symlink(b"link", text, NOON)
        assert caught.value.errno == errno.EINVAL


def test_parents_without_an_entry_are_0755_whatever_the_umask(root: Path) -> None:
    old = os.umask(0o077)
    try:
        tree = writer(root)
        tree.file(b"a/b/c", 0o644, NOON, [b"x"])
        tree.finish()
    finally:
        os.umask(old)
    assert [stat.S_IMODE(os.stat(root / one).st_mode) for one in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o644]
    assert tree.made_unasked(b"a/b")
    tree.directory(b"a/b", 0o700, NOON)
    assert not tree.made_unasked(b"a/b")


def test_directories_get_mode_and_time_after_their_contents(root: Path) -> None:
    tree = writer(root)
    tree.directory(b"a", 0o555, NOON)
    tree.directory(b"a/b", 0o700, NOON + 1)
    tree.directory(b"a-b", 0o711, NOON + 2)
    tree.directory(b"a", 0o500, NOON + 3)  # said twice: the later one counts
    tree.file(b"a/b/c", 0o644, NOON, [b"x"])
    tree.finish()
    facts = {path: (one[1], one[4]) for path, one in state_of(root).items() if one[0] == "0o40000"}
    del facts[b""]
    assert facts == {b"a": (0o500, NOON + 3), b"a/b": (0o700, NOON + 1), b"a-b": (0o711, NOON + 2)}


def test_an_ordinary_user_restores_directories_that_shut_him_out(tmp_path: Path) -> None:
    with ordinary_user(tmp_path) as (place, run):

        def work() -> None:
            root = place / "server"
            root.mkdir()
            tree = writer(root)
            tree.directory(b"locked", 0, NOON)
            tree.directory(b"locked/inner", 0o555, NOON)
            tree.file(b"locked/inner/file", 0, NOON, [b"x"])
            for number in range(300):  # enough to drive the locked ones out of the cache
                tree.file(b"many/%d/file" % number, 0o644, NOON, [b"x"])
            tree.finish()
            tree.close()
            assert stat.S_IMODE(os.stat(root / "locked").st_mode) == 0
            assert os.stat(root / "locked").st_mtime_ns == NOON
            os.chmod(root / "locked", 0o700)
            assert stat.S_IMODE(os.stat(root / "locked/inner").st_mode) == 0o555
            assert stat.S_IMODE(os.stat(root / "locked/inner/file").st_mode) == 0
            os.chmod(root / "locked/inner", 0o700)
            # A second restore over it finds them shut.
            os.chmod(root / "locked", 0)
            tree = writer(root)
            tree.directory(b"locked", 0o500, NOON)
            tree.file(b"locked/new", 0o644, NOON, [b"y"])
            tree.finish()
            assert (root / "locked/new").read_bytes() == b"y"
            assert stat.S_IMODE(os.stat(root / "locked").st_mode) == 0o500
            os.chmod(root / "locked", 0o700)

        assert run(work) == 0


def test_several_writers_at_once_and_few_descriptors(root: Path) -> None:
    """W-52, P6: parallel writers share the directories; how many are open does not grow with the tree."""
    tree = writer(root)
    most = 0
    before = len(os.listdir("/proc/self/fd"))

    def write(number: int) -> int:
        nonlocal most
        if number % 50 == 0:
            most = max(most, len(os.listdir("/proc/self/fd")))
        path = b"d%d/e%d/f%d" % (number % 200, number % 7, number)
        return tree.file(path, 0o644, NOON, [b"%d" % number])

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(write, range(1500)))) == 1500
    tree.finish()
    tree.close()
    for number in range(1500):
        assert (root / f"d{number % 200}/e{number % 7}/f{number}").read_bytes() == b"%d" % number
    assert most - before < 200
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_zeros_become_holes(root: Path) -> None:
    tree = writer(root)
    mebibyte = bytes(1 << 20)
    assert tree.file(b"sparse", 0o644, NOON, [mebibyte] * 64) == 64 << 20
    facts = os.stat(root / "sparse")
    assert facts.st_size == 64 << 20
    assert facts.st_blocks * 512 < 1 << 20


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 4095, HOLE - 1, HOLE, HOLE + 1, 3 * HOLE]), st.sampled_from([b"\0", b"\1"])),
        max_size=6,
    )
)
def test_content_is_the_same_with_and_without_holes(pieces: list[tuple[int, bytes]]) -> None:
    chunks = [fill * count for count, fill in pieces] + [b"".join(fill * count for count, fill in pieces)]
    fd = os.memfd_create("content")
    try:
        from wings.files.content import write_content

        size = write_content(fd, chunks, Allowance(None))
        whole = b"".join(chunks)
        assert size == len(whole) == os.fstat(fd).st_size
        assert os.pread(fd, size + 1, 0) == whole
    finally:
        os.close(fd)


def test_hard_links_lead_only_to_what_was_written(root: Path) -> None:
    (root / "older").write_text("not of this archive")
    tree = writer(root)
    tree.file(b"ours", 0o644, NOON, [b"x"])
    with pytest.raises(OSError, match="written before"):
        tree.hardlink(b"link", b"older")
    with pytest.raises(FileNotFoundError):
        tree.hardlink(b"link", b"missing/file")
    assert not (root / "missing").exists()
    tree.hardlink(b"sub/link", b"ours")
    tree.hardlink(b"ours", b"ours")
    tree.hardlink(b"older", b"ours")
    assert os.stat(root / "ours").st_nlink == 3


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_inode_numbers_are_remembered(some: list[int], others: list[int]) -> None:
    inodes = Inodes()
    for number in some:
        inodes.add(number)
    assert all(number in inodes for number in some)
    assert all((number in inodes) == (number in some) for number in others)


def test_paths_longer_than_the_kernel_takes(root: Path) -> None:
    parts = [b"d" * 200] * 40
    path = b"/".join(parts)
    tree = writer(root)
    tree.directory(path, 0o711, NOON)
    tree.file(path + b"/file", 0o644, NOON, [b"deep"])
    tree.finish()
    tree.close()
    with Jail(root) as jail:
        assert jail.stat(path).st_mtime_ns == NOON
        fd = jail.open(path + b"/file", os.O_RDONLY)
        assert os.read(fd, 10) == b"deep"
        os.close(fd)


def test_a_lying_archive_is_stopped_at_the_limit(root: Path) -> None:
    """W-16: more bytes than allowed are never written, and the file that would have is gone."""
    allowance = Allowance(1000)
    tree = writer(root, allowance=allowance)
    tree.file(b"a", 0o644, NOON, [b"x" * 600])
    with pytest.raises(NoSpace, match="disk limit"):
        tree.file(b"b", 0o644, NOON, [b"x" * 300, b"x" * 300])
    assert os.listdir(root) == ["a"]
    tree.file(b"a", 0o644, NOON, [b"x" * 900])  # what it replaces counts no longer
    assert allowance.used == 900


def test_nothing_is_written_after_close(root: Path) -> None:
    tree = writer(root)
    tree.close()
    with pytest.raises(ValueError, match="closed"):
        tree.file(b"late", 0o644, NOON, [b"x"])
    assert os.listdir(root) == []


def test_durable_when_asked(root: Path) -> None:
    tree = TreeWriter(Jail(root), denied=lambda path: path == b"secret", fsync=True)
    tree.file(b"a", 0o644, NOON, [b"x"])
    tree.finish()
    assert tree.finished
    assert tree.denied(b"secret")
    assert not tree.denied(b"a")
