import os
import threading
from pathlib import Path

import pytest

from tests.files.states import ordinary_user
from wings.files import removal
from wings.files.removal import remove
from wings.files.survivors import Denylist, Survivors
from wings.files.truncation import clear, occupied_bytes


def fd_of(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def make_deep(root: Path, depth: int) -> None:
    fd = fd_of(root)
    for number in range(depth):
        os.mkdir(b"d" * 200, dir_fd=fd)
        os.close(os.open(b"f%d" % number, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        child = os.open(b"d" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.close(fd)


def test_whatever_it_is_goes_and_what_it_points_to_stays(tmp_path: Path) -> None:
    """P8."""
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/link").symlink_to(outside)
    os.mkfifo(tree / "a/fifo")
    (outside / "sub/file").write_text("stays")
    os.link(outside / "sub/file", tree / "a/hard")
    fd = fd_of(tmp_path)
    remove(fd, b"tree")
    remove(fd, b"tree")
    (tmp_path / "link").symlink_to(outside)
    remove(fd, b"link")
    os.close(fd)
    assert os.listdir(tmp_path) == ["outside"]
    assert (outside / "sub/file").read_text() == "stays"


def test_a_tree_deeper_than_any_path_and_any_stack(tmp_path: Path) -> None:
    """P8, P6: 1,500 levels, with few descriptors."""
    (tmp_path / "tree").mkdir()
    make_deep(tmp_path / "tree", 1500)
    fd = fd_of(tmp_path)
    remove(fd, b"tree")
    os.close(fd)
    assert os.listdir(tmp_path) == []


def test_more_entries_than_one_look_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_BATCH", 10)
    for number in range(95):
        (tmp_path / "tree" / f"d{number % 30}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / f"f{number}").touch()
    fd = fd_of(tmp_path)
    remove(fd, b"tree")
    os.close(fd)
    assert os.listdir(tmp_path) == []


def test_files_that_keep_coming_are_removed_too(tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    stop = threading.Event()

    def fill() -> None:
        for number in range(2000):
            if stop.is_set():
                break
            try:
                (tmp_path / "tree/sub" / str(number)).touch()
            except OSError:
                break

    thread = threading.Thread(target=fill)
    thread.start()
    fd = fd_of(tmp_path)
    try:
        remove(fd, b"tree")
    finally:
        stop.set()
        thread.join()
        os.close(fd)
    assert os.listdir(tmp_path) == []


def test_an_ordinary_user_removes_what_shuts_him_out(tmp_path: Path) -> None:
    with ordinary_user(tmp_path) as (place, run):

        def work() -> None:
            tree = place / "tree"
            (tree / "a/b/c").mkdir(parents=True)
            for name in ("a/b/c", "a/b", "a"):
                (tree / name / "file").touch()
                os.chmod(tree / name, 0)
            fd = fd_of(place)
            remove(fd, b"tree")
            assert not tree.exists()

        assert run(work) == 0


def test_clear_leaves_survivors_and_leftovers_of_restores(tmp_path: Path) -> None:
    """W-22."""
    for name in ("a/b/keep", "a/b/go", "a/go", "go/deep", ".wings-undo-0123456789abcdef/old/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    fd = fd_of(tmp_path)
    found = Denylist(["keep"]).survivors(fd)
    assert found == Survivors(frozenset({b"a", b"a/b"}), frozenset({b"a/b/keep"}), len("a/b/keep"))
    assert Denylist([]).survivors(fd) == Survivors()
    clear(fd, found)
    os.close(fd)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".wings-undo-0123456789abcdef/old/1", "a/b/keep"]


def test_survivors_below_a_directory_on_the_list_and_behind_a_shut_door(tmp_path: Path) -> None:
    with ordinary_user(tmp_path) as (place, run):

        def work() -> None:
            (place / "listed/sub").mkdir(parents=True)
            (place / "listed/sub/file").write_bytes(b"12345")
            (place / "shut/inner").mkdir(parents=True)
            (place / "shut/inner/secret").write_bytes(b"123")
            os.chmod(place / "shut/inner", 0)
            os.chmod(place / "shut", 0)
            fd = fd_of(place)
            found = Denylist(["/listed", "secret"]).survivors(fd)
            assert found.entries == {b"listed", b"shut/inner/secret"}
            assert found.directories == {b"shut", b"shut/inner"}
            assert found.bytes == 8
            assert os.stat(place / "shut").st_mode & 0o7777 == 0
            os.chmod(place / "shut", 0o700)
            assert os.stat(place / "shut/inner").st_mode & 0o7777 == 0

        assert run(work) == 0


def test_occupied_bytes_counts_blocks(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(b"x" * 100_000)
    with open(tmp_path / "a/sparse", "wb") as sparse:
        sparse.truncate(1 << 30)
    fd = fd_of(tmp_path)
    assert 100_000 <= occupied_bytes(fd) < 200_000
    os.close(fd)
