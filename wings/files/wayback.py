"""The way back of a restore: the new tree is made beside the old one and takes its place in the end (P3, P5).

A restore works in a hidden directory on the same file system (``undo_place.py``):

* ``new/``       the tree that is being restored; the server does not see it
* ``old/``       what it displaced, by the number of the record in the journal
* ``journal``    what the exchange does (``journal.py``), written before it is done
* ``committed``  the journal's name from the moment on from which the new tree counts

The root itself stays the same inode: containers have it mounted. Until the exchange begins the server has
its old files; after a failure or a crash it gets them back, with the times of the directories.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from wings.errors import Damaged, Unsupported, WingsError, shown
from wings.files.directories import enter
from wings.files.durable import sync_file_system
from wings.files.exchange import Exchange, Plan
from wings.files.jail import Jail, UnusableRoot
from wings.files.journal import Journal, Settle, Status
from wings.files.undo_place import (
    COMMITTED,
    JOURNAL,
    NEW,
    OLD,
    UndoPlace,
    leftovers,
    make_beside,
    make_inside,
    remove_trials,
    try_renaming,
)

# Why a place for the hidden directory cannot be used, so that the next one is tried.
_UNUSABLE = {errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EOPNOTSUPP, errno.EBUSY}


class StuckHalfway(WingsError):
    """The old files could not all be put back; they are kept, and the next start tries again."""

    code = "stuck_halfway"


class Outcome(StrEnum):
    """What recovery did about a leftover."""

    ROLLED_BACK = "the server has the files from before the restore"
    FINISHED = "the restore was complete, its leftovers were removed"
    BUSY = "another restore is working with it"
    FAILED = "could not be settled"


@dataclass(frozen=True, slots=True)
class Recovered:
    """One leftover of an interrupted restore, and what became of it."""

    root: Path
    place: Path
    outcome: Outcome
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{shown(self.place)}: {self.outcome}"
        return f"{text}: {'; '.join(self.problems)}" if self.problems else text


@dataclass(frozen=True, slots=True)
class Staging:
    """The root of the new tree, for a ``TreeWriter``."""

    root_fd: int


class WayBack:
    """One restore's hidden directory. Not for several threads, but the new tree may be written by many."""

    def __init__(self, live: Jail, place: UndoPlace, journal: Journal, before: Status, *, stable_inodes: bool) -> None:
        self.live = live
        self._place = place
        self._journal = journal
        self._before = before
        self._stable_inodes = stable_inodes
        self._committed = False
        self._new_fd = enter(place.fd, NEW)
        self._old_fd = enter(place.fd, OLD)

    @classmethod
    def begin(cls, root: Path) -> Self:
        """Make the hidden directory; the server's files stay as they are.

        Raises ``UnusableRoot``, ``Unsupported`` when there is no place for it, or ``OSError``.
        """
        live = Jail(root)
        reasons = []
        try:
            for make in (make_beside, make_inside):
                try:
                    return cls._begin_at(live, make)
                except OSError as error:
                    if error.errno not in _UNUSABLE:
                        raise
                    reasons.append(error.strerror)
            raise Unsupported(
                f"the old files of {shown(root)} cannot be kept during a restore: no directory for them can be made "
                f"beside it ({reasons[0]}) or in it ({reasons[1]}); make the directory above it writable for the "
                "daemon, or restore in mode straight"
            )
        except BaseException:  # nobody else could close it
            live.close()
            raise

    @classmethod
    def _begin_at(cls, live: Jail, make: Callable[[Jail], UndoPlace]) -> Self:
        facts = os.fstat(live.root_fd)
        before = Status.of(facts)
        withheld = os.geteuid() != 0 and facts.st_mode & stat.S_IRWXU != stat.S_IRWXU
        place = make(live)
        journal = None
        try:
            os.mkdir(NEW, 0o700, dir_fd=place.fd)
            os.mkdir(OLD, 0o700, dir_fd=place.fd)
            journal = Journal.create(place.fd, JOURNAL, facts.st_ino)
            journal.append(Settle(b"", before, before if withheld else None))
            if withheld:
                os.fchmod(live.root_fd, before.mode | stat.S_IRWXU)
            stable = try_renaming(live.root_fd, place)
            _inherit_group(facts, place.fd)
            way_back = cls(live, place, journal, before, stable_inodes=stable)
        except BaseException:  # what was made has no other owner yet
            if journal is not None:
                journal.close()
            with contextlib.suppress(OSError):
                place.discard()
                _restore_root(live.root_fd, before)
            place.close()
            raise
        _restore_times(live.root_fd, before)
        return way_back

    @property
    def staging(self) -> Staging:
        """Where the new tree is to be written."""
        return Staging(self._new_fd)

    def exchange(self, plan: Plan, accept: Callable[[int], None]) -> None:
        """Put the new tree in place of the old one. After any error, call ``roll_back``.

        ``accept`` gets the bytes of single files that will go out, and may raise to prevent it: nothing has
        been changed by then.
        """
        work = self._work()
        try:
            accept(work.plan(plan))
            # From here on a power cut must find the plan on the disk before any part of it.
            self._journal.sync()
            os.fsync(self._place.fd)
            os.fsync(self._place.holder_fd)
            work.carry_out(truncate=plan.truncate)
            work.settle()
        finally:
            work.close()

    def commit(self, *, fsync: bool) -> list[str]:
        """Let the new tree count, then remove the old one. Returns warnings.

        With ``fsync`` the new tree is on the disk before the old one goes. Raises ``OSError`` with nothing
        removed; then ``roll_back`` is the way on.
        """
        if fsync:
            sync_file_system(self._place.fd)
        os.rename(JOURNAL, COMMITTED, src_dir_fd=self._place.fd, dst_dir_fd=self._place.fd)
        self._committed = True
        try:
            os.fsync(self._place.fd)
            self._place.discard()
        except OSError as error:
            return [
                f"the replaced files could not all be removed from {shown(self._place.path)} ({error.strerror}); "
                "the next start tries again"
            ]
        finally:
            self.close()
        return []

    def roll_back(self) -> None:
        """Give the server its old files back and remove the new ones. Does nothing after ``commit``.

        Raises ``StuckHalfway`` when something could not be put back.
        """
        if self._committed or self._new_fd < 0:
            return
        try:
            work = self._work()
            try:
                problems = work.undo()
            finally:
                work.close()
            if problems:
                raise _stuck(self._place.path, problems)
            with contextlib.suppress(OSError):  # removed at the next start; the server has its files
                self._place.discard()
            _restore_times(self.live.root_fd, self._before)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything without settling anything. Safe to call twice."""
        if self._new_fd >= 0:
            os.close(self._new_fd)
            os.close(self._old_fd)
            self._new_fd = self._old_fd = -1
            self._journal.close()
            self._place.close()
            self.live.close()

    @staticmethod
    def recover(root: Path) -> list[Recovered]:
        """Settle what interrupted restores into ``root`` left behind: at start, before any job.

        What was not committed is rolled back, what was is finished; what a running restore works with is
        left alone. Problems stand in the result.
        """
        try:
            live = Jail(root)
        except UnusableRoot:
            return []
        with live:
            try:
                remove_trials(live.root_fd)  # first: afterwards the root's mode may forbid it
                return [_settle(live, place) for place in leftovers(live)]
            except OSError as error:
                reason = f"leftovers of restores cannot be looked for ({error.strerror})"
                return [Recovered(root, root, Outcome.FAILED, (reason,))]

    def _work(self) -> Exchange:
        return Exchange(
            self._journal,
            live_fd=self.live.root_fd,
            new_fd=self._new_fd,
            old_fd=self._old_fd,
            stable_inodes=self._stable_inodes,
        )


def _settle(live: Jail, place: UndoPlace) -> Recovered:
    """Finish or roll back one leftover."""
    committed = False
    try:
        committed = place.has(COMMITTED)
        if committed:
            with contextlib.closing(Journal.open(place.fd, COMMITTED)):
                place.discard()
            return Recovered(live.root, place.path, Outcome.FINISHED)
        if place.has(JOURNAL):
            _roll_back_leftover(live, place)
        else:
            _discard_untouched(place)
        return Recovered(live.root, place.path, Outcome.ROLLED_BACK)
    except BlockingIOError:
        return Recovered(live.root, place.path, Outcome.BUSY)
    except (OSError, WingsError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return Recovered(live.root, place.path, Outcome.FINISHED if committed else Outcome.FAILED, (reason,))


def _roll_back_leftover(live: Jail, place: UndoPlace) -> None:
    try:
        journal = Journal.open(place.fd, JOURNAL)
    except Damaged:
        _discard_untouched(place)  # its beginning is written before anything is done
        return
    with contextlib.closing(journal):
        if journal.root_inode != os.fstat(live.root_fd).st_ino:
            raise Damaged(
                f"it belongs to another directory than the one that is now at {shown(live.root)}; "
                "see whether its files are still needed, and remove it"
            )
        before = next((record.before for _, record in journal.forwards() if isinstance(record, Settle)), None)
        for name in (NEW, OLD):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=place.fd)
        new_fd, old_fd = enter(place.fd, NEW), enter(place.fd, OLD)
        try:
            work = Exchange(journal, live_fd=live.root_fd, new_fd=new_fd, old_fd=old_fd)
            try:
                problems = work.undo()
            finally:
                work.close()
        finally:
            os.close(new_fd)
            os.close(old_fd)
        if problems:
            raise _stuck(place.path, problems)
        place.discard()
        if before is not None:
            _restore_times(live.root_fd, before)


def _discard_untouched(place: UndoPlace) -> None:
    """Remove a place whose restore never began; ``Damaged`` if there are displaced files in it after all."""
    if place.has(OLD):
        old_fd = enter(place.fd, OLD)
        try:
            displaced = os.listdir(old_fd)
        finally:
            os.close(old_fd)
        if displaced:
            raise Damaged(f"{len(displaced)} displaced files or directories are in {shown(OLD)}, without a journal")
    place.discard()


def _inherit_group(facts: os.stat_result, place_fd: int) -> None:
    """New entries get the group they would get in the server's root."""
    if facts.st_mode & stat.S_ISGID:
        with contextlib.suppress(PermissionError):
            os.chown(NEW, -1, facts.st_gid, dir_fd=place_fd, follow_symlinks=False)
            os.chmod(NEW, 0o2700, dir_fd=place_fd)


def _restore_root(root_fd: int, before: Status) -> None:
    if stat.S_IMODE(os.fstat(root_fd).st_mode) != before.mode:
        os.fchmod(root_fd, before.mode)
    _restore_times(root_fd, before)


def _restore_times(root_fd: int, before: Status) -> None:
    with contextlib.suppress(PermissionError):  # not the owner: then the time stays as our own changes left it
        os.utime(root_fd, ns=(before.atime_ns, before.mtime_ns))


def _stuck(place: Path, problems: list[str]) -> StuckHalfway:
    some = ", ".join(problems[:5]) + (", …" if len(problems) > 5 else "")
    return StuckHalfway(
        f"{len(problems)} of the old files could not be put back: {some}; they are kept in {shown(place)}: "
        "remove what hinders them and start the daemon again, which puts them back"
    )
