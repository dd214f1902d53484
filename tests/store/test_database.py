"""The store's file: made, migrated, transactional, and set aside when it is damaged."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wings.store.database import Database
from wings.store.errors import StoreClosed, StoreDamaged, StoreError, StoreFull, StoreTooNew
from wings.store.migrations import APPLICATION_ID, STEPS, TABLES


async def remember(database: Database, name: str) -> None:
    def insert(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO servers VALUES (?, ?, ?, 't')", (name, name, name.encode()))

    await database.run(insert)


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def set_aside(directory: Path) -> list[Path]:
    return sorted(directory.glob("wings.db.damaged-*"))


async def names(database: Database) -> list[str]:
    return await database.run(
        lambda connection: [name for (name,) in connection.execute("SELECT name FROM servers ORDER BY name")]
    )


async def test_makes_its_directory_and_keeps_it_to_itself(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "deep" / "root" / "wings.db")
    await remember(database, "one")
    for path in (tmp_path / "deep" / "root").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "deep" / "root").stat().st_mode) == 0o700
    await database.close()
    assert os.listdir(tmp_path / "deep" / "root") == ["wings.db"]


async def test_narrows_the_mode_of_a_file_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "wings.db"
    path.touch(0o644)
    await (await Database.open(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_waits_for_the_disk_before_it_says_done(database: Database) -> None:
    settings = await database.run(
        lambda connection: [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    )
    assert settings == ["wal", 2, 1, 5000]


async def test_everything_runs_on_one_thread_of_its_own(database: Database) -> None:
    seen = await asyncio.gather(*(database.run(lambda _: threading.current_thread().name) for _ in range(20)))
    assert len(set(seen)) == 1
    assert seen[0].startswith("store")


async def test_remembers_across_restarts(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "wings.db")
    assert database.replaced is None
    await remember(database, "one")
    await database.close()
    again = await Database.open(tmp_path / "wings.db")
    assert await names(again) == ["one"]
    assert again.replaced is None
    await again.close()


async def test_what_fails_leaves_nothing(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO servers VALUES ('a', 'a', x'61', 't')")
        raise LookupError("in the middle")

    with pytest.raises(LookupError):
        await database.run(half)
    with pytest.raises(sqlite3.IntegrityError):
        await database.run(
            lambda connection: connection.executemany(
                "INSERT INTO servers VALUES (?, ?, ?, 't')", [("a", "a", b"1"), ("b", "a", b"2")]
            )
        )
    assert await names(database) == []


async def test_cursors_stay_on_their_thread(database: Database) -> None:
    with pytest.raises(TypeError, match="cursor"):
        await database.run(lambda connection: connection.execute("INSERT INTO servers VALUES ('a', 'a', x'61', 't')"))
    assert await names(database) == []


async def test_a_cancelled_caller_does_not_harm_the_next(database: Database) -> None:
    slow = asyncio.create_task(database.run(lambda connection: threading.Event().wait(0.1)))
    await asyncio.sleep(0.02)
    slow.cancel()
    await remember(database, "next")
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert await names(database) == ["next"]


async def test_closed_means_closed(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "wings.db")
    pending = asyncio.create_task(remember(database, "just in time"))
    await asyncio.sleep(0)
    await database.close()
    await pending
    await database.close()
    with pytest.raises(StoreClosed):
        await remember(database, "too late")
    again = await Database.open(tmp_path / "wings.db")
    assert await names(again) == ["just in time"]
    await again.close()


async def test_what_was_told_done_survives_kill(tmp_path: Path) -> None:
    """P5: the process dies right after ``run`` returned."""
    path = tmp_path / "wings.db"
    program = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.store.test_database import remember\n"
        "from wings.store.database import Database\n"
        "async def main():\n"
        "    database = await Database.open(Path(sys.argv[1]))\n"
        "    for name in 'abc':\n"
        "        await remember(database, name)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(path)], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == -signal.SIGKILL
    database = await Database.open(path)
    assert database.replaced is None
    assert await names(database) == ["a", "b", "c"]
    await database.close()


async def filled(path: Path) -> None:
    """A store of a dozen pages."""

    def insert(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO servers VALUES (?, ?, ?, 't')",
            [(f"u{number}", "n" * 300 + str(number), f"p{number}".encode()) for number in range(300)],
        )

    database = await Database.open(path)
    await database.run(insert)
    await database.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"this was never a database" * 100, id="text"),
        pytest.param(lambda data: data[:100], id="cut to the header"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut in the middle"),
        pytest.param(lambda data: data[:4096] + b"\x00" * 4096 + data[8192:], id="a page of zeros"),
        pytest.param(lambda data: b"\x00" * len(data), id="only zeros"),
        pytest.param(lambda data: data[:16] + b"\xff" * 84 + data[100:], id="header overwritten"),
    ],
)
async def test_a_damaged_file_is_kept_aside(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """The daemon starts all the same, says so, and the old file can still be looked at."""
    path = tmp_path / "wings.db"
    await filled(path)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    beside(path, "-wal").write_bytes(b"left by a crash")

    database = await Database.open(path)
    assert database.replaced is not None
    assert database.replaced.name.startswith("wings.db.damaged-20")
    assert database.replaced.read_bytes() == broken
    assert database.damage
    await remember(database, "afresh")
    assert await names(database) == ["afresh"]
    await database.close()
    assert (await reopened_names(path)) == ["afresh"]


async def reopened_names(path: Path) -> list[str]:
    database = await Database.open(path)
    assert database.replaced is None
    found = await names(database)
    await database.close()
    return found


async def test_side_files_go_with_the_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "wings.db"
    path.write_bytes(b"no database at all, but long enough to have a header" * 10)
    log = b"W" * 5000
    beside(path, "-wal").write_bytes(log)
    beside(path, "-shm").touch()
    database = await Database.open(path)
    assert database.replaced is not None
    assert beside(database.replaced, "-wal").read_bytes() == log
    assert beside(database.replaced, "-shm").is_file()
    await database.close()


async def test_damage_twice_in_one_second_keeps_both(tmp_path: Path) -> None:
    path = tmp_path / "wings.db"
    for number in range(3):
        path.write_bytes(b"%d this is no database" % number * 100)
        await (await Database.open(path)).close()
    assert sorted(one.read_bytes()[:1] for one in set_aside(tmp_path)) == [b"0", b"1", b"2"]


async def test_another_programs_database_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "wings.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    database = await Database.open(path)
    assert database.replaced is not None
    assert "another program" in database.damage
    await database.close()


async def test_missing_tables_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "wings.db"
    await filled(path)
    with sqlite3.connect(path) as shell:
        shell.execute("DROP TABLE jobs")
    shell.close()
    database = await Database.open(path)
    assert database.replaced is not None
    assert "jobs" in database.damage
    await database.close()


async def test_a_later_versions_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "wings.db"
    await filled(path)
    with sqlite3.connect(path) as shell:
        shell.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    shell.close()
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match="later version"):
        await Database.open(path)
    assert path.read_bytes() == before
    assert not set_aside(tmp_path)


async def test_each_version_becomes_the_newest(tmp_path: Path) -> None:
    for version in range(len(STEPS) + 1):
        path = tmp_path / f"{version}.db"
        shell = sqlite3.connect(path)
        for step in STEPS[:version]:
            for statement in step:
                shell.execute(statement)
        if version:
            shell.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        shell.execute(f"PRAGMA user_version = {version}")
        shell.commit()
        shell.close()
        database = await Database.open(path)
        assert database.replaced is None
        tables = await database.run(
            lambda connection: {
                name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            }
        )
        assert tables == TABLES
        await database.close()


async def test_damage_while_in_use_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "wings.db"
    await filled(path)
    database = await Database.open(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreDamaged, match="restart the daemon"):
        await names(database)
    await database.close()


async def test_a_full_disk_is_told_and_nothing_is_half_done(database: Database) -> None:
    await remember(database, "before")
    await database.run(lambda connection: connection.execute("PRAGMA max_page_count = 12").fetchone())
    with pytest.raises(StoreFull, match="no space left"):
        await remember(database, "x" * 100_000)
    assert await names(database) == ["before"]


@pytest.mark.parametrize("kind", ["directory", "fifo"])
async def test_something_else_in_the_way_is_said_and_left(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "wings.db"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with pytest.raises(StoreError, match="in the way"):
        await Database.open(path)
    assert os.listdir(tmp_path) == ["wings.db"]


async def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        await Database.open(tmp_path / "file" / "wings.db")


async def test_another_program_reading_does_not_stop_us(tmp_path: Path, database: Database) -> None:
    shell = sqlite3.connect(database.path)
    shell.execute("BEGIN")
    shell.execute("SELECT count(*) FROM servers").fetchone()
    await remember(database, "meanwhile")
    shell.close()
    assert await names(database) == ["meanwhile"]
