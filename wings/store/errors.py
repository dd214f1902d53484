"""What can go wrong with the store as a whole."""

import errno
import sqlite3
from pathlib import Path

from wings.errors import NoSpace, Unavailable, shown


class StoreError(Unavailable):
    """The store cannot be opened, read or written."""

    code = "store"


class StoreTooNew(StoreError):
    """The file was written by a later version of this program."""

    code = "store_too_new"


class StoreClosed(StoreError):
    """Used after ``close``."""

    code = "store_closed"


class StoreDamaged(StoreError):
    """The file turned out to be damaged while in use."""

    code = "store_damaged"


class StoreFull(NoSpace):
    """The disk of the store has no room left."""

    code = "store_full"


DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 for errors of the Python module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def translated(path: Path, error: sqlite3.Error) -> StoreError | StoreFull:
    """The error of ours that says what the operator can do."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"no space left for the store {shown(path)}; free some on its disk")
    if code in DAMAGE:
        return StoreDamaged(
            f"the store {shown(path)} is damaged ({error}); restart the daemon: it sets the file aside and "
            "finds the backups again from their storages"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"the store {shown(path)} is locked by another program; close it and try again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreError(
            f"the store {shown(path)} cannot be written ({error}); check owner and mode of the file and its directory"
        )
    return StoreError(f"the store {shown(path)} does not work: {error}")


def unusable(path: Path, error: OSError) -> StoreError | StoreFull:
    """The same for an error of the operating system around the file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"no space left for the store {shown(path)}; free some on its disk")
    return StoreError(f"the store {shown(path)} cannot be used: {error.strerror}; check its directory and permissions")
