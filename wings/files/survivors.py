"""What a server's denylist protects: kept out of a restore, and left alone by one that truncates (W-22)."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wings.files.directories import Directory, DirectoryCache, enter, enter_opened_up
from wings.files.ignore import Decision, Rules


@dataclass(frozen=True, slots=True)
class Survivors:
    """Paths that stay when a server is truncated.

    ``entries`` stay as they are, with everything below. ``directories`` stay because something in them
    does; the rest of what is in them goes. ``bytes`` is the size of all files that stay.
    """

    directories: frozenset[bytes] = frozenset()
    entries: frozenset[bytes] = frozenset()
    bytes: int = 0


NONE = Survivors()


class Denylist:
    """The egg's denylist of one server, as lines of ignore rules (backup-drivers §13)."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = Rules.compile(lines)

    def denies(self, path: bytes) -> bool:
        """Whether this path, or a directory above it, is on the list."""
        return not self._rules.empty and self._rules.decide(path, False) is Decision.EXCLUDE

    def survivors(self, root_fd: int) -> Survivors:
        """Look through a tree for what the list protects. Raises ``OSError`` where that cannot be seen."""
        if self._rules.empty:
            return NONE
        search = _Search(root_fd, self._rules)
        search.run()
        return Survivors(frozenset(search.directories), frozenset(search.entries), search.bytes)


class _Search:
    """One walk through a tree."""

    def __init__(self, root_fd: int, rules: Rules) -> None:
        self.directories: set[bytes] = set()
        self.entries: set[bytes] = set()
        self.bytes = 0
        self._rules = rules
        self._opened_up: list[tuple[bytes, int]] = []
        self._open = DirectoryCache(Directory(enter(root_fd, b".")), self._enter)

    def run(self) -> None:
        try:
            waiting = [(b"", False)]
            while waiting:
                path, stays = waiting.pop()
                # What is gone meanwhile need not be kept.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._open.using(path) as directory:
                    waiting.extend(self._look_in(path, directory, stays))
        finally:
            for path, mode in reversed(self._opened_up):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._open.using(path) as opened:
                    os.fchmod(opened.fd, mode)
            self._open.close()

    def _look_in(self, path: bytes, directory: Directory, stays: bool) -> Iterator[tuple[bytes, bool]]:
        with os.scandir(directory.fd) as found:
            for entry in found:
                name = os.fsencode(entry.name)
                here = path + b"/" + name if path else name
                is_directory = entry.is_dir(follow_symlinks=False)
                decision = Decision.EXCLUDE if stays else self._rules.decide(here, is_directory)
                if not stays and decision is Decision.EXCLUDE:
                    self.entries.add(here)
                    self._keep_parents(here)
                elif decision is Decision.DESCEND:
                    self.directories.add(here)
                    self._keep_parents(here)
                if is_directory:
                    yield here, decision is Decision.EXCLUDE
                elif decision is Decision.EXCLUDE:
                    self.bytes += _size(directory.fd, name)

    def _keep_parents(self, path: bytes) -> None:
        above = path.rpartition(b"/")[0]
        while above and above not in self.directories:
            self.directories.add(above)
            above = above.rpartition(b"/")[0]

    def _enter(self, parent: Directory, name: bytes, path: bytes) -> Directory:
        try:
            return Directory(enter(parent.fd, name))
        except PermissionError:  # an ordinary user's own directory whose mode shuts him out
            mode = stat.S_IMODE(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode)
            self._opened_up.append((path, mode))
            return Directory(enter_opened_up(parent.fd, name))


def _size(dir_fd: int, name: bytes) -> int:
    try:
        facts = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:  # gone, or in a directory that may be listed but not searched: the sum is for a limit only
        return 0
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0
