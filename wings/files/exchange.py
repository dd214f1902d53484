"""Putting a new tree in the place of an old one, entry by entry, so that every step can be taken back (P3).

A plan is made first: the fewest renames that do it. A directory that exists only in the new tree, or whose
old contents are to go entirely, is one rename; where both stay, they are merged. The plan stands in the
journal before the first rename. What each step found is decided by inode numbers, not by how far we came,
so undoing may start anywhere and be repeated.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from wings.errors import Damaged, WingsError, shown
from wings.files.directories import Directory, DirectoryCache, enter, enter_opened_up
from wings.files.journal import Journal, Settle, Status, Swap
from wings.files.survivors import NONE, Survivors
from wings.files.undo_place import UNDO_PREFIX

# Stands in the journal where the file system gives a moved entry another inode number.
UNSTABLE_INODE = 2**64 - 1


@dataclass(slots=True)
class Plan:
    """What an exchange is about. ``survivors`` matter only with ``truncate``.

    ``made_unasked`` tells directories of the new tree that the backup says nothing about.
    """

    truncate: bool
    survivors: Survivors = NONE
    made_unasked: Callable[[bytes], bool] = field(default=lambda path: False)


class Exchange:
    """The new tree below ``new_fd`` for the one below ``live_fd``; what goes out is kept in ``old_fd``.

    Root descriptors belong to the caller. Not for several threads.
    """

    def __init__(self, journal: Journal, *, live_fd: int, new_fd: int, old_fd: int, stable_inodes: bool = True) -> None:
        self._journal = journal
        self._live = _cache(live_fd)
        self._new = _cache(new_fd)
        self._old_fd = old_fd
        self._stable_inodes = stable_inodes

    def close(self) -> None:
        """Let go of the directories."""
        self._live.close()
        self._new.close()

    def plan(self, plan: Plan) -> int:
        """Write into the journal what is to be done. Returns the bytes of single files that will go out.

        Raises ``OSError`` with ``EISDIR`` where a directory that stays is in the way.
        """
        replaced = 0
        waiting: list[tuple[bytes, bool]] = [(b"", True)]
        while waiting:
            path, in_new = waiting.pop()
            with self._live.using(path) as live:
                if in_new:
                    with self._new.using(path) as new:
                        replaced += self._plan_incoming(path, live, new, plan, waiting)
                        if plan.truncate:
                            self._plan_outgoing(path, live, new, plan, waiting)
                else:
                    self._plan_outgoing(path, live, None, plan, waiting)
        return replaced

    def carry_out(self, *, truncate: bool) -> None:
        """Do all the renames of the plan. Raises ``OSError``; then ``undo`` puts everything back."""
        for number, record in self._journal.forwards():
            if not isinstance(record, Swap):
                continue
            above, name = _split(record.path)
            with self._live.using(above) as live:
                try:
                    if not truncate and stat.S_ISDIR(_facts(live.fd, name).st_mode):
                        raise IsADirectoryError(errno.EISDIR, "became a directory meanwhile", record.path)
                    _move(live.fd, name, self._old_fd, b"%d" % number)
                except FileNotFoundError:
                    pass  # there was nothing, or it went away by itself
                if record.inode:
                    with self._new.using(above) as new:
                        _move(new.fd, name, live.fd, name)

    def settle(self) -> None:
        """Give merged directories their new metadata, deepest first."""
        for _, record in self._journal.backwards():
            if isinstance(record, Settle) and record.after is not None:
                with self._live.using(record.path) as live:
                    _apply(live.fd, record.after)

    def undo(self) -> list[str]:
        """Put back what went out, take out what came in, last step first. Returns what could not be done.

        Each step that is undone is forgotten by the journal; what is returned will be tried again next time.
        """
        problems: list[str] = []
        for number, record in self._journal.backwards():
            try:
                if isinstance(record, Swap):
                    self._undo_swap(number, record)
                else:
                    with self._live.using(record.path) as live:
                        _apply(live.fd, record.before)
            except (OSError, WingsError) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                problems.append(f"{shown(record.path) or 'the root'} ({reason})")
            else:
                if not problems:
                    self._journal.cut(number)
                elif isinstance(record, Swap):
                    # Metadata stays in the journal: what is still to be done will change times again.
                    self._journal.mark_undone(number)
        return problems

    def _plan_incoming(
        self, path: bytes, live: Directory, new: Directory, plan: Plan, waiting: list[tuple[bytes, bool]]
    ) -> int:
        replaced = 0
        with os.scandir(new.fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                here = path + b"/" + name if path else name
                if here in plan.survivors.entries or (not path and name.startswith(UNDO_PREFIX)):
                    continue
                try:
                    old = _facts(live.fd, name)
                except FileNotFoundError:
                    self._journal.append(Swap(here, self._inode(entry.inode())))
                    continue
                if not stat.S_ISDIR(old.st_mode):
                    replaced += old.st_size if stat.S_ISREG(old.st_mode) and old.st_nlink == 1 else 0
                    self._journal.append(Swap(here, self._inode(entry.inode())))
                elif plan.truncate and here not in plan.survivors.directories:
                    self._take_out(here, old, self._inode(entry.inode()))
                elif entry.is_dir(follow_symlinks=False):
                    facts = _facts(new.fd, name)
                    self._merge(here, live, name, old, None if plan.made_unasked(here) else Status.of(facts))
                    os.close(enter_opened_up(new.fd, name))
                    waiting.append((here, True))
                else:
                    raise IsADirectoryError(errno.EISDIR, "a directory that stays is in the way", here)
        return replaced

    def _plan_outgoing(
        self, path: bytes, live: Directory, new: Directory | None, plan: Plan, waiting: list[tuple[bytes, bool]]
    ) -> None:
        with os.scandir(live.fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                here = path + b"/" + name if path else name
                if here in plan.survivors.entries or (not path and name.startswith(UNDO_PREFIX)):
                    continue
                if new is not None and _exists(new.fd, name):
                    continue
                try:
                    facts = _facts(live.fd, name)
                except FileNotFoundError:
                    continue
                if here in plan.survivors.directories and stat.S_ISDIR(facts.st_mode):
                    self._merge(here, live, name, facts, None)
                    waiting.append((here, False))
                else:
                    self._take_out(here, facts, 0)

    def _take_out(self, path: bytes, facts: os.stat_result, incoming: int) -> None:
        if stat.S_ISDIR(facts.st_mode) and _withholds(facts):
            # It has to be made writable to be moved; undoing this record gives its mode back.
            self._journal.append(Settle(path, Status.of(facts), None))
        self._journal.append(Swap(path, incoming))

    def _merge(self, path: bytes, live: Directory, name: bytes, facts: os.stat_result, after: Status | None) -> None:
        before = Status.of(facts)
        if _withholds(facts):
            after = after or before
        self._journal.append(Settle(path, before, after))
        os.close(enter_opened_up(live.fd, name))

    def _undo_swap(self, number: int, record: Swap) -> None:
        above, name = _split(record.path)
        kept = b"%d" % number
        with self._live.using(above) as live:
            try:
                here = _facts(live.fd, name).st_ino
            except FileNotFoundError:
                here = 0
            if here and self._came_in(record, above, name, here):
                with self._new.using(above) as new:
                    _move(live.fd, name, new.fd, name)
                here = 0
            if _exists(self._old_fd, kept):
                if here:  # put there by somebody else in the meantime: the old one is what we promised
                    _move(live.fd, name, self._old_fd, b"foreign-" + kept)
                _move(self._old_fd, kept, live.fd, name)

    def _came_in(self, record: Swap, above: bytes, name: bytes, here: int) -> bool:
        if record.inode != UNSTABLE_INODE:
            return here == record.inode
        with self._new.using(above) as new:
            return not _exists(new.fd, name)

    def _inode(self, number: int) -> int:
        return number if self._stable_inodes else UNSTABLE_INODE


def _cache(root_fd: int) -> DirectoryCache:
    # What is entered stays, and its mode stands in the journal: it is put back or put on in the end. So an
    # ordinary user may open what its mode shuts, also after a crash between the two.
    open_up = enter if os.geteuid() == 0 else enter_opened_up

    def open_it(parent: Directory, name: bytes, path: bytes) -> Directory:
        return Directory(open_up(parent.fd, name))

    return DirectoryCache(Directory(open_up(root_fd, b".")), open_it)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Parent and name. The journal may have been left in a directory that the server could write to."""
    if any(part in (b"", b".", b"..") for part in path.split(b"/")):
        raise Damaged(f"the journal of an interrupted restore holds an impossible path: {shown(path)}")
    above, _, name = path.rpartition(b"/")
    return above, name


def _facts(dir_fd: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)


def _exists(dir_fd: int, name: bytes) -> bool:
    try:
        _facts(dir_fd, name)
    except FileNotFoundError:
        return False
    return True


def _withholds(facts: os.stat_result) -> bool:
    """Whether the mode keeps us from changing what is in this directory."""
    return os.geteuid() != 0 and facts.st_mode & stat.S_IRWXU != stat.S_IRWXU


def _move(from_fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    try:
        os.rename(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    except PermissionError:
        # Moving a directory changes its "..", for which an ordinary user must be able to write to it.
        facts = _facts(from_fd, name)
        if not stat.S_ISDIR(facts.st_mode) or not _withholds(facts):
            raise
        fd = enter_opened_up(from_fd, name)
        try:
            os.rename(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        finally:
            os.fchmod(fd, stat.S_IMODE(facts.st_mode))
            os.close(fd)


def _apply(fd: int, status: Status) -> None:
    facts = os.fstat(fd)
    if (facts.st_uid, facts.st_gid) != (status.uid, status.gid):
        os.fchown(fd, status.uid, status.gid)
    if stat.S_IMODE(facts.st_mode) != status.mode:
        os.fchmod(fd, status.mode)
    with contextlib.suppress(PermissionError):  # somebody else's directory that our group may write to
        os.utime(fd, ns=(status.atime_ns, status.mtime_ns))
