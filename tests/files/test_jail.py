"""The jail opens what is inside and nothing else, by the kernel's call and without it alike."""

import ctypes
import errno
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.files.seccomp import OPENAT2, fail_from_now_on
from tests.meddling import as_nobody, in_child
from tests.trees import build_deep
from wings.errors import InvalidInput, Refused, Unsupported
from wings.files.jail import Jail, OutsideJail, UnusableRoot

SECRET = b"the host's secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A server's directory, with something outside that must never be reached."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(SECRET)
    root = tmp_path / "server"
    (root / "world" / "region").mkdir(parents=True)
    (root / "world" / "level.dat").write_bytes(b"level")
    (root / "world" / "region" / "r.0.0.mca").write_bytes(b"region")
    (root / "inward").symlink_to("world")
    (root / "inward file").symlink_to("world/level.dat")
    (root / "outward").symlink_to("../outside")
    (root / "outward file").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to("../made outside")
    (root / "loop").symlink_to("loop")
    return root


@pytest.fixture(params=[True, False], ids=["openat2", "by parts"])
def jail(request: pytest.FixtureRequest, root: Path) -> Iterator[Jail]:
    """The same jail, once by each way of opening."""
    with Jail(root, openat2=request.param) as jail:
        yield jail


def content(jail: Jail, path: bytes) -> bytes:
    fd = jail.open(path, os.O_RDONLY)
    with open(fd, "rb") as file:
        return file.read()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


ALL_FLAGS = (
    os.O_RDONLY,
    os.O_RDONLY | os.O_NOFOLLOW,
    os.O_RDONLY | os.O_DIRECTORY,
    os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW,
    os.O_WRONLY | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_PATH,
    os.O_PATH | os.O_DIRECTORY,
)


@pytest.mark.parametrize("path", [b"world/region/r.0.0.mca", b"world//region/./r.0.0.mca", b"./world/region/r.0.0.mca"])
def test_opens_what_is_inside(jail: Jail, path: bytes) -> None:
    assert content(jail, path) == b"region"


@pytest.mark.parametrize(
    "path",
    [
        b"..",
        b"../secret",
        b"world/../../secret",
        b"world/..",  # would stay inside, but nobody of ours writes such a path
        b"/etc/passwd",
        b"/",
        b"world/level.dat\0.txt",
        b"inward",
        b"inward file",
        b"inward/level.dat",
        b"outward",
        b"outward file",
        b"outward/file",
        b"absolute/file",
        b"dangling",
        b"loop",
        b"loop/file",
    ],
)
def test_refuses_every_way_out(jail: Jail, root: Path, path: bytes) -> None:
    """P8: nothing outside is opened, made or truncated, and no link is followed, whatever the flags."""
    before = descriptors()
    for flags in ALL_FLAGS:
        with pytest.raises(OutsideJail) as caught:
            jail.open(path, flags, 0o644)
        assert isinstance(caught.value, Refused)
    assert descriptors() == before
    assert (root.parent / "secret").read_bytes() == SECRET
    assert not (root.parent / "made outside").exists()


def test_magic_links_are_not_followed() -> None:
    """P8: links of /proc lead anywhere without looking like a path."""
    for openat2 in (True, False):
        with Jail(Path("/proc/self"), openat2=openat2) as jail:
            for path in (b"root/etc/passwd", b"cwd", b"exe", b"fd/0"):
                with pytest.raises(OutsideJail):
                    jail.open(path, os.O_RDONLY)


def test_the_message_names_the_path_with_control_characters_escaped(jail: Jail) -> None:
    with pytest.raises(OutsideJail, match=r"\.\./a\\x1b\[31m\\xff leads out"):
        jail.open(b"../a\x1b[31m\xff", os.O_RDONLY)


@pytest.mark.parametrize(
    ("path", "flags", "code"),
    [
        (b"world/nothing", os.O_RDONLY, errno.ENOENT),
        (b"nothing/at/all", os.O_RDONLY, errno.ENOENT),
        (b"world/level.dat/below", os.O_RDONLY, errno.ENOTDIR),
        (b"world/level.dat", os.O_RDONLY | os.O_DIRECTORY, errno.ENOTDIR),
        (b"world", os.O_WRONLY, errno.EISDIR),
        (b"world/level.dat", os.O_WRONLY | os.O_CREAT | os.O_EXCL, errno.EEXIST),
        (b"outward file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, errno.EEXIST),
        (b"n" * 256, os.O_RDONLY, errno.ENAMETOOLONG),
        (b"n" * 5000, os.O_RDONLY, errno.ENAMETOOLONG),
    ],
)
def test_other_failures_are_those_of_the_call(jail: Jail, path: bytes, flags: int, code: int) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        jail.open(path, flags, 0o600)
    assert caught.value.errno == code
    assert caught.value.filename == path


def test_missing_permission_is_passed_on(root: Path) -> None:
    (root / "world").chmod(0o000)
    for openat2 in (True, False):
        with Jail(root, openat2=openat2) as jail:

            def attempt(jail: Jail = jail) -> None:
                with pytest.raises(PermissionError):
                    jail.open(b"world/level.dat", os.O_RDONLY)

            as_nobody(attempt)
    (root / "world").chmod(0o755)


def test_files_are_made_with_their_mode(jail: Jail, root: Path) -> None:
    old = os.umask(0)
    try:
        os.close(jail.open(b"world/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o4640))
        os.close(jail.open(b"world/new", os.O_RDONLY, 0o777))  # a mode without O_CREAT means nothing
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "world" / "new").stat().st_mode) == 0o4640


def test_descriptors_are_closed_on_exec(jail: Jail) -> None:
    for fd in (jail.open(b"world/level.dat", os.O_RDONLY), jail.open_directory(b""), jail.open_directory(b"world")):
        assert not os.get_inheritable(fd)
        os.close(fd)
    assert not os.get_inheritable(jail.root_fd)


def test_the_root_opens_with_a_position_of_its_own(jail: Jail) -> None:
    first, second = jail.open_directory(b""), jail.open_directory(b"")
    for fd in (first, second, jail.root_fd):
        assert "world" in os.listdir(fd)
    os.close(first)
    os.close(second)


def test_stat_looks_at_the_link_itself(jail: Jail) -> None:
    assert stat.S_ISLNK(jail.stat(b"outward").st_mode)
    assert jail.stat(b"world/level.dat").st_size == 5
    assert stat.S_ISDIR(jail.stat(b"").st_mode)
    with pytest.raises(OutsideJail):
        jail.stat(b"outward/file")
    with pytest.raises(FileNotFoundError):
        jail.stat(b"nothing")


def test_paths_longer_than_the_kernel_takes(jail: Jail, root: Path) -> None:
    """P8: a path over 4096 bytes is walked in pieces; so is one of a thousand levels."""
    bottom = build_deep(root, b"d" * 200, 30)
    many = build_deep(root, b"x", 1000)
    before = descriptors()
    assert len(bottom) > 6000
    assert content(jail, bottom) == b"the very bottom"
    assert content(jail, many) == b"the very bottom"
    assert jail.stat(bottom).st_size == 15
    with pytest.raises(FileNotFoundError):
        jail.open(bottom + b"s", os.O_RDONLY)
    assert descriptors() == before
    subprocess.run(["rm", "-rf", root], check=True)


def test_a_link_deep_below_a_long_path_is_refused(jail: Jail, root: Path) -> None:
    bottom = build_deep(root, b"d" * 200, 22)
    parent = bottom.rsplit(b"/", 1)[0]
    fd = jail.open_directory(parent)
    os.symlink(b"/etc", b"out", dir_fd=fd)
    os.close(fd)
    with pytest.raises(OutsideJail):
        jail.open(parent + b"/out/passwd", os.O_RDONLY)


def test_the_operator_may_reach_the_root_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "volumes").symlink_to(root.parent)
    with Jail(tmp_path / "volumes" / "server") as jail:
        assert content(jail, b"world/level.dat") == b"level"


@pytest.mark.parametrize("name", ["nothing", "secret", "sec\0ret", "n" * 300])
def test_a_root_that_is_no_directory_is_an_input_error(root: Path, name: str) -> None:
    before = descriptors()
    with pytest.raises(UnusableRoot) as caught:
        Jail(root.parent / name)
    assert isinstance(caught.value, InvalidInput)
    assert descriptors() == before


def test_a_moved_root_stays_open(jail: Jail, root: Path) -> None:
    root.rename(root.parent / "elsewhere")
    assert content(jail, b"world/level.dat") == b"level"


def test_after_closing_nothing_opens(root: Path) -> None:
    jail = Jail(root)
    before = descriptors()
    jail.close()
    jail.close()
    assert descriptors() == before - 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        jail.open(b"world", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        jail.open_directory(b"")


def test_a_directory_swapped_for_a_link_leads_nowhere(jail: Jail, root: Path) -> None:
    """P8: while somebody swaps a directory for a link outwards, all that is ever opened is inside."""
    (root / "swap").mkdir()
    (root / "swap" / "file").write_bytes(b"inside")
    (root / "bait").symlink_to("../outside")
    stop = threading.Event()

    def swap() -> None:
        exchange = _exchange(root)
        while not stop.is_set():
            exchange(b"swap", b"bait")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = {"opened": 0, "refused": 0}
    try:
        until = time.monotonic() + 0.5
        while time.monotonic() < until or not all(seen.values()):
            try:
                assert content(jail, b"swap/file") == b"inside"
                seen["opened"] += 1
            except OutsideJail:
                seen["refused"] += 1
            except OSError as error:  # between two looks of the slow way
                assert error.errno in (errno.ENOENT, errno.ENOTDIR)
    finally:
        stop.set()
        thread.join()


def _exchange(root: Path) -> Callable[[bytes, bytes], None]:
    """Renaming two names into each other in one step (renameat2 with RENAME_EXCHANGE)."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    base = os.fsencode(root) + b"/"

    def exchange(one: bytes, other: bytes) -> None:
        assert renameat2(-100, base + one, -100, base + other, 2) == 0

    return exchange


PARTS = st.sampled_from(
    [b"world", b"region", b"level.dat", b"inward", b"outward", b"loop", b"..", b".", b"", b"x", b"\0", b"\xff"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(PARTS, max_size=5), flags=st.sampled_from([0, os.O_DIRECTORY, os.O_PATH, os.O_PATH | os.O_NOFOLLOW])
)
def test_both_ways_of_opening_agree(root: Path, parts: list[bytes], flags: int) -> None:
    outcomes = []
    for openat2 in (True, False):
        with Jail(root, openat2=openat2) as jail:
            try:
                fd = jail.open(b"/".join(parts), flags)
            except OutsideJail:
                outcomes.append((errno.ELOOP, 0))
            except OSError as error:
                outcomes.append((error.errno or 0, 0))
            else:
                outcomes.append((0, os.fstat(fd).st_ino))
                os.close(fd)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_without_the_system_call_the_slow_way_is_taken(root: Path, code: int) -> None:
    def attempt() -> None:
        fail_from_now_on(OPENAT2, code)
        with Jail(root) as jail:
            assert content(jail, b"world/level.dat") == b"level"
            with pytest.raises(OutsideJail):
                jail.open(b"outward/file", os.O_RDONLY)
        with pytest.raises(Unsupported):
            Jail(root, openat2=True)

    in_child(attempt)
