import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.states import Facts, ordinary_user, small_disk, state_of, without_root
from wings.errors import Conflict, InvalidInput, NoSpace, WingsError
from wings.files.jail import Jail, OutsideJail, UnusableRoot
from wings.files.restore import ServerRestoreTarget

NOON = 1_700_000_000 * 10**9
MEBIBYTE = 1 << 20


def target_for(
    root: Path,
    *,
    truncate: bool = True,
    mode: str = "staged",
    denylist: tuple[str, ...] = (),
    disk_limit: int | None = None,
    used: int = 0,
    reserve: int = 0,
    owner: tuple[int, int] | None = None,
    fsync: bool = False,
) -> ServerRestoreTarget:
    return ServerRestoreTarget(
        root,
        owner=owner,
        denylist=denylist,
        truncate=truncate,
        mode=mode,
        disk_limit=disk_limit,
        used_bytes=lambda: used,
        reserve=reserve,
        fsync=fsync,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "volumes" / "server"
    build(path)
    return path


def build(path: Path) -> None:
    (path / "world").mkdir(parents=True)
    (path / "world/level.dat").write_bytes(b"old level")
    (path / "server.jar").write_bytes(b"old jar")


def nothing_left(root: Path) -> bool:
    return os.listdir(root.parent) == [root.name] and not any(".wings-undo" in name for name in os.listdir(root))


modes = pytest.mark.parametrize("mode", ["auto", "staged", "straight"])


@modes
@pytest.mark.parametrize("truncate", [False, True], ids=["overlay", "truncate"])
def test_the_archive_is_what_the_server_holds_afterwards(root: Path, mode: str, truncate: bool) -> None:
    target = target_for(root, mode=mode, truncate=truncate, fsync=True)
    tree = target.prepare(100, 2)
    tree.directory(b"world", 0o700, NOON)
    tree.file(b"world/level.dat", 0o600, NOON, [b"new level"])
    tree.file(b"world/region/r.0.0.mca", 0o644, NOON, [b"region"])
    tree.finish()
    target.commit()
    assert (root / "world/level.dat").read_bytes() == b"new level"
    assert (root / "world/region/r.0.0.mca").read_bytes() == b"region"
    assert (root / "server.jar").exists() is not truncate
    assert os.stat(root / "world").st_mtime_ns == NOON
    assert target.warnings == []
    assert nothing_left(root)


def test_commit_finishes_what_the_driver_forgot(root: Path) -> None:
    target = target_for(root)
    tree = target.prepare(None, None)
    tree.directory(b"world", 0o750, NOON)
    target.commit()
    assert os.stat(root / "world").st_mtime_ns == NOON


def test_nothing_happens_without_prepare(root: Path) -> None:
    """W-13: a driver that fails while it probes the backup leaves the server as it was."""
    old = state_of(root)
    target_for(root).roll_back()
    target_for(root, mode="straight").roll_back()
    target_for(root).commit()
    assert state_of(root) == old


@modes
def test_a_backup_larger_than_the_disk_limit_changes_nothing(root: Path, mode: str) -> None:
    """W-16: refused before the first byte; what is truncated does not count, what stays does."""
    old = state_of(root)
    for truncate in (True, False):
        target = target_for(root, mode=mode, truncate=truncate, disk_limit=1000)
        with pytest.raises(NoSpace, match="disk limit") as caught:
            target.prepare(1001, 1)
        assert "1001 bytes" in str(caught.value)
        assert "1000 bytes" in str(caught.value)
        target.roll_back()
    assert state_of(root) == old
    assert nothing_left(root)
    target = target_for(root, mode=mode, disk_limit=1000, used=999)
    target.prepare(1000, 1)
    target.roll_back()


def test_surviving_files_count_against_the_disk_limit(root: Path) -> None:
    """W-16, W-22."""
    (root / "world/kept.db").write_bytes(b"x" * 400)
    target = target_for(root, denylist=("*.db",), disk_limit=1000)
    with pytest.raises(NoSpace, match="disk limit"):
        target.prepare(700, 1)
    tree = target_for(root, denylist=("*.db",), disk_limit=1000).prepare(600, 1)
    tree.file(b"a", 0o644, NOON, [b"x" * 600])
    with pytest.raises(NoSpace):
        tree.file(b"b", 0o644, NOON, [b"x"])


def test_an_archive_that_lies_about_its_size_is_stopped(root: Path) -> None:
    """W-16: announced small, written large; nothing of the server has changed."""
    old = state_of(root)
    target = target_for(root, disk_limit=MEBIBYTE)
    tree = target.prepare(10, 1)

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    with pytest.raises(NoSpace, match="disk limit"):
        tree.file(b"bomb", 0o644, NOON, endless())
    target.roll_back()
    assert state_of(root) == old
    assert nothing_left(root)


def test_an_overlay_counts_what_it_replaces(root: Path) -> None:
    """W-16: restoring a server of 900 bytes over itself fits into 1000, adding 200 to it does not."""
    (root / "world/level.dat").write_bytes(b"o" * 893)
    target = target_for(root, truncate=False, disk_limit=1000, used=900)
    target.prepare(900, 2).file(b"world/level.dat", 0o644, NOON, [b"n" * 893])
    target.commit()
    assert (root / "world/level.dat").read_bytes() == b"n" * 893
    old = state_of(root)
    target = target_for(root, truncate=False, disk_limit=1000, used=900)
    target.prepare(200, 1).file(b"more", 0o644, NOON, [b"n" * 200])
    with pytest.raises(NoSpace, match="disk limit"):
        target.commit()
    target.roll_back()
    assert state_of(root) == old


def test_a_server_over_its_limit_already_can_be_restored_smaller(root: Path) -> None:
    (root / "world/level.dat").write_bytes(b"o" * 2000)
    target = target_for(root, truncate=False, disk_limit=1000, used=2007)
    target.prepare(1500, 1).file(b"world/level.dat", 0o644, NOON, [b"n" * 1500])
    target.commit()
    assert len((root / "world/level.dat").read_bytes()) == 1500


@pytest.mark.parametrize("truncate", [False, True], ids=["overlay", "truncate"])
def test_a_disk_that_becomes_full_costs_nothing(needs_root: None, tmp_path: Path, truncate: bool) -> None:
    """P3: the archive announced less than it held; the server has its old files and the disk its space."""
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        root = disk / "server"
        build(root)
        (root / "large").write_bytes(os.urandom(3 * MEBIBYTE))
        old = state_of(root)
        free = os.statvfs(disk).f_bavail
        target = target_for(root, truncate=truncate)
        tree = target.prepare(MEBIBYTE, 2)
        tree.file(b"world/level.dat", 0o644, NOON, [b"new"])
        with pytest.raises(OSError, match="No space left") as caught:
            tree.file(b"huge", 0o644, NOON, (b"x" * MEBIBYTE for _ in range(20)))
        assert caught.value.errno == errno.ENOSPC
        target.roll_back()
        assert state_of(root) == old
        assert os.listdir(disk) == ["server"]
        assert os.statvfs(disk).f_bavail == free


@pytest.mark.parametrize("truncate", [False, True], ids=["overlay", "truncate"])
def test_a_disk_full_to_the_last_byte_while_the_trees_are_exchanged(
    needs_root: None, tmp_path: Path, truncate: bool
) -> None:
    """P3: not even the journal finds room; what has been moved by then goes back without any."""
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        root = disk / "server"
        build(root)
        for number in range(200):
            (root / f"old-{number:03d}").write_bytes(b"x")
        old = state_of(root)
        target = target_for(root, truncate=truncate)
        tree = target.prepare(200, 200)
        for number in range(200):
            tree.file(b"%s-%d" % (b"n" * 200, number), 0o644, NOON, [b"x"])
        tree.finish()
        with open(disk / "ballast", "wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
            while True:
                ballast.write(b"x" * 4096)
        with pytest.raises(NoSpace, match=r"No space left on device, .* are free; delete"):
            target.commit()
        target.roll_back()
        assert state_of(root) == old
        assert sorted(os.listdir(disk)) == ["ballast", "server"]


def test_no_room_for_both(needs_root: None, tmp_path: Path) -> None:
    """staged refuses and says so, auto goes straight and says so, and what fits in no way is refused."""
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        root = disk / "server"
        build(root)
        (root / "large").write_bytes(os.urandom(5 * MEBIBYTE))
        old = state_of(root)
        with pytest.raises(NoSpace, match="mode straight") as caught:
            target_for(root, mode="staged").prepare(4 * MEBIBYTE, 1)
        assert "4.0 MiB are needed" in str(caught.value)
        assert "are free" in str(caught.value)
        for mode in ("auto", "straight"):
            with pytest.raises(NoSpace):
                target_for(root, mode=mode).prepare(20 * MEBIBYTE, 1)
            with pytest.raises(NoSpace):
                target_for(root, mode=mode, reserve=7 * MEBIBYTE).prepare(4 * MEBIBYTE, 1)
        assert state_of(root) == old
        target = target_for(root, mode="auto")
        tree = target.prepare(4 * MEBIBYTE, 1)
        assert any("without a way back" in warning for warning in target.warnings)
        assert os.listdir(root) == []
        tree.file(b"new", 0o644, NOON, (b"x" * MEBIBYTE for _ in range(4)))
        tree.finish()
        target.commit()
        assert os.stat(root / "new").st_size == 4 * MEBIBYTE


def test_too_few_inodes_for_both(needs_root: None, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=8m,nr_inodes=100") as disk:
        root = disk / "server"
        build(root)
        with pytest.raises(NoSpace, match="inodes"):
            target_for(root, mode="staged").prepare(1000, 500)


def test_nothing_announced_is_staged_and_safe(needs_root: None, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        root = disk / "server"
        build(root)
        old = state_of(root)
        target = target_for(root, mode="auto")
        tree = target.prepare(None, None)
        assert state_of(root) == old
        with pytest.raises(OSError, match="No space"):
            tree.file(b"huge", 0o644, NOON, (b"x" * MEBIBYTE for _ in range(20)))
        target.roll_back()
        assert state_of(root) == old


@pytest.mark.parametrize("mode", ["staged", "straight"])
def test_denylisted_files_survive_truncation_and_are_not_written(root: Path, mode: str) -> None:
    """W-22: at any depth, with the directories that hold them, and nothing else."""
    (root / "plugins/auth/deep").mkdir(parents=True)
    (root / "plugins/auth/deep/users.db").write_bytes(b"users")
    (root / "plugins/auth/config").write_bytes(b"gone")
    (root / "plugins/other").mkdir()
    (root / "plugins/other/file").write_bytes(b"gone")
    (root / "secrets").mkdir()
    (root / "secrets/key").write_bytes(b"key")
    (root / "secrets/link").symlink_to("/etc/passwd")
    before = state_of(root)
    target = target_for(root, mode=mode, denylist=("*.db", "/secrets/", "!/plugins/harmless.db"))
    tree = target.prepare(100, 4)
    assert tree.denied(b"plugins/auth/deep/users.db")
    assert tree.denied(b"secrets/key")
    assert not tree.denied(b"plugins/harmless.db")
    assert tree.denied(b".wings-undo-0123456789abcdef/journal")
    tree.file(b"plugins/auth/new", 0o644, NOON, [b"new"])
    for path in (b"plugins", b"plugins/auth"):  # directories that stay, as what they hold stays
        with pytest.raises(IsADirectoryError):
            tree.file(path, 0o644, NOON, [b"x"])
    tree.finish()
    target.commit()
    after = state_of(root)
    kept = {b"plugins/auth/deep/users.db", b"secrets", b"secrets/key", b"secrets/link"}
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert set(after) == kept | {b"", b"plugins", b"plugins/auth", b"plugins/auth/deep", b"plugins/auth/new"}


def test_a_denylisted_file_that_appears_during_the_restore_survives_too(root: Path) -> None:
    """W-22."""
    target = target_for(root, denylist=("*.db",))
    tree = target.prepare(10, 1)
    (root / "world/late.db").write_bytes(b"late")
    tree.file(b"world/new", 0o644, NOON, [b"new"])
    target.commit()
    assert (root / "world/late.db").read_bytes() == b"late"
    assert sorted(os.listdir(root / "world")) == ["late.db", "new"]


def test_an_overlay_leaves_directories_in_peace(root: Path) -> None:
    """A directory in the way is an error of that entry, seen while there is still an entry to blame."""
    tree = target_for(root, truncate=False).prepare(10, 1)
    for write in (
        lambda: tree.file(b"world", 0o644, NOON, [b"x"]),
        lambda: tree.symlink(b"world", b"x", NOON),
    ):
        with pytest.raises(IsADirectoryError):
            write()
    target = target_for(root.parent / "other", truncate=False)
    with pytest.raises(UnusableRoot):
        target.prepare(10, 1)


def test_an_overlay_does_not_go_through_old_links(root: Path, tmp_path: Path) -> None:
    """P8: a link of the server stays in the way of paths below it, and gives way to a directory said outright."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "logs").symlink_to(outside)
    (root / "cache").symlink_to(outside)
    target = target_for(root, truncate=False)
    tree = target.prepare(10, 1)
    with pytest.raises(OutsideJail):
        tree.file(b"logs/latest.log", 0o644, NOON, [b"x"])
    tree.directory(b"cache", 0o755, NOON)
    tree.file(b"cache/file", 0o644, NOON, [b"x"])
    target.commit()
    assert (root / "logs").is_symlink()
    assert not (root / "cache").is_symlink()
    assert (root / "cache/file").read_bytes() == b"x"
    assert os.listdir(outside) == []


def test_what_turns_into_a_directory_in_the_meantime_is_not_thrown_away(root: Path) -> None:
    target = target_for(root, truncate=False)
    target.prepare(10, 1).file(b"later", 0o644, NOON, [b"x"])
    (root / "later").mkdir()
    (root / "later/precious").write_bytes(b"x")
    old = state_of(root)
    with pytest.raises(WingsError, match="directory"):
        target.commit()
    target.roll_back()
    assert without_root(state_of(root)) == without_root(old)


@pytest.mark.parametrize("truncate", [False, True], ids=["overlay", "truncate"])
def test_a_server_that_goes_on_writing_cannot_lead_us_astray(root: Path, tmp_path: Path, truncate: bool) -> None:
    """P8: links and directories are swapped in the server while the trees are exchanged."""
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub/safe").write_bytes(b"safe")
    before = state_of(outside)
    stop = threading.Event()

    def hostile() -> None:
        while not stop.is_set():
            for name in ("world", "plugins"):
                try:
                    os.rename(root / name, root / f"{name}-aside")
                    os.symlink(outside, root / name)
                    os.unlink(root / name)
                    os.rename(root / f"{name}-aside", root / name)
                except OSError:
                    continue

    thread = threading.Thread(target=hostile)
    thread.start()
    try:
        for _ in range(20):
            target = target_for(root, truncate=truncate)
            try:
                tree = target.prepare(100, 3)
                for path in (b"world/sub/a", b"plugins/sub/b", b"world/level.dat"):
                    tree.file(path, 0o666, NOON, [b"x"])
                tree.directory(b"world/sub", 0o777, NOON)
                target.commit()
            except (WingsError, OSError):
                target.roll_back()
    finally:
        stop.set()
        thread.join()
    assert state_of(outside) == before


def test_straight_says_that_it_cannot_go_back(root: Path) -> None:
    target = target_for(root, mode="straight")
    tree = target.prepare(10, 1)
    assert os.listdir(root) == []
    tree.file(b"half", 0o644, NOON, [b"x"])
    target.roll_back()
    assert any("cannot be put back" in warning for warning in target.warnings)
    assert (root / "half").exists()


def test_straight_counts_what_it_replaces(root: Path) -> None:
    """W-16."""
    (root / "world/level.dat").write_bytes(b"o" * 800)
    target = target_for(root, truncate=False, mode="straight", disk_limit=1000, used=900)
    tree = target.prepare(800, 1)
    tree.file(b"world/level.dat", 0o644, NOON, [b"n" * 100, b"n" * 700])
    tree.file(b"world/level.dat", 0o644, NOON, [b"n" * 800])
    with pytest.raises(NoSpace):
        tree.file(b"more", 0o644, NOON, [b"n" * 200])
    target.commit()
    assert (root / "world/level.dat").read_bytes() == b"n" * 800


def test_auto_goes_straight_where_nothing_can_be_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def across(source: object, target: object, **named: int) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", across)
    old = state_of(root)
    with pytest.raises(WingsError, match="mode straight"):
        target_for(root, mode="staged").prepare(10, 1)
    assert state_of(root) == old
    assert nothing_left(root)
    target = target_for(root, mode="auto", truncate=False)
    target.prepare(10, 1)
    assert any("without a way back" in warning for warning in target.warnings)
    monkeypatch.setattr(os, "rename", rename)


def test_owner_of_everything(needs_root: None, root: Path) -> None:
    """W-15: also after the trees were exchanged, and of directories that were there before."""
    for mode in ("staged", "straight"):
        for truncate in (False, True):
            target = target_for(root, mode=mode, truncate=truncate, owner=(1234, 1235))
            tree = target.prepare(10, 1)
            tree.directory(b"world", 0o755, NOON)
            tree.file(b"world/level.dat", 0o644, NOON, [b"x"])
            tree.symlink(b"world/link", b"x", NOON)
            tree.finish()
            target.commit()
            assert {one[2:4] for path, one in state_of(root).items() if path.startswith(b"world")} == {(1234, 1235)}


def test_a_shared_group_reaches_staged_files(needs_root: None, root: Path) -> None:
    """A set-group-id root hands its group on, as it would to files made in it."""
    os.chown(root, 0, 1235)
    os.chmod(root, 0o2775)
    target = target_for(root)
    target.prepare(10, 1).file(b"file", 0o644, NOON, [b"x"])
    target.commit()
    assert os.stat(root / "file").st_gid == 1235


def test_one_restore_at_a_time(root: Path) -> None:
    first = target_for(root)
    first.prepare(10, 1)
    with pytest.raises(Conflict, match="another restore"):
        target_for(root, mode="straight").prepare(10, 1)
    first.roll_back()
    second = target_for(root)
    second.prepare(10, 1)
    second.roll_back()


@pytest.mark.parametrize("truncate", [False, True], ids=["overlay", "truncate"])
def test_a_mount_inside_the_server_is_named_as_the_reason(needs_root: None, root: Path, truncate: bool) -> None:
    """P3."""
    with small_disk(root / "mounted", "size=1m") as mounted:
        (mounted / "file").write_bytes(b"old")
        old = state_of(root)
        target = target_for(root, truncate=truncate)
        tree = target.prepare(10, 2)
        tree.file(b"a", 0o644, NOON, [b"x"])
        tree.file(b"mounted/file", 0o644, NOON, [b"x"])
        with pytest.raises(WingsError, match="mount of its own"):
            target.commit()
        target.roll_back()
        assert state_of(root) == old
    assert nothing_left(root)


@pytest.mark.parametrize("truncate", [False, True], ids=["overlay", "truncate"])
def test_names_of_any_bytes_at_any_depth(root: Path, truncate: bool) -> None:
    """P8: paths that the kernel takes only in pieces are merged and rolled back like others."""
    path = b"/".join([b"we\nird \xff'" + b"d" * 180] * 30)
    for content in (b"first", b"second"):
        target = target_for(root, truncate=truncate, denylist=("nothing here",))
        tree = target.prepare(10, 1)
        tree.file(path + b"/" + content, 0o644, NOON, [content])
        target.commit()
    with Jail(root) as jail:
        assert stat.S_ISREG(jail.stat(path + b"/second").st_mode)
        if truncate:
            with pytest.raises(FileNotFoundError):
                jail.stat(path + b"/first")
        else:
            assert jail.stat(path + b"/first").st_size == 5


def test_a_server_we_may_not_write_to(tmp_path: Path) -> None:
    with ordinary_user(tmp_path) as (place, run):
        root = place / "server"
        build(root)
        os.chmod(root, 0o755)
        if os.geteuid() != 0:
            return  # what is ours we may change

        def work() -> None:
            for mode in ("staged", "auto", "straight"):
                target = target_for(root, mode=mode)
                with pytest.raises(WingsError) as caught:
                    target.prepare(10, 1)
                assert "Permission denied" in str(caught.value)
                target.roll_back()

        old = without_root(state_of(root))
        assert run(work) == 0
        assert without_root(state_of(root)) == old


def test_unknown_mode_is_refused(root: Path) -> None:
    with pytest.raises(InvalidInput, match="sideways"):
        target_for(root, mode="sideways")


def test_descriptors_are_given_back(root: Path) -> None:
    """P6."""
    before = len(os.listdir("/proc/self/fd"))
    for mode in ("staged", "straight"):
        for end in ("commit", "roll_back"):
            target = target_for(root, mode=mode)
            target.prepare(10, 1).file(b"a/b/c/d", 0o644, NOON, [b"x"])
            getattr(target, end)()
    with pytest.raises(NoSpace):
        target_for(root, disk_limit=1).prepare(10, 1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_root_of_a_restore_may_be_a_link_of_the_operator(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    old: dict[bytes, Facts] = state_of(root)
    target = target_for(link)
    tree = target.prepare(10, 1)
    tree.file(b"new", 0o644, NOON, [b"x"])
    target.roll_back()
    assert without_root(state_of(root)) == without_root(old)
    assert sorted(os.listdir(root.parent)) == ["link", "server"]
