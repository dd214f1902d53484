"""Open directories beneath one root, found again by path: a bounded cache of descriptors.

Writing a tree needs the descriptor of a parent for every entry. Resolving it anew costs more than the
entry itself, and paths may be longer than the kernel resolves at once. So descriptors are kept, reached one
component at a time and never over a symbolic link (P8).
"""

import contextlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Per tree that is written; well below the usual limit of 1,024 descriptors even with several restores.
CAPACITY = 128

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True, eq=False)
class Directory:
    """One open directory. ``beside`` is the same path in a second tree, -1 without one.

    ``hands_group_on``: its set-group-id bit gives new entries its own group. Belongs to the cache that
    handed it out; closed when nobody uses it and the cache has let go of it.
    """

    fd: int
    beside: int = -1
    hands_group_on: bool = False
    users: int = 0
    kept: bool = True

    def close(self) -> None:
        """Close its descriptors."""
        os.close(self.fd)
        if self.beside >= 0:
            os.close(self.beside)


class DirectoryCache:
    """Directories by path, the least recently used closed first. Safe for several threads.

    ``enter(parent, name, path)`` opens one that is not in the cache, or makes it; its errors pass through.
    The root is closed with the cache.
    """

    def __init__(
        self, root: Directory, enter: Callable[[Directory, bytes, bytes], Directory], *, capacity: int = CAPACITY
    ) -> None:
        self._root = root
        self._enter = enter
        self._capacity = capacity
        self._open: OrderedDict[bytes, Directory] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, path: bytes, enter: Callable[[Directory, bytes, bytes], Directory] | None = None) -> Directory:
        """Return the directory, open until it is given back. ``b""`` is the root.

        ``enter`` replaces the one of the cache for this time.
        """
        with self._lock:
            found = self._find(path)
        if found is not None:
            return found
        missing = []
        above = path
        while found is None:
            above, _, name = above.rpartition(b"/")
            missing.append(name)
            with self._lock:
                found = self._find(above)
        for name in reversed(missing):
            above = above + b"/" + name if above else name
            parent = found
            try:
                child = (enter or self._enter)(parent, name, above)
            finally:
                self.give(parent)
            found = self._keep(above, child)
        return found

    def give(self, directory: Directory) -> None:
        """Say that it is no longer used."""
        with self._lock:
            directory.users -= 1
            if not directory.kept and not directory.users:
                directory.close()

    @contextlib.contextmanager
    def using(self, path: bytes) -> Iterator[Directory]:
        """Take and give back; slower than the two by hand, which matters per file only."""
        directory = self.take(path)
        try:
            yield directory
        finally:
            self.give(directory)

    def close(self) -> None:
        """Let go of all; those in use are closed when they are given back."""
        with self._lock:
            for path in list(self._open):
                self._drop(path)
            if self._root.kept:
                self._root.kept = False
                if not self._root.users:
                    self._root.close()

    def _find(self, path: bytes) -> Directory | None:
        if not path:
            if not self._root.kept:
                raise ValueError("the tree was closed already")
            self._root.users += 1
            return self._root
        directory = self._open.get(path)
        if directory is not None:
            directory.users += 1
            self._open.move_to_end(path)
        return directory

    def _keep(self, path: bytes, directory: Directory) -> Directory:
        """Put it in; another thread may have been faster, and then its one counts."""
        with self._lock:
            other = self._open.get(path)
            if other is not None:
                directory.close()
                directory = other
            elif self._root.kept:
                self._open[path] = directory
                if len(self._open) > self._capacity:
                    self._drop(next(iter(self._open)))
            else:
                directory.kept = False
            directory.users += 1
            return directory

    def _drop(self, path: bytes) -> None:
        directory = self._open.pop(path)
        directory.kept = False
        if not directory.users:
            directory.close()


def enter(dir_fd: int, name: bytes) -> int:
    """Open a directory for listing; ``NotADirectoryError`` for anything else, a symbolic link included."""
    return os.open(name, _ENTER, dir_fd=dir_fd)


def pin(dir_fd: int, name: bytes) -> int:
    """Open a directory only as ``dir_fd`` for others, whatever its mode; never over a symbolic link."""
    return os.open(name, _PIN, dir_fd=dir_fd)


def enter_opened_up(dir_fd: int, name: bytes) -> int:
    """Like ``enter``, and give its owner the right to read and change it if the mode withholds that.

    For ordinary users only: root is not held back by modes.
    """
    pinned = pin(dir_fd, name)
    try:
        mode = stat.S_IMODE(os.fstat(pinned).st_mode)
        if os.geteuid() != 0 and mode & stat.S_IRWXU != stat.S_IRWXU:
            # A descriptor opened with O_PATH can be changed by its name in /proc only; that name is no
            # path that somebody could redirect.
            with contextlib.suppress(PermissionError):  # somebody else's, which the group may still write
                os.chmod(f"/proc/self/fd/{pinned}", mode | stat.S_IRWXU)
        return os.open(b".", _ENTER, dir_fd=pinned)
    finally:
        os.close(pinned)


def is_directory(dir_fd: int, name: bytes) -> bool:
    """Whether a directory stands there, not following a symbolic link. Raises ``OSError`` if nothing does."""
    return stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
