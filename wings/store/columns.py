"""How Python values lie in SQLite columns, and the statements built from a table's column list."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

Value = str | int | bytes | None


def from_time(value: datetime | None) -> str | None:
    """UTC with microseconds, always equally long, so that text order is time order."""
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_time(text: str | None) -> datetime | None:
    """The reverse of ``from_time``."""
    return None if text is None else datetime.fromisoformat(text)


def from_uuid(value: UUID | None) -> str | None:
    """Lower-case text with dashes."""
    return None if value is None else str(value)


def to_uuid(text: str | None) -> UUID | None:
    """The reverse of ``from_uuid``."""
    return None if text is None else UUID(text)


def from_text(text: str | None) -> str | None:
    """Text SQLite can hold: what is not Unicode (undecodable file names in messages) is shown escaped."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


class Table:
    """The statements for one table whose first column is its key."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        # Names come from the code, never from outside; values are always bound.
        self._insert = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        assignments = ", ".join(f"{column} = ?" for column in columns[1:])
        self._update = f"UPDATE {name} SET {assignments} WHERE {columns[0]} = ?"  # noqa: S608
        self._delete = f"DELETE FROM {name} WHERE {columns[0]} = ?"  # noqa: S608
        self._select = f"SELECT {', '.join(columns)} FROM {name}"  # noqa: S608

    def insert(self, connection: sqlite3.Connection, values: Sequence[Value]) -> None:
        """Add a row. Raises ``sqlite3.IntegrityError`` when a unique value is taken."""
        connection.execute(self._insert, values)

    def update(self, connection: sqlite3.Connection, values: Sequence[Value]) -> bool:
        """Replace the row with the same key; whether there was one."""
        return connection.execute(self._update, (*values[1:], values[0])).rowcount > 0

    def delete(self, connection: sqlite3.Connection, key: Value) -> bool:
        """Remove the row; whether there was one."""
        return connection.execute(self._delete, (key,)).rowcount > 0

    def select(
        self, connection: sqlite3.Connection, rest: str = "", values: Sequence[Value] = ()
    ) -> list[tuple[Value, ...]]:
        """All rows that ``rest`` (``WHERE … ORDER BY …``) leaves."""
        return connection.execute(f"{self._select} {rest}", values).fetchall()
