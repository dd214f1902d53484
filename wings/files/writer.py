"""Writing a tree of a server's files: what an extraction puts beneath one root (P8).

Every entry is made with ``dir_fd`` of its parent, exclusively and without following anything, so neither the
archive nor a process that still runs in the server can redirect a byte. A file costs the calls that it
needs and no more: the parents' descriptors come from a cache.
"""

import contextlib
import errno
import os
import stat
import struct
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from wings.errors import shown
from wings.files.content import write_content
from wings.files.directories import Directory, DirectoryCache, enter, enter_opened_up, pin
from wings.files.durable import sync_file_system
from wings.files.jail import OutsideJail
from wings.files.space import Allowance

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_IMPLIED_MODE = 0o755  # of parents that the archive has no entry for

# How often something that appears in the way is cleared before the entry is given up.
_TRIES = 20

# The kernel cuts times down to what the file system can hold; Python must only be able to pass them on.
_LATEST_NS = (1 << 62) * 10**9

# Order, mode, seconds and nanoseconds of a directory whose metadata is still to be set.
_PENDING = struct.Struct(">QHqI")


class Rooted(Protocol):
    """Something that holds a root directory open, such as a jail."""

    @property
    def root_fd(self) -> int:
        """Descriptor of the root, not opened with ``O_PATH``."""


class Inodes:
    """A set of inode numbers, a bit each where they are close together, as those of new files mostly are."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        """Put a number in. Safe from several threads."""
        with self._lock:
            page = self._pages.setdefault(number >> 12, bytearray(512))
            page[(number >> 3) & 511] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> 12)
        return page is not None and bool(page[(number >> 3) & 511] & 1 << (number & 7))


class TreeWriter:
    """Writes entries beneath a root, as ``wings.archives.target.Target`` says. Safe for several threads.

    ``owner`` (uid, gid) is given to everything made, ``None`` leaves it to the daemon's user (W-15).
    ``over`` is the tree that this one will be laid over later: what could not replace its counterpart
    there is an error of that entry now. ``occupied`` are paths where directories will stay in the end.
    With ``fsync``, ``finish`` returns only when everything is on the disk.

    An entry below a symbolic link that exists, from the archive or from before, raises ``OutsideJail``.
    Going over ``allowance`` raises ``NoSpace``.
    """

    def __init__(
        self,
        jail: Rooted,
        *,
        owner: tuple[int, int] | None = None,
        denied: Callable[[bytes], bool],
        fsync: bool,
        allowance: Allowance | None = None,
        over: Rooted | None = None,
        occupied: Collection[bytes] = frozenset(),
    ) -> None:
        self._owner = owner
        self._owner_is_daemon = owner == (os.geteuid(), os.getegid())
        self._denied = denied
        self._fsync = fsync
        self._allowance = allowance or Allowance(None)
        self._occupied = occupied
        self._pending: list[bytes] = []
        self._implied: set[bytes] = set()
        self.finished = False
        root = Directory(enter(jail.root_fd, b"."), enter(over.root_fd, b".") if over else -1)
        root.hands_group_on = _hands_group_on(root.fd)
        # In a tree that was empty everything is ours; elsewhere hard links must not lead to older files.
        self._written = None if _is_empty(root.fd) else Inodes()
        self._directories = DirectoryCache(root, self._enter_or_make)

    @property
    def written_bytes(self) -> int:
        """What has been taken of the allowance."""
        return self._allowance.used

    def made_unasked(self, path: bytes) -> bool:
        """Whether this directory was only made because something in it was written."""
        return path in self._implied

    def denied(self, path: bytes) -> bool:
        """Whether the server's denylist keeps this path from being written."""
        return self._denied(path)

    def directory(self, path: bytes, mode: int, mtime_ns: int) -> None:
        """Create or keep a directory; mode and time are applied in ``finish``."""
        above, _, name = path.rpartition(b"/")
        parent = self._directories.take(above)
        try:
            for _ in range(_TRIES):
                try:
                    # Writable for us until finish, and for nobody else.
                    os.mkdir(name, 0o700, dir_fd=parent.fd)
                except FileExistsError:
                    if not self._keep_or_clear(parent, name):
                        continue
                    os.close(enter_opened_up(parent.fd, name))
                break
            else:
                raise _in_the_way(path)
        finally:
            self._directories.give(parent)
        self._implied.discard(path)
        with self._directories.using(path) as made:
            if self._owner:
                facts = os.fstat(made.fd)
                if (facts.st_uid, facts.st_gid) != self._owner:
                    os.fchown(made.fd, *self._owner)
        seconds, nanoseconds = divmod(_bounded(mtime_ns), 10**9)
        order = len(self._pending)
        self._pending.append(path + b"\0" + _PENDING.pack(order, mode & 0o7777, seconds, nanoseconds))

    def file(self, path: bytes, mode: int, mtime_ns: int, chunks: Iterable[bytes]) -> int:
        """Create a regular file exclusively, write ``chunks`` and return the number of bytes.

        It is readable for nobody else until owner and mode are right.
        """
        above, _, name = path.rpartition(b"/")
        parent = self._directories.take(above)
        try:
            self._judge_place(parent, name, path)
            fd = self._create(parent, name, path)
            try:
                try:
                    size = write_content(fd, chunks, self._allowance)
                    if self._owner and (not self._owner_is_daemon or parent.hands_group_on):
                        os.fchown(fd, *self._owner)
                    os.fchmod(fd, mode & 0o7777)  # after chown, which takes setuid away
                    moment = _bounded(mtime_ns)
                    os.utime(fd, ns=(moment, moment))
                    if self._written is not None:
                        self._written.add(os.fstat(fd).st_ino)
                finally:
                    os.close(fd)
            except BaseException:  # half a file must not stay, whatever the reason
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=parent.fd)
                raise
        finally:
            self._directories.give(parent)
        return size

    def symlink(self, path: bytes, target: bytes, mtime_ns: int) -> None:
        """Create a symbolic link with exactly this text (W-4); it is never resolved."""
        if not target or b"\0" in target:
            raise OSError(errno.EINVAL, "the text of a symbolic link cannot be empty or hold NUL", path)
        above, _, name = path.rpartition(b"/")
        parent = self._directories.take(above)
        try:
            self._judge_place(parent, name, path)
            for _ in range(_TRIES):
                try:
                    os.symlink(target, name, dir_fd=parent.fd)
                    break
                except FileExistsError:
                    self._clear(parent, name, path)
            else:
                raise _in_the_way(path)
            if self._owner and (not self._owner_is_daemon or parent.hands_group_on):
                os.chown(name, *self._owner, dir_fd=parent.fd, follow_symlinks=False)
            moment = _bounded(mtime_ns)
            os.utime(name, ns=(moment, moment), dir_fd=parent.fd, follow_symlinks=False)
        finally:
            self._directories.give(parent)

    def hardlink(self, path: bytes, existing: bytes) -> None:
        """Make ``path`` a second name of ``existing``; ``OSError`` if that is no file which was written here."""
        above, _, name = path.rpartition(b"/")
        first_above, _, first_name = existing.rpartition(b"/")
        first = self._directories.take(first_above, self._enter_existing)
        try:
            facts = os.stat(first_name, dir_fd=first.fd, follow_symlinks=False)
            ours = self._written is None or facts.st_ino in self._written
            if not stat.S_ISREG(facts.st_mode) or not ours:
                raise OSError(errno.EPERM, "a hard link can lead only to a file written before", path)
            if path == existing:
                return
            parent = self._directories.take(above)
            try:
                self._judge_place(parent, name, path)
                for _ in range(_TRIES):
                    try:
                        os.link(first_name, name, src_dir_fd=first.fd, dst_dir_fd=parent.fd, follow_symlinks=False)
                        return
                    except FileExistsError:
                        self._clear(parent, name, path)
                raise _in_the_way(path)
            finally:
                self._directories.give(parent)
        finally:
            self._directories.give(first)

    def finish(self) -> None:
        """Apply directory modes and times, deepest first, and make what was written durable."""
        # NUL sorts before everything a path can hold: backwards, what is inside comes before its parent,
        # and of several entries for one path the last one comes first.
        pending, self._pending = self._pending, []
        pending.sort(reverse=True)
        done = None
        for record in pending:
            path, values = record[: -_PENDING.size - 1], record[-_PENDING.size :]
            if path == done:
                continue
            done = path
            _, mode, seconds, nanoseconds = _PENDING.unpack(values)
            moment = seconds * 10**9 + nanoseconds
            try:
                directory = self._directories.take(path, self._enter_existing)
            except (FileNotFoundError, NotADirectoryError, OutsideJail):
                continue  # taken away by somebody meanwhile; nothing to put right
            try:
                os.fchmod(directory.fd, mode)
                os.utime(directory.fd, ns=(moment, moment))
            finally:
                self._directories.give(directory)
        self.finished = True
        if self._fsync:
            with self._directories.using(b"") as root:
                sync_file_system(root.fd)

    def close(self) -> None:
        """Let go of all directories. Safe to call twice; nothing can be written afterwards."""
        self._directories.close()

    def _judge_place(self, parent: Directory, name: bytes, path: bytes) -> None:
        """Refuse an entry that could not replace what will be there when the trees are put together."""
        if path in self._occupied:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if parent.beside < 0:
            return
        try:
            facts = os.stat(name, dir_fd=parent.beside, follow_symlinks=False)
        except (FileNotFoundError, PermissionError):
            return
        if stat.S_ISDIR(facts.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)

    def _create(self, parent: Directory, name: bytes, path: bytes) -> int:
        for _ in range(_TRIES):
            try:
                return os.open(name, _NEW_FILE, 0o600, dir_fd=parent.fd)
            except FileExistsError:
                self._clear(parent, name, path)
        raise _in_the_way(path)

    def _clear(self, parent: Directory, name: bytes, path: bytes) -> None:
        """Unlink what stands in the way of an entry; ``IsADirectoryError`` for a directory."""
        try:
            facts = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            os.unlink(name, dir_fd=parent.fd)
        except FileNotFoundError:
            return
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
            self._allowance.give_back(facts.st_size)

    def _keep_or_clear(self, parent: Directory, name: bytes) -> bool:
        """Whether a directory stands there; anything else is removed."""
        try:
            self._clear(parent, name, name)
        except IsADirectoryError:
            return True
        return False

    def _enter_or_make(self, parent: Directory, name: bytes, path: bytes) -> Directory:
        """Open a parent of an entry, and make it if the archive had no entry for it."""
        beside, link_beside = _enter_beside(parent, name)
        try:
            for _ in range(_TRIES):
                try:
                    fd = enter(parent.fd, name)
                    return Directory(fd, beside, _hands_group_on(fd))
                except FileNotFoundError:
                    if link_beside:
                        raise _leads_over_link(path) from None
                except NotADirectoryError:
                    _refuse_link(parent.fd, name, path)
                    self._clear(parent, name, path)
                self._make_implied(parent, name, path)
            raise _in_the_way(path)
        except BaseException:  # the second descriptor has no other owner yet
            if beside >= 0:
                os.close(beside)
            raise

    def _make_implied(self, parent: Directory, name: bytes, path: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
            fd = enter(parent.fd, name)
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            return  # somebody else was faster; the next try finds out what there is now
        try:
            self._implied.add(path)
            if self._owner and (not self._owner_is_daemon or parent.hands_group_on):
                os.fchown(fd, *self._owner)
            os.fchmod(fd, _IMPLIED_MODE)
        finally:
            os.close(fd)

    def _enter_existing(self, parent: Directory, name: bytes, path: bytes) -> Directory:
        try:
            fd = enter(parent.fd, name)
        except NotADirectoryError:
            _refuse_link(parent.fd, name, path)
            raise
        return Directory(fd, _enter_beside(parent, name)[0], _hands_group_on(fd))


def _enter_beside(parent: Directory, name: bytes) -> tuple[int, bool]:
    """The counterpart of a directory in the second tree, -1 if there is none, and whether a link is in its place."""
    if parent.beside < 0:
        return -1, False
    try:
        return pin(parent.beside, name), False
    except NotADirectoryError:
        with contextlib.suppress(FileNotFoundError):
            return -1, stat.S_ISLNK(os.stat(name, dir_fd=parent.beside, follow_symlinks=False).st_mode)
    except (FileNotFoundError, PermissionError):
        pass
    return -1, False


def _is_empty(fd: int) -> bool:
    with os.scandir(fd) as entries:
        return next(entries, None) is None


def _hands_group_on(fd: int) -> bool:
    return bool(os.fstat(fd).st_mode & stat.S_ISGID)


def _refuse_link(dir_fd: int, name: bytes, path: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            raise _leads_over_link(path)


def _leads_over_link(path: bytes) -> OutsideJail:
    return OutsideJail(f"{shown(path)} is a symbolic link; nothing is written through it")


def _in_the_way(path: bytes) -> OSError:
    return FileExistsError(errno.EEXIST, "something keeps being put in its place", path)


def _bounded(moment_ns: int) -> int:
    return max(-_LATEST_NS, min(_LATEST_NS, moment_ns))
