"""How the tables came to be what they are, one step per version.

``PRAGMA user_version`` counts the steps a file has been through. A step that was released is never
changed; a new one is added at the end.
"""

import sqlite3

# Set in every file of ours, so that another program's database is not taken for one: "WING" as a number.
APPLICATION_ID = 0x57494E47

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE servers (
            uuid    TEXT PRIMARY KEY,
            name    TEXT NOT NULL UNIQUE,
            path    BLOB NOT NULL UNIQUE,
            created TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE backups (
            uuid          TEXT PRIMARY KEY,
            server        TEXT,
            adapter       TEXT NOT NULL,
            format        TEXT,
            state         TEXT NOT NULL,
            created       TEXT NOT NULL,
            finished      TEXT,
            size          INTEGER NOT NULL,
            files         INTEGER,
            content_bytes INTEGER,
            checksum_type TEXT NOT NULL,
            checksum      TEXT NOT NULL,
            browsable     INTEGER NOT NULL,
            streaming     INTEGER NOT NULL,
            warnings      TEXT NOT NULL,
            error         TEXT,
            error_code    TEXT,
            verified      TEXT,
            verified_ok   INTEGER,
            job           TEXT
        ) STRICT
        """,
        "CREATE INDEX backups_by_server ON backups (server, created)",
        """
        CREATE TABLE jobs (
            id              TEXT PRIMARY KEY,
            kind            TEXT NOT NULL,
            server          TEXT,
            backup          TEXT,
            state           TEXT NOT NULL,
            stage           TEXT NOT NULL,
            bytes_processed INTEGER NOT NULL,
            bytes_total     INTEGER NOT NULL,
            files_processed INTEGER NOT NULL,
            files_total     INTEGER NOT NULL,
            created         TEXT NOT NULL,
            started         TEXT,
            finished        TEXT,
            error           TEXT,
            error_code      TEXT,
            result          TEXT
        ) STRICT
        """,
        "CREATE INDEX jobs_by_created ON jobs (created)",
        "CREATE INDEX jobs_unfinished ON jobs (id) WHERE finished IS NULL",
    ),
)

TABLES = frozenset({"servers", "backups", "jobs"})


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps this file has been through."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection) -> None:
    """Take the file through the steps it lacks, each in one transaction with its number."""
    for number in range(version_of(connection), len(STEPS)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in STEPS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
