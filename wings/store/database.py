"""One SQLite file and the one thread that touches it."""

import asyncio
import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from wings.errors import shown
from wings.store.errors import DAMAGE, StoreClosed, StoreError, StoreTooNew, primary_code, translated, unusable
from wings.store.migrations import APPLICATION_ID, STEPS, TABLES, migrate, version_of

T = TypeVar("T")

BUSY_TIMEOUT = 5.0  # seconds to wait for another program, such as an operator's sqlite3 shell
SIDE_FILES = ("-wal", "-shm")


class _Damage(Exception):
    """The file is not a usable database; internal to opening."""


class Database:
    """The open store. Every committed transaction survives a power cut (WAL with ``synchronous=FULL``).

    ``replaced`` is where a damaged file was kept when this one had to be started afresh, else ``None``;
    ``damage`` says what was wrong with it.
    """

    def __init__(
        self, path: Path, thread: ThreadPoolExecutor, connection: sqlite3.Connection, replaced: Path | None, damage: str
    ) -> None:
        self.path = path
        self.replaced = replaced
        self.damage = damage
        self._thread = thread
        self._connection = connection
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> "Database":
        """Open or make the file (mode 0600, its directory 0700 where missing) and bring its tables up to date.

        A file that is damaged, or is no database of ours, is kept aside under another name and an empty
        one takes its place. Raises ``StoreTooNew`` for a later version's file, ``StoreFull`` without room,
        and ``StoreError`` when the file cannot be used; none of these change it.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            connection, replaced, damage = await asyncio.get_running_loop().run_in_executor(
                thread, _open_or_replace, path
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(path, thread, connection, replaced, damage)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in one transaction on the store's thread; it is durable when this returns.

        Calls are served in order. If ``work`` raises, nothing it did remains. A caller that is cancelled
        while waiting does not learn whether the transaction took place. ``sqlite3.IntegrityError`` passes
        through for the tables' owners to explain; other errors of SQLite become ``StoreError`` or
        ``StoreFull``.
        """
        if self._closed:
            raise StoreClosed(f"the store {shown(self.path)} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    async def close(self) -> None:
        """Finish what was asked for so far and close the file. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._thread.shutdown(wait=False)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                if isinstance(result, sqlite3.Cursor):  # it would keep the file open, and be used on other threads
                    raise TypeError("a cursor must not leave the store's thread; return its rows")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise translated(self.path, error) from error


def _open_or_replace(path: Path) -> tuple[sqlite3.Connection, Path | None, str]:
    try:
        _prepare(path)
        try:
            return _connect(path), None, ""
        except _Damage as damage:
            kept = _keep_aside(path)
            _prepare(path)
            return _connect(path), kept, str(damage)
    except OSError as error:
        raise unusable(path, error) from error
    except sqlite3.Error as error:
        raise translated(path, error) from error


def _prepare(path: Path) -> None:
    """See to it that there is a regular file with the right mode: SQLite's side files inherit it."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o700, parents=True)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a fifo would wait for ever
            raise StoreError(f"{shown(path)} is in the way of the store and not a regular file; move it elsewhere")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    _sync_directory(path.parent)


def _connect(path: Path) -> sqlite3.Connection:
    _check_whole(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        _check_ours(path, connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
        _check_tables(connection)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error) and primary_code(error) in DAMAGE:
            raise _Damage(str(error)) from error
        raise
    return connection


def _check_whole(path: Path) -> None:
    """Look for damage without changing anything: a connection that may write would drop the log of a damaged file."""
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
    try:
        problems = [text for (text,) in connection.execute("PRAGMA quick_check(3)").fetchall()]
    except sqlite3.Error as error:
        if primary_code(error) not in DAMAGE:
            return  # such as a journal to be rolled back first, which takes a connection that may write
        raise _Damage(str(error)) from error
    finally:
        connection.close()
    if problems != ["ok"]:
        raise _Damage("; ".join(problems))


def _check_ours(path: Path, connection: sqlite3.Connection) -> None:
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    version = version_of(connection)
    if identity != APPLICATION_ID and (objects or version):
        raise _Damage("a database of another program")
    if version > len(STEPS):
        raise StoreTooNew(
            f"the store {shown(path)} was written by a later version of wings (its version {version}, ours "
            f"{len(STEPS)}); install that version again, or move the file away to start with an empty store"
        )


def _check_tables(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    present = {name for (name,) in rows}
    if missing := TABLES - present:
        raise _Damage(f"tables are missing: {', '.join(sorted(missing))}")


def _keep_aside(path: Path) -> Path:
    """Rename the file and its side files together, so that what is in them can still be looked at."""
    stem = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    kept = path.with_name(stem)
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{stem}-{number}")
    for suffix in SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{kept}{suffix}")
    os.rename(path, kept)
    _sync_directory(path.parent)
    return kept


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
