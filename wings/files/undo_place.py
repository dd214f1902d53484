"""The hidden directory of a restore: where it lies, what is in it, and finding those left behind.

It lies beside the server's root as ``.<name>.wings-undo-<id>``, or, where the root is a mount point or has a
quota of its own so that nothing can be renamed across, inside it as ``.wings-undo-<id>``.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wings.files.directories import enter
from wings.files.jail import Jail
from wings.files.removal import remove

# In a server's root, whatever begins so belongs to a restore and is no file of the server: walks, listings
# and truncation leave it out.
UNDO_PREFIX = b".wings-undo-"

NEW, OLD = b"new", b"old"
JOURNAL, COMMITTED = b"journal", b"committed"

_ID = rb"[0-9a-f]{16}"
_TRIAL = b"-trial"


@dataclass(slots=True)
class UndoPlace:
    """One hidden directory, mode 0700: its name in ``holder_fd``, its own descriptor, its path for people."""

    holder_fd: int
    name: bytes
    fd: int
    path: Path

    def discard(self) -> None:
        """Remove it with everything in it; what tells its state goes last. May be repeated. Raises ``OSError``."""
        for name in (NEW, OLD, JOURNAL, COMMITTED):
            remove(self.fd, name)
        remove(self.holder_fd, self.name)

    def has(self, name: bytes) -> bool:
        """Whether this is in it."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Close its descriptors."""
        os.close(self.fd)
        os.close(self.holder_fd)


def make_beside(live: Jail) -> UndoPlace:
    """Make one in the directory that holds the root. Raises ``OSError``."""
    holder_fd, name = _holder(live)
    return _make(holder_fd, b".%s%s%s" % (name, UNDO_PREFIX, _new_id()), _real(live).parent)


def make_inside(live: Jail) -> UndoPlace:
    """Make one in the root. Raises ``OSError``."""
    return _make(enter(live.root_fd, b"."), UNDO_PREFIX + _new_id(), _real(live))


def try_renaming(root_fd: int, place: UndoPlace) -> bool:
    """Prove that entries can be moved between the two: mounts, subvolumes and project quotas forbid it.

    Returns whether inode numbers survive that, which some FUSE file systems do not grant.
    """
    name = b"trial"
    visiting = place.name[place.name.rindex(UNDO_PREFIX) :] + _TRIAL
    os.mkdir(name, 0o700, dir_fd=place.fd)
    before = os.stat(name, dir_fd=place.fd, follow_symlinks=False).st_ino
    os.rename(name, visiting, src_dir_fd=place.fd, dst_dir_fd=root_fd)
    after = os.stat(visiting, dir_fd=root_fd, follow_symlinks=False).st_ino
    os.rename(visiting, name, src_dir_fd=root_fd, dst_dir_fd=place.fd)
    os.rmdir(name, dir_fd=place.fd)
    return before == after


def leftovers(live: Jail) -> Iterator[UndoPlace]:
    """Hidden directories of this root that this user made. Each is closed when the next one is asked for."""
    with contextlib.suppress(OSError):  # the directory above may not be ours to open
        holder_fd, name = _holder(live)
        try:
            pattern = re.escape(b"." + name + UNDO_PREFIX) + _ID
            yield from _matching(holder_fd, pattern, _real(live).parent)
        finally:
            os.close(holder_fd)
    yield from _matching(live.root_fd, re.escape(UNDO_PREFIX) + _ID, _real(live))


def remove_trials(root_fd: int) -> None:
    """Remove what ``try_renaming`` leaves in a root when it is killed: an empty directory."""
    facts = os.fstat(root_fd)
    for name in _names(root_fd, re.escape(UNDO_PREFIX) + _ID + re.escape(_TRIAL)):
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=root_fd)
            os.utime(root_fd, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _new_id() -> bytes:
    return secrets.token_hex(8).encode()


def _real(live: Jail) -> Path:
    return Path(os.path.realpath(live.root))


def _holder(live: Jail) -> tuple[int, bytes]:
    """Open the directory that holds the root, and prove that it does."""
    real = _real(live)
    holder_fd = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = os.fsencode(real.name)
        there = os.stat(name or b".", dir_fd=holder_fd, follow_symlinks=False)
        if not name or not os.path.samestat(there, os.fstat(live.root_fd)):
            raise OSError(errno.EXDEV, "nothing can lie beside it")
    except BaseException:  # nobody else could close it
        os.close(holder_fd)
        raise
    return holder_fd, name


def _make(holder_fd: int, name: bytes, above: Path) -> UndoPlace:
    try:
        os.mkdir(name, 0o700, dir_fd=holder_fd)
        return UndoPlace(holder_fd, name, enter(holder_fd, name), above / os.fsdecode(name))
    except BaseException:  # nobody else could close it
        os.close(holder_fd)
        raise


def _names(dir_fd: int, pattern: bytes) -> list[bytes]:
    with os.scandir(dir_fd) as entries:
        return [name for name in (os.fsencode(entry.name) for entry in entries) if re.fullmatch(pattern, name)]


def _matching(holder_fd: int, pattern: bytes, above: Path) -> Iterator[UndoPlace]:
    for name in _names(holder_fd, pattern):
        try:
            fd = enter(holder_fd, name)
        except OSError:  # not a directory, or not ours
            continue
        place = UndoPlace(os.dup(holder_fd), name, fd, above / os.fsdecode(name))
        try:
            facts = os.fstat(fd)
            # Inside its root a server may make what looks like ours, but not in our name.
            if facts.st_uid == os.geteuid() and not facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                yield place
        finally:
            place.close()
