"""Emptying a server's directory in place, for restores that have no room to keep the old files."""

import contextlib
import os
import stat
from collections.abc import Iterator

from wings.files.directories import Directory, DirectoryCache, enter
from wings.files.removal import remove
from wings.files.survivors import Survivors
from wings.files.undo_place import UNDO_PREFIX


def clear(root_fd: int, survivors: Survivors) -> None:
    """Remove everything below a root but the survivors. Nothing is followed. Raises ``OSError``."""
    cache = _cache(root_fd)
    try:
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            with cache.using(path) as directory:
                for name, here in _entries(directory.fd, path):
                    if here in survivors.entries or (not path and name.startswith(UNDO_PREFIX)):
                        continue
                    if here in survivors.directories:
                        waiting.append(here)
                    else:
                        remove(directory.fd, name)
    finally:
        cache.close()


def occupied_bytes(root_fd: int) -> int:
    """What the files below a root take on the disk, as far as they can be seen."""
    cache = _cache(root_fd)
    total = 0
    try:
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            with contextlib.suppress(OSError), cache.using(path) as directory:
                for name, here in _entries(directory.fd, path):
                    facts = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
                    is_directory = stat.S_ISDIR(facts.st_mode)
                    if is_directory:
                        waiting.append(here)
                    if is_directory or facts.st_nlink == 1:
                        total += facts.st_blocks * 512
    finally:
        cache.close()
    return total


def _cache(root_fd: int) -> DirectoryCache:
    def open_it(parent: Directory, name: bytes, path: bytes) -> Directory:
        return Directory(enter(parent.fd, name))

    return DirectoryCache(Directory(enter(root_fd, b".")), open_it)


def _entries(fd: int, path: bytes) -> Iterator[tuple[bytes, bytes]]:
    with os.scandir(fd) as entries:
        names = [os.fsencode(entry.name) for entry in entries]
    for name in names:
        yield name, path + b"/" + name if path else name
