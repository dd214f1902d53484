"""The way from the root down to where a walk is, of any depth, with few descriptors and little memory."""

import os
import sys

from wings.files.jail import Jail, OutsideJail

# Ancestors kept open; those above are closed and opened again when the walk comes back to them.
OPEN_LEVELS = 64

# As os.fsencode does it, without its cost: names come from scandir as text.
ENCODING = sys.getfilesystemencoding()
ERRORS = sys.getfilesystemencodeerrors()


class Replaced(Exception):
    """Another directory, or something else, stands where a directory was that the walk had left open."""


class Level:
    """A directory on the way: its path and descriptor while it is open, and what is left to enter."""

    __slots__ = ("device", "fd", "inode", "links", "name", "path", "subdirectories")

    def __init__(self, path: bytes, fd: int, facts: os.stat_result) -> None:
        """Take over ``fd``; ``facts`` are what ``fstat`` said of it."""
        self.path = path
        self.name = path.rpartition(b"/")[2]
        self.fd = fd
        self.device = facts.st_dev
        self.inode = facts.st_ino
        self.links = facts.st_nlink
        self.subdirectories: list[str] = []  # in reverse, the next one last

    def below(self, name: str) -> bytes:
        """The path of a name in this directory."""
        encoded = name.encode(ENCODING, ERRORS)
        return self.path + b"/" + encoded if self.path else encoded

    def close(self) -> None:
        """Give back the descriptor, and the path: together those of a deep tree take the square of its depth."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.path = b""


class Descent:
    """The levels from the root to the current directory. Never more than ``OPEN_LEVELS`` of them are open."""

    def __init__(self, jail: Jail) -> None:
        """Start at the jail's root."""
        self._jail = jail
        fd = jail.open_directory(b"")
        self._levels = [Level(b"", fd, os.fstat(fd))]

    def __bool__(self) -> bool:
        return bool(self._levels)

    @property
    def current(self) -> Level:
        """The deepest level."""
        return self._levels[-1]

    def push(self, level: Level) -> None:
        """Go down."""
        self._levels.append(level)
        if len(self._levels) > OPEN_LEVELS:
            self._levels[-1 - OPEN_LEVELS].close()

    def pop(self) -> None:
        """Go up."""
        self._levels.pop().close()

    def path(self) -> bytes:
        """The path of the current directory, whether it is open or not."""
        return b"/".join([level.name for level in self._levels[1:]])

    def reopen(self) -> None:
        """Open the current level again if it was closed.

        Raises ``Replaced`` if it is not the same directory any more, ``OSError`` of opening it.
        """
        level = self._levels[-1]
        if level.fd >= 0:
            return
        path = self.path()
        try:
            fd = self._jail.open_directory(path)
        except OutsideJail as error:
            raise Replaced from error
        facts = os.fstat(fd)
        if (facts.st_dev, facts.st_ino) != (level.device, level.inode):
            os.close(fd)
            raise Replaced
        level.fd, level.path = fd, path

    def close(self) -> None:
        """Give back everything. Safe to call twice."""
        while self._levels:
            self.pop()
