import os
import random
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.files.states import Facts, in_child, ordinary_user, small_disk, state_of, without_root
from wings.archives.target import Target
from wings.files import wayback
from wings.files.restore import ServerRestoreTarget
from wings.files.undo_place import UNDO_PREFIX
from wings.files.wayback import Outcome, WayBack

SECOND = 10**9
NOON = 1_700_000_000 * SECOND
DENIED = ("secret.txt",)

# Every call with which the modules under test change a file system.
CHANGES = (
    *("chmod", "fchmod", "chown", "fchown", "utime"),
    *("link", "mkdir", "open", "symlink", "rename", "rmdir", "unlink"),
    *("pwrite", "ftruncate"),
)


def build_old(root: Path) -> None:
    """A server's files before a restore."""
    for name in ("keep/sub", "gone/deep", "linked", "secrets", "empty"):
        (root / name).mkdir(parents=True)
    for name in ("keep/same.txt", "keep/old.txt", "keep/sub/x", "gone/deep/file", "linked/inside", "file", "plain"):
        (root / name).write_text(f"old {name}")
    (root / "secrets/secret.txt").write_text("denied")
    (root / "keep/secret.txt").write_text("denied too")
    (root / "link").symlink_to("keep/same.txt")
    (root / "directory-link").symlink_to("linked")
    os.mkfifo(root / "fifo")
    os.link(root / "keep/same.txt", root / "hard")
    os.chmod(root / "keep", 0o2751)
    for number, (above, directories, files) in enumerate(sorted(os.walk(root), reverse=True)):
        for name in (*directories, *files):
            os.utime(Path(above) / name, ns=(NOON, NOON - number * SECOND), follow_symlinks=False)
    os.utime(root, ns=(NOON, NOON - 77))


def write_new(target: Target) -> None:
    """What an archive brings: every way in which old and new can meet."""
    for name, mode in (
        ("keep", 0o700),
        ("keep/sub", 0o711),
        ("fresh", 0o755),
        ("fresh/a", 0o500),
        ("directory-link", 0o755),
    ):
        target.directory(name.encode(), mode, NOON + SECOND)
    for name in ("keep/same.txt", "keep/new.txt", "keep/sub/y", "fresh/a/b", "directory-link/own", "fifo", "hard"):
        target.file(name.encode(), 0o640, NOON + 2 * SECOND, [b"new " + name.encode()])
    target.symlink(b"file", b"keep/new.txt", NOON)
    target.symlink(b"link", b"/elsewhere", NOON)
    target.hardlink(b"keep/again", b"keep/new.txt")
    target.finish()


def target_for(root: Path, truncate: bool) -> ServerRestoreTarget:
    return ServerRestoreTarget(
        root,
        owner=None,
        denylist=DENIED,
        truncate=truncate,
        mode="staged",
        disk_limit=None,
        used_bytes=lambda: 0,
        reserve=0,
        fsync=False,
    )


def restore(root: Path, truncate: bool) -> None:
    target = target_for(root, truncate)
    write_new(target.prepare(1000, 10))
    target.commit()


def recover(root: Path) -> None:
    for one in WayBack.recover(root):
        assert one.outcome is not Outcome.FAILED, str(one)


def killed_at(step: int, work: Callable[[], None]) -> Callable[[], None]:
    """``work``, killed with SIGKILL just before its ``step``-th change to a file system."""

    def run() -> None:
        left = step

        def counted(call: Callable[..., object]) -> Callable[..., object]:
            def replacement(*arguments: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **named)

            return replacement

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        work()

    return run


def was_killed(status: int) -> bool:
    assert status == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)
    return status != 0


def nothing_left_beside(root: Path) -> bool:
    return os.listdir(root.parent) == [root.name] and not any(
        name.startswith(os.fsdecode(UNDO_PREFIX)) for name in os.listdir(root)
    )


def comparable_new(state: dict[bytes, Facts]) -> dict[bytes, Facts]:
    """New states differ in the times of directories that the archive says nothing about."""
    return {path: facts for path, facts in without_root(state).items() if path != b"secrets"}


def start_again(root: Path, aside: Path) -> dict[bytes, Facts]:
    """Put the tree aside and the old one in its place; the state of that."""
    os.rename(root, aside)
    root.mkdir()
    build_old(root)
    return state_of(root)


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Memory where there is some, because every restore waits for the disk; the slow tests take the disk."""
    if request.node.get_closest_marker("slow") or not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="wings-test-", dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def root(place: Path) -> Path:
    path = place / "volumes" / "server"
    path.mkdir(parents=True)
    build_old(path)
    return path


@pytest.fixture
def expected(place: Path, truncate: bool) -> dict[bytes, Facts]:
    """What a restore that nothing disturbs leads to."""
    path = place / "undisturbed" / "server"
    path.mkdir(parents=True)
    build_old(path)
    restore(path, truncate)
    return comparable_new(state_of(path))


both = pytest.mark.parametrize("truncate", [False, True], ids=["overlay", "truncate"])


@both
def test_new_files_come_in_and_the_root_stays_the_same_directory(root: Path, truncate: bool) -> None:
    inode = os.stat(root).st_ino
    old = state_of(root)
    restore(root, truncate)
    new = state_of(root)
    assert os.stat(root).st_ino == inode
    assert nothing_left_beside(root)
    assert (root / "keep/same.txt").read_text() == "new keep/same.txt"
    assert (root / "fresh/a/b").read_text() == "new fresh/a/b"
    assert new[b"fresh/a"][1] == 0o500
    assert new[b"keep"][1] == 0o700
    assert new[b"keep"][4] == NOON + SECOND
    assert new[b"link"][5] == "/elsewhere"
    assert not (root / "directory-link").is_symlink()
    assert (root / "linked/inside").exists() is not truncate
    assert (root / "keep/again").stat().st_ino == (root / "keep/new.txt").stat().st_ino
    kept_back = {b"keep/old.txt", b"keep/sub/x", b"gone", b"gone/deep", b"gone/deep/file", b"plain", b"empty"}
    if truncate:
        assert kept_back.isdisjoint(new)
    else:
        assert {path: old[path] for path in kept_back} == {path: new[path] for path in kept_back}
    # W-22: what the denylist names is there as it was.
    for path in (b"secrets/secret.txt", b"keep/secret.txt"):
        assert new[path] == old[path]


@both
def test_nothing_changes_before_the_exchange_and_all_comes_back(root: Path, truncate: bool) -> None:
    """W-13, P3: until commit the server has its old files; rolling back leaves no trace."""
    old = state_of(root)
    target = target_for(root, truncate)
    write_new(target.prepare(1000, 10))
    assert state_of(root) == old
    target.roll_back()
    assert state_of(root) == old
    assert nothing_left_beside(root)
    target.roll_back()


@both
def test_an_exchange_that_fails_half_way_is_undone(root: Path, truncate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: whichever rename fails, the old state is back, directory times included."""
    old = state_of(root)
    rename = os.rename
    for fails_at in range(200):
        target = target_for(root, truncate)
        write_new(target.prepare(1000, 10))
        count = 0

        def failing(*arguments: object, fails_at: int = fails_at, **named: object) -> None:
            nonlocal count
            count += 1
            if count == fails_at + 1:
                raise OSError(5, "Input/output error")
            rename(*arguments, **named)

        monkeypatch.setattr(os, "rename", failing)
        try:
            target.commit()
        except Exception as error:
            assert "Input/output error" in str(error)
        else:
            break
        finally:
            monkeypatch.setattr(os, "rename", rename)
        target.roll_back()
        assert state_of(root) == old
        assert nothing_left_beside(root)
    assert fails_at > 10


@both
@pytest.mark.timeout(60)
def test_killed_at_every_step(root: Path, truncate: bool, expected: dict[bytes, Facts], place: Path) -> None:
    """P3, P5: after kill -9 before any change to the disk, recovery leads to the old state or the new, never a mixture.

    Recovery is killed as well, at a step that moves along, and then run again.
    """
    old = state_of(root)
    outcomes = set()
    seed = random.Random(7)
    step = 0
    killed = True
    while killed:
        killed = was_killed(in_child(killed_at(step, lambda: restore(root, truncate))))
        in_child(killed_at(seed.randrange(60), lambda: recover(root)))
        recover(root)
        now = state_of(root)
        assert nothing_left_beside(root)
        if now == old:
            outcomes.add("old")
            assert killed
        else:
            assert comparable_new(now) == expected, f"a mixture after being killed at step {step}"
            outcomes.add("new")
            old = start_again(root, place / f"done-{step}")
        step += 1
    assert outcomes == {"old", "new"}
    assert step > 50


@both
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_at_random_moments(root: Path, truncate: bool, expected: dict[bytes, Facts], place: Path) -> None:
    """P3, P5: the same with a clock instead of a counter, 60 times."""
    old = state_of(root)
    seed = random.Random(11)
    for number in range(60):
        pid = os.fork()
        if pid == 0:
            try:
                restore(root, truncate)
            finally:
                os._exit(0)
        time.sleep(seed.random() * 0.03)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        recover(root)
        assert nothing_left_beside(root)
        if state_of(root) != old:
            assert comparable_new(state_of(root)) == expected
            old = start_again(root, place / f"done-{number}")


def test_inside_the_root_where_nothing_can_lie_beside(needs_root: None, tmp_path: Path) -> None:
    """A root that is a mount point: the old files are kept in it, and no listing may show them."""
    with small_disk(tmp_path / "server", "size=16m") as root:
        build_old(root)
        old = state_of(root)
        target = target_for(root, True)
        tree = target.prepare(1000, 10)
        assert [name for name in os.listdir(root) if name.startswith(os.fsdecode(UNDO_PREFIX))]
        assert os.listdir(tmp_path) == ["server"]
        write_new(tree)
        target.roll_back()
        assert state_of(root) == old
        for step in range(0, 400, 3):
            killed = was_killed(in_child(killed_at(step, lambda: restore(root, True))))
            recover(root)
            if not killed or (root / "fresh").exists():
                break
            assert without_root(state_of(root)) == without_root(old)
        assert (root / "fresh/a/b").exists()
        assert not (root / "plain").exists()
        assert not [name for name in os.listdir(root) if name.startswith(os.fsdecode(UNDO_PREFIX))]


def test_an_ordinary_user_gets_back_directories_that_shut_him_out(tmp_path: Path) -> None:
    """P3: modes that withhold everything from their own owner, old and new, moved and merged."""
    with ordinary_user(tmp_path) as (place, run):

        def work() -> None:
            root = place / "volumes" / "server"
            for name in ("merged/inner", "shut/inner", "stays/deep"):
                (root / name).mkdir(parents=True)
            for name in ("merged/file", "merged/inner/file", "shut/inner/file", "stays/deep/secret.txt"):
                (root / name).write_text("old")
            for name, mode in (("merged/inner", 0o555), ("merged", 0o500), ("shut/inner", 0), ("shut", 0)):
                os.chmod(root / name, mode)
            os.chmod(root / "stays/deep", 0)
            os.chmod(root / "stays", 0o111)
            os.chmod(root, 0o555)

            def write(tree: Target) -> None:
                tree.directory(b"merged", 0, NOON)
                tree.directory(b"merged/inner", 0o555, NOON)
                tree.directory(b"new", 0, NOON)
                tree.file(b"merged/inner/file", 0o444, NOON, [b"new"])
                tree.file(b"new/file", 0o444, NOON, [b"new"])
                tree.finish()

            modes = modes_below(root)
            for truncate in (False, True):
                for step in range(0, 400, 4):
                    killed = was_killed(in_child(killed_at(step, lambda t=truncate: one_restore(root, t, write))))
                    recover(root)
                    if not killed:
                        break
                    if modes_below(root) != modes:
                        assert "new" in modes_below(root), (step, truncate)
                        break
                target = target_for(root, truncate)
                write(target.prepare(10, 2))
                target.commit()
                after = modes_below(root)
                assert after[""] == 0o555
                assert after["merged"] == 0
                assert after["merged/inner"] == 0o555
                assert after["new"] == 0
                assert ("shut" in after) is not truncate
                assert after["stays/deep"] == 0
                assert after["stays"] == 0o111
                modes = after
            assert os.listdir(root.parent) == ["server"]
            open_everything(root)

        assert run(work) == 0


def one_restore(root: Path, truncate: bool, write: Callable[[Target], None]) -> None:
    target = target_for(root, truncate)
    write(target.prepare(10, 2))
    target.commit()


def modes_below(root: Path) -> dict[str, int]:
    """Modes of everything below a root, looked at as its owner and left as they were."""
    found = {"": stat.S_IMODE(os.stat(root).st_mode)}
    opened = [(root, found[""])]
    os.chmod(root, 0o700)
    waiting = [root]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
            found[os.path.relpath(entry.path, root)] = mode
            if entry.is_dir(follow_symlinks=False):
                opened.append((Path(entry.path), mode))
                os.chmod(entry.path, 0o700)
                waiting.append(Path(entry.path))
    for path, mode in reversed(opened):
        os.chmod(path, mode)
    return found


def open_everything(root: Path) -> None:
    os.chmod(root, 0o700)
    for above, directories, _ in os.walk(root):
        for name in directories:
            os.chmod(Path(above) / name, 0o700)


def test_a_running_restore_is_left_alone(root: Path) -> None:
    target = target_for(root, True)
    target.prepare(1000, 10)
    assert [one.outcome for one in WayBack.recover(root)] == [Outcome.BUSY]
    with pytest.raises(Exception, match="another restore"):
        target_for(root, True).prepare(1000, 10)
    target.roll_back()
    assert WayBack.recover(root) == []


def test_files_that_came_in_between_do_not_keep_the_old_ones_out(root: Path) -> None:
    """P3: the old files are what was promised; what somebody else made elsewhere is not ours to remove."""
    old = state_of(root)
    status = in_child(killed_at(10_000, lambda: _exchange_and_die(root)))
    assert was_killed(status)
    assert not (root / "plain").exists()
    (root / "plain").mkdir()
    (root / "plain/foreign").write_text("x")
    (root / "unknown").write_text("made by somebody else")
    recover(root)
    now = state_of(root)
    assert now.pop(b"unknown")
    assert now == old


def _exchange_and_die(root: Path) -> None:
    target = target_for(root, True)
    write_new(target.prepare(1000, 10))
    WayBack.commit = lambda self, fsync: os.kill(os.getpid(), signal.SIGKILL)
    target.commit()


@both
def test_inode_numbers_that_do_not_last(root: Path, truncate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P5: as on some FUSE file systems; then what is missing from the new tree tells what has come in."""
    monkeypatch.setattr(wayback, "try_renaming", lambda root_fd, place: False)
    old = state_of(root)
    for step in range(60, 200, 7):
        killed = was_killed(in_child(killed_at(step, lambda: restore(root, truncate))))
        recover(root)
        if not killed or (root / "fresh").exists():
            break
        assert state_of(root) == old
    assert (root / "fresh").exists()
    assert nothing_left_beside(root)


def test_what_cannot_be_put_back_is_kept_and_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: one step that fails does not keep the others from being undone, nor is anything thrown away."""
    old = state_of(root)
    assert was_killed(in_child(lambda: _exchange_and_die(root)))
    rename = os.rename
    moved = 0

    def failing(*arguments: object, **named: object) -> None:
        nonlocal moved
        moved += 1
        if moved == 3:
            raise OSError(5, "Input/output error")
        rename(*arguments, **named)

    monkeypatch.setattr(os, "rename", failing)
    (one,) = WayBack.recover(root)
    assert one.outcome is Outcome.FAILED
    assert "Input/output error" in str(one)
    assert "kept in" in str(one)
    monkeypatch.setattr(os, "rename", rename)
    now = state_of(root)
    assert sum(old[path] == now.get(path) for path in old) > len(old) - 6
    recover(root)
    assert state_of(root) == old
    assert nothing_left_beside(root)


def test_a_restore_that_could_not_be_undone_blocks_the_next(root: Path) -> None:
    assert was_killed(in_child(lambda: _exchange_and_die(root)))
    os.rename(root, root.parent / "elsewhere")
    root.mkdir()
    with pytest.raises(Exception, match="another directory"):
        target_for(root, True).prepare(1000, 10)
    (one,) = WayBack.recover(root)
    assert one.outcome is Outcome.FAILED


def test_a_journal_without_a_beginning_means_that_nothing_was_done(root: Path) -> None:
    old = state_of(root)
    place = root.parent / f".server.wings-undo-{'0' * 16}"
    for content in (b"", b"wings-un", b"\0" * 500):
        (place / "old").mkdir(parents=True, mode=0o700)
        os.chmod(place, 0o700)
        (place / "journal").write_bytes(content)
        assert [one.outcome for one in WayBack.recover(root)] == [Outcome.ROLLED_BACK]
        assert nothing_left_beside(root)
    (place / "old" / "7").mkdir(parents=True)
    os.chmod(place, 0o700)
    (one,) = WayBack.recover(root)
    assert one.outcome is Outcome.FAILED
    assert (place / "old" / "7").exists()
    assert state_of(root) == old


def test_what_a_server_makes_itself_is_no_way_back(needs_root: None, root: Path) -> None:
    """P8: a directory of that name in the root, put there by the server, is neither run nor removed."""
    forged = root / f"{os.fsdecode(UNDO_PREFIX)}{'a' * 16}"
    (forged / "old").mkdir(parents=True)
    (forged / "committed").write_text("x")
    os.chown(forged, 65534, 65534)
    assert WayBack.recover(root) == []
    assert (forged / "committed").exists()
    os.chown(forged, 0, 0)
    os.chmod(forged, 0o755)
    assert WayBack.recover(root) == []
    link = root / f"{os.fsdecode(UNDO_PREFIX)}{'b' * 16}"
    link.symlink_to(root.parent)
    assert WayBack.recover(root) == []


def test_a_root_that_is_not_there_has_nothing_to_recover(tmp_path: Path) -> None:
    assert WayBack.recover(tmp_path / "missing") == []


def test_names_that_look_like_patterns_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/vol/ser[ver].*\xff\n"))
    root.mkdir(parents=True)
    build_old(root)
    old = state_of(root)
    assert was_killed(in_child(lambda: _exchange_and_die(root)))
    assert state_of(root) != old
    recover(root)
    assert state_of(root) == old
    assert len(os.listdir(root.parent)) == 1


def test_a_name_too_long_for_a_companion(tmp_path: Path) -> None:
    root = tmp_path / "vol" / ("s" * 250)
    root.mkdir(parents=True)
    build_old(root)
    restore(root, True)
    assert (root / "fresh/a/b").exists()
    assert nothing_left_beside(root)
