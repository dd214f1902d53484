"""Removing whole trees by directory descriptors: nothing is followed, however deep the tree is (P8)."""

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass, field

from wings.files.directories import enter_opened_up

# Directories held open on the way down. Deeper ones are first moved up to the top of what is removed.
_LEVELS = 64

# Names taken from one directory at a time, so that one with millions of entries needs no memory for all.
_BATCH = 10_000

# How often a directory is emptied again when somebody keeps making files in it.
_TRIES = 50


@dataclass(slots=True)
class _Level:
    fd: int
    name: bytes
    pending: list[bytes] = field(default_factory=list)
    tries: int = 0


def remove(dir_fd: int, name: bytes) -> None:
    """Remove whatever stands at ``name``, a directory with everything in it. Absent counts as done.

    An ordinary user's own directories are made writable on the way. Raises ``OSError``; what was removed
    by then stays removed.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        _remove_directory(dir_fd, name)


def _remove_directory(dir_fd: int, name: bytes) -> None:
    levels: list[_Level] = []
    try:
        _descend(levels, dir_fd, name)
        while levels:
            level = levels[-1]
            if not level.pending and _empty_once(level):
                continue
            if level.pending:
                child = level.pending.pop()
                if len(levels) < _LEVELS:
                    _descend(levels, level.fd, child)
                else:
                    _move_up(level, child, levels[0])
            elif _ascend(levels, dir_fd):
                levels.pop()
    finally:
        for level in levels:
            os.close(level.fd)


def _descend(levels: list[_Level], dir_fd: int, name: bytes) -> None:
    try:
        levels.append(_Level(enter_opened_up(dir_fd, name), name))
    except FileNotFoundError:
        pass
    except NotADirectoryError:  # replaced by something else meanwhile
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(name, dir_fd=dir_fd)


def _empty_once(level: _Level) -> bool:
    """Remove what is no directory, note the directories; whether there may be more than one look could take."""
    with os.scandir(level.fd) as entries:
        names = [
            (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False))
            for entry, _ in zip(entries, range(_BATCH), strict=False)
        ]
    for name, is_directory in names:
        if is_directory:
            level.pending.append(name)
        else:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # found again at the next look
                os.unlink(name, dir_fd=level.fd)
    return len(names) == _BATCH


def _ascend(levels: list[_Level], dir_fd: int) -> bool:
    """Remove the emptied directory itself; whether that is done, or it has to be emptied once more."""
    level = levels[-1]
    try:
        os.rmdir(level.name, dir_fd=levels[-2].fd if len(levels) > 1 else dir_fd)
    except FileNotFoundError:
        pass
    except OSError as error:
        level.tries += 1
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or level.tries > _TRIES:
            raise
        return False
    os.close(level.fd)
    return True


def _move_up(level: _Level, name: bytes, top: _Level) -> None:
    # A directory that moves to another parent must be writable itself: its ".." changes.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.close(enter_opened_up(level.fd, name))
    moved = b".wings-removed-" + secrets.token_hex(8).encode()
    with contextlib.suppress(FileNotFoundError):
        os.rename(name, moved, src_dir_fd=level.fd, dst_dir_fd=top.fd)
        top.pending.append(moved)
