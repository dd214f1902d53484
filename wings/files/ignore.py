"""Which of a server's files stay out of a backup: gitignore lines from the request, the server and its egg.

Backup-drivers §13. The last line that speaks about a path decides; a line that names a directory speaks
about everything below it. Other than in git, a ``!`` line also brings back what lies below an excluded
directory: that directory is then walked without being stored itself.
"""

import os
import stat
from collections.abc import Iterable
from enum import Enum
from typing import Self

from wings.files.ignore_patterns import Ancestry, Line, UnusableLine, compile_any, parse_line
from wings.files.jail import Jail, OutsideJail

IGNORE_FILE = b".pteroignore"
PELICAN_IGNORE_FILE = b".pelicanignore"

_LARGEST_FILE = 1 << 20  # §13.1
# A hostile file of a megabyte of one-letter lines would make every entry of the walk cost milliseconds.
_MOST_LINES = 10_000


class Decision(Enum):
    """What a walk does with one entry."""

    INCLUDE = "include"
    EXCLUDE = "exclude"  # a directory: do not enter it either
    DESCEND = "descend"  # a directory that is not stored, with something below that may be


class Rules:
    """A compiled list of lines. Immutable, safe to use from several threads.

    ``accepted`` holds the kept lines, trimmed, joined by newlines (``ignore_raw`` of §13.2); ``dropped``
    the lines that are no pattern; ``remarks`` what the operator should know about where lines came from.
    ``empty`` means that everything is included, so that nobody needs to ask.
    """

    __slots__ = ("_groups", "accepted", "dropped", "empty", "remarks")

    def __init__(
        self, lines: Iterable[Line], accepted: str, dropped: tuple[str, ...], remarks: tuple[str, ...]
    ) -> None:
        self.accepted = accepted
        self.dropped = dropped
        self.remarks = remarks
        self._groups = _grouped(lines)
        self.empty = not self._groups

    @classmethod
    def compile(cls, lines: Iterable[str], denylist: Iterable[str] = (), *, remarks: tuple[str, ...] = ()) -> Self:
        """Compile ``lines``, later ones outranking earlier ones, and ``denylist`` above all of them.

        Blank lines and comments are left out; lines that are no pattern are dropped, never an error.
        """
        kept: dict[str, Line] = {}
        accepted: list[str] = []
        dropped: list[str] = []
        for text in (*lines, *denylist):
            trimmed = text.strip()
            if not trimmed or trimmed.startswith("#"):
                continue
            try:
                line = kept.pop(trimmed, None) or parse_line(trimmed)  # said twice, the later place counts
            except UnusableLine:
                dropped.append(trimmed)
            else:
                kept[trimmed] = line
                accepted.append(trimmed)
        return cls(kept.values(), "\n".join(accepted), tuple(dropped), remarks)

    def decide(self, path: bytes, is_directory: bool) -> Decision:
        """Judge one path relative to the root, ``b""`` being the root itself, which is always included."""
        if not path:
            return Decision.INCLUDE
        # Python's "." and "$" treat newlines in names as ends of lines; no pattern can hold one, so any
        # character that no pattern names does in its place.
        text = path.decode("utf-8", "surrogateescape").replace("\n", "\udc0a")
        subject = text + "/" if is_directory else text
        groups = self._groups
        for index, group in enumerate(groups):
            if group.matches(subject) is not None:
                if group.includes:
                    return Decision.INCLUDE
                if is_directory and any(later.may_hold(text) for later in groups[:index] if later.includes):
                    return Decision.DESCEND
                return Decision.EXCLUDE
        return Decision.INCLUDE


class _Group:
    """Neighbouring lines of one kind, asked in one go: among them the order means nothing."""

    __slots__ = ("_ancestries", "includes", "matches")

    def __init__(self, lines: list[Line]) -> None:
        self.includes = lines[0].includes
        self.matches = compile_any(lines).match
        self._ancestries = [Ancestry(line) for line in lines] if self.includes else []

    def may_hold(self, directory: str) -> bool:
        """Whether a path below ``directory`` may match."""
        return any(ancestry.covers(directory) for ancestry in self._ancestries)


def _grouped(lines: Iterable[Line]) -> tuple[_Group, ...]:
    """Group neighbours of one kind, the last ones first."""
    runs: list[list[Line]] = []
    for line in lines:
        if runs and runs[-1][0].includes == line.includes:
            runs[-1].append(line)
        else:
            runs.append([line])
    return tuple(_Group(run) for run in reversed(runs))


def gather(request_lines: Iterable[str], jail: Jail, denylist: Iterable[str]) -> Rules:
    """Compile the lines of a request, then of the server's own ignore file, then of its egg's denylist.

    The server's file is ``.pteroignore``, or ``.pelicanignore`` if there is none; one that is larger than
    1 MiB, not UTF-8, a link or unreadable is left out as a whole, which ``remarks`` says (§13.1).
    """
    file_lines, remarks = _server_lines(jail)
    return Rules.compile((*request_lines, *file_lines), denylist, remarks=remarks)


def _server_lines(jail: Jail) -> tuple[list[str], tuple[str, ...]]:
    for name in (IGNORE_FILE, PELICAN_IGNORE_FILE):
        try:
            return _read_lines(jail, name), ()
        except FileNotFoundError:
            continue
        except (OutsideJail, OSError, _Unfit) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            return [], (f"{name.decode()} was left out of account: {reason}",)
    return [], ()


class _Unfit(Exception):
    """The ignore file is of a kind or size that is not taken."""


def _read_lines(jail: Jail, name: bytes) -> list[str]:
    fd = jail.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _Unfit("not a regular file")
        data = b""
        while len(data) <= _LARGEST_FILE and (more := os.read(fd, _LARGEST_FILE + 1 - len(data))):
            data += more
    finally:
        os.close(fd)
    if len(data) > _LARGEST_FILE:
        raise _Unfit("larger than 1 MiB")
    try:
        text = data.decode("utf-8-sig")  # editors on Windows put a mark in front, which is no part of a name
    except UnicodeDecodeError as error:
        raise _Unfit("not UTF-8") from error
    lines = text.splitlines()
    if len(lines) > _MOST_LINES:
        raise _Unfit(f"more than {_MOST_LINES} lines")
    return lines
