"""One walk over a server's tree that survives whatever its user does meanwhile (P8, W-1, W-2, W-24, W-25).

Everything is reached by descriptors of directories, never by a path from the root, and nothing is followed:
a directory that is swapped for a link during the walk leads nowhere. What could not be taken is noted in
the report with its reason; the walk itself goes on.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter_ns

from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.report import SourceReport, Trouble
from wings.archives.work import Work
from wings.files.descent import ENCODING, ERRORS, Descent, Level, Replaced
from wings.files.ignore import Decision, Rules
from wings.files.jail import Jail, OutsideJail
from wings.files.reading import FileContent, SparseContent, WholeContent
from wings.files.undo_place import UNDO_PREFIX

# What a restore keeps in the root while it works, or left there in a crash, is no file of the server.
_RESTORE = UNDO_PREFIX.decode()

# O_NONBLOCK: a file may have become a fifo that nobody writes to. O_NOATIME spares a write per file.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOATIME
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOATIME

# Bytes. Nothing but malice nests like that, and every entry below would carry the whole path.
_LONGEST_PATH = 64 << 10
# Files up to this size are read in one piece right after they are opened, so they cannot come out torn.
_SMALL = 64 << 10
# A small file in the page cache is read in 1 to 5 µs, one on a disk in 50 and more.
_SLOW_READ_NS = 30_000
# One slow read may be the scheduler's doing; after two in a row so many files are opened ahead before the
# disk is judged again.
_AHEAD_FOR = 256

# Not the entry's fault: going on would leave out file after file.
_OUT_OF_MEANS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_GONE = {errno.ENOENT, errno.ESTALE}
# What opening says when something of another kind stands there by now: a link, a socket, a file, a directory.
_OF_OTHER_KIND = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENOTDIR, errno.EISDIR}
# How often something is opened that was of another kind and, looked at, is what it was listed as again.
_TRIES = 5

_SPECIAL_KINDS = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class TreeSource:
    """A server's tree as a ``Source``, ignore rules applied.

    Parents come before children. Of a directory first everything that is no directory comes, in the order
    of the disk; then each subdirectory, its own entry followed by all that is in it. Mount points are
    crossed. Memory is bounded by the names of the subdirectories on the way down, open descriptors by 64
    levels and ``prefetch`` files; a directory whose path is over 64 KiB long counts as unreadable.
    ``OSError`` is raised only when the process itself is out of descriptors or memory; ``Cancelled`` when
    ``work`` says so. Bytes and files are counted for ``work`` by whoever reads them, not here.

    ``prefetch``: on a disk that answers slowly up to so many small files of a directory are opened ahead,
    so that it can fetch them at once; 0 never does.
    """

    def __init__(self, jail: Jail, rules: Rules, work: Work, *, prefetch: int = 64) -> None:
        """``jail`` stays the caller's and must be open for as long as the source is used."""
        self.report = SourceReport()
        self._jail = jail
        self._decide = None if rules.empty else rules.decide
        self._work = work
        self._prefetch = prefetch
        self._ahead_left = 0
        self._slow_before = False

    def __iter__(self) -> Iterator[Item]:
        descent = Descent(self._jail)
        try:
            yield from self._list(descent.current)
            root = descent.current
            root.subdirectories[:] = [name for name in root.subdirectories if not name.startswith(_RESTORE)]
            while descent:
                level = descent.current
                if not level.subdirectories or not self._back(descent):
                    descent.pop()
                    continue
                entered = self._enter(level, level.subdirectories.pop())
                if not level.subdirectories:
                    level.close()
                if entered is None:
                    continue
                child, item = entered
                if child is not None:
                    descent.push(child)
                if item is not None:
                    self.report.directories += 1
                    yield item
                if child is not None:
                    yield from self._list(child)
        finally:
            descent.close()

    def again(self, entry: Entry) -> Item | None:
        """Open a file once more that came out shorter than announced; ``None`` when it is gone by now."""
        try:
            fd = self._jail.open(entry.path, _FILE & ~os.O_NOATIME)
        except (OSError, OutsideJail):
            return None
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            return None
        return self._streamed(entry.path, fd, facts)

    # Directories

    def _enter(self, level: Level, name: str) -> tuple[Level | None, Item | None] | None:
        """Open a subdirectory: where to go on, and the entry to store; ``None`` if it is left out or gone."""
        self._work.check()
        path = level.below(name)
        if len(path) > _LONGEST_PATH:
            self.report.note(Trouble.UNREADABLE_DIRECTORY, path[:100] + b"...", "nested too deep")
            return None
        stored = True
        if self._decide is not None:
            decision = self._decide(path, True)
            if decision is Decision.EXCLUDE:
                self.report.note(Trouble.IGNORED, path)
                return None
            stored = decision is Decision.INCLUDE
        for tries_left in reversed(range(_TRIES)):
            try:
                fd, facts = _opened(name, _DIRECTORY, level.fd)
            except OSError as error:
                if error.errno in _OUT_OF_MEANS:
                    raise
                closed = self._look(level.fd, name, path)
                if closed is None:
                    return None
                if error.errno in _OF_OTHER_KIND and tries_left:
                    continue
                self.report.note(Trouble.UNREADABLE_DIRECTORY, path, error.strerror or str(error))
                return (None, _directory_item(path, closed)) if stored else None
            return Level(path, fd, facts), _directory_item(path, facts) if stored else None
        return None

    def _look(self, dir_fd: int, name: str, path: bytes) -> os.stat_result | None:
        """The directory that could not be opened; ``None``, noted, if there is none any more."""
        try:
            facts = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                self.report.note(Trouble.VANISHED, path)
            else:
                self.report.note(Trouble.UNREADABLE_DIRECTORY, path, error.strerror or str(error))
            return None
        if not stat.S_ISDIR(facts.st_mode):
            self.report.note(Trouble.VANISHED, path, "replaced meanwhile")
            return None
        return facts

    def _judge_deleted(self, level: Level, empty: bool) -> None:
        """Note a directory deleted under our hands: its names simply end, as if there were no more.

        Some file systems in user space count no links at all, so only a change says something.
        """
        deleted_before = not level.path and empty
        if os.fstat(level.fd).st_nlink or not (level.links or deleted_before):
            return
        if level.path:
            self.report.note(Trouble.VANISHED, level.path, "deleted while it was read")
        else:  # an empty backup would be taken for the server's
            self.report.note(Trouble.UNREADABLE_DIRECTORY, b"", "the server's directory was deleted")

    def _back(self, descent: Descent) -> bool:
        """Have the current directory open to go on in it; whether it is there and still the same."""
        try:
            descent.reopen()
        except Replaced:
            self.report.note(Trouble.UNREADABLE_DIRECTORY, descent.path(), "replaced while it was read")
            return False
        except OSError as error:
            if error.errno in _OUT_OF_MEANS:
                raise
            if error.errno in _GONE:
                self.report.note(Trouble.VANISHED, descent.path(), "deleted or moved while it was read")
            else:
                self.report.note(Trouble.UNREADABLE_DIRECTORY, descent.path(), error.strerror or str(error))
            return False
        return True

    # What is in a directory

    def _list(self, level: Level) -> Iterator[Item]:
        """Yield what is no directory; remember the subdirectories."""
        report, decide, check = self.report, self._decide, self._work.check
        dir_fd, subdirectories = level.fd, level.subdirectories
        prefix = level.path + b"/" if level.path else b""
        pending: list[tuple[str, bytes]] = []  # small files to be opened together
        name = ""
        try:
            with os.scandir(dir_fd) as listing:
                for found in listing:
                    check()
                    name = found.name
                    try:
                        is_file = found.is_file(follow_symlinks=False)
                        if not is_file and found.is_dir(follow_symlinks=False):
                            subdirectories.append(name)
                            continue
                    except OSError as error:  # the disk gives the name but not the kind
                        self._judge_unopened(prefix + name.encode(ENCODING, ERRORS), error)
                        continue
                    path = prefix + name.encode(ENCODING, ERRORS)
                    if decide is not None and decide(path, False) is not Decision.INCLUDE:
                        report.note(Trouble.IGNORED, path)
                    elif not is_file:
                        item = self._symlink(dir_fd, name, path)
                        if item is not None:
                            yield item
                    elif self._ahead_left > 0:
                        pending.append((name, path))
                        if len(pending) >= self._prefetch:
                            yield from self._files_ahead(dir_fd, pending)
                            pending = []
                    else:
                        item = self._file(dir_fd, name, path)
                        if item is not None:
                            yield item
        except OSError as error:
            if error.errno in _OUT_OF_MEANS:
                raise
            report.note(Trouble.UNREADABLE_DIRECTORY, level.path, error.strerror or str(error))
        yield from self._files_ahead(dir_fd, pending)
        self._judge_deleted(level, empty=not name)
        subdirectories.reverse()

    def _symlink(self, dir_fd: int, name: str, path: bytes) -> Item | None:
        try:
            facts = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if not stat.S_ISLNK(facts.st_mode):
                self._judge_other_kind(path, facts.st_mode)
                return None
            target = os.readlink(name.encode(ENCODING, ERRORS), dir_fd=dir_fd)
        except OSError as error:
            if error.errno == errno.EINVAL:  # no link any more
                self.report.note(Trouble.VANISHED, path, "replaced meanwhile")
            else:
                self._judge_unopened(path, error)
            return None
        self.report.symlinks += 1
        return Item(Entry(path, EntryKind.SYMLINK, stat.S_IMODE(facts.st_mode), facts.st_mtime_ns, 0, target))

    def _file(self, dir_fd: int, name: str, path: bytes) -> Item | None:
        opened = self._open(dir_fd, name, path)
        if opened is None:
            return None
        fd, facts = opened
        if facts.st_size > _SMALL:
            return self._counted(self._streamed(path, fd, facts))
        started = perf_counter_ns()
        item = self._small(path, fd, facts)
        slow = perf_counter_ns() - started > _SLOW_READ_NS
        if slow and self._slow_before and self._prefetch > 0:
            self._ahead_left = _AHEAD_FOR
        self._slow_before = slow
        return item

    def _files_ahead(self, dir_fd: int, pending: list[tuple[str, bytes]]) -> Iterator[Item]:
        """Open all, let the disk fetch what they begin with, then yield one after the other."""
        self._ahead_left -= len(pending)
        opened: list[tuple[bytes, int, os.stat_result]] = []
        try:
            for name, path in pending:
                one = self._open(dir_fd, name, path)
                if one is not None:
                    fd, facts = one
                    opened.append((path, fd, facts))
                    if facts.st_size:
                        with suppress(OSError):  # advice only
                            os.posix_fadvise(fd, 0, min(facts.st_size, _SMALL), os.POSIX_FADV_WILLNEED)
            opened.reverse()
            while opened:
                path, fd, facts = opened.pop()
                if facts.st_size > _SMALL:
                    item: Item | None = self._counted(self._streamed(path, fd, facts))
                else:
                    item = self._small(path, fd, facts)
                if item is not None:
                    yield item
        finally:
            for _, fd, _ in opened:
                os.close(fd)

    def _open(self, dir_fd: int, name: str, path: bytes, tries_left: int = _TRIES) -> tuple[int, os.stat_result] | None:
        try:
            fd, facts = _opened(name, _FILE, dir_fd)
        except OSError as error:
            if error.errno not in _OF_OTHER_KIND or not tries_left:
                self._judge_unopened(path, error)
                return None
            try:
                mode = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode
            except OSError as second:
                self._judge_unopened(path, second)
                return None
            if stat.S_ISREG(mode):
                return self._open(dir_fd, name, path, tries_left - 1)
            self._judge_other_kind(path, mode)
            return None
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            self._judge_other_kind(path, facts.st_mode)
            return None
        return fd, facts

    def _small(self, path: bytes, fd: int, facts: os.stat_result) -> Item | None:
        """Read the file whole and close it: its size is what came out, so it is neither torn nor changed."""
        size = facts.st_size
        try:
            data = os.read(fd, size) if size else b""
            while len(data) < size and (more := os.read(fd, size - len(data))):
                data += more
        except OSError as error:
            self._judge_unopened(path, error)
            return None
        finally:
            os.close(fd)
        entry = Entry(path, EntryKind.FILE, facts.st_mode & 0o7777, facts.st_mtime_ns, len(data))
        return self._counted(Item(entry, WholeContent(data)))

    def _streamed(self, path: bytes, fd: int, facts: os.stat_result) -> Item:
        size = facts.st_size
        kind = SparseContent if facts.st_blocks * 512 < size else FileContent
        entry = Entry(path, EntryKind.FILE, facts.st_mode & 0o7777, facts.st_mtime_ns, size)
        return Item(entry, kind(fd, path, size, facts.st_mtime_ns, self.report))

    def _counted(self, item: Item) -> Item:
        self.report.files += 1
        self.report.content_bytes += item.entry.size
        return item

    # Why something is not there

    def _judge_unopened(self, path: bytes, error: OSError) -> None:
        if error.errno in _OUT_OF_MEANS:
            raise error
        if error.errno in _GONE:
            self.report.note(Trouble.VANISHED, path)
        else:
            self.report.note(Trouble.UNREADABLE_FILE, path, error.strerror or str(error))

    def _judge_other_kind(self, path: bytes, mode: int) -> None:
        special = _SPECIAL_KINDS.get(stat.S_IFMT(mode))
        if special is not None:
            self.report.note(Trouble.SPECIAL, path, special)
        else:
            self.report.note(Trouble.VANISHED, path, "replaced meanwhile")


def _opened(name: str, flags: int, dir_fd: int) -> tuple[int, os.stat_result]:
    """Open and look, without touching the access time where that is allowed: to the owner and to root."""
    try:
        fd = os.open(name, flags, dir_fd=dir_fd)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        fd = os.open(name, flags & ~os.O_NOATIME, dir_fd=dir_fd)
    try:
        return fd, os.fstat(fd)
    except OSError:
        os.close(fd)
        raise


def _directory_item(path: bytes, facts: os.stat_result) -> Item:
    return Item(Entry(path, EntryKind.DIRECTORY, facts.st_mode & 0o7777, facts.st_mtime_ns))
