"""Commands as processes at a terminal: questions, bars, Ctrl-C."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import ScriptedDaemon, response
from tests.cli.test_progress import BACKUP, JOB, job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(30)]


class Terminal:
    """A command at a terminal of its own; only stdout goes into a pipe."""

    def __init__(self, daemon: ScriptedDaemon, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wings", "--root", str(daemon.root), *arguments],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
        )
        os.close(slave)
        self.seen = ""

    def expect(self, text: str, seconds: float = 15) -> None:
        """Read the screen until this stands there."""
        until = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < until, self.seen
            self.read()

    def read(self) -> None:
        """What has come to the screen by now."""
        if select.select([self._master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # the other end is closed
                self.seen += os.read(self._master, 65536).decode()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Its exit code."""
        code = self.process.wait(timeout=15)
        for _ in range(5):
            self.read()
        assert self.process.stdout is not None
        self.process.stdout.close()
        os.close(self._master)
        return code


@contextmanager
def at_terminal(daemon: ScriptedDaemon, *arguments: str) -> Iterator[Terminal]:
    terminal = Terminal(daemon, *arguments)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.end()


def deletes(daemon: ScriptedDaemon) -> list[str]:
    return [request for request in daemon.requests if request.startswith("DELETE")]


def test_delete_asks_a_person(daemon: ScriptedDaemon) -> None:
    """'no' and silence change nothing; --yes and --json are not asked."""
    daemon.lay_json("/api/local/backups/2222", {"uuid": BACKUP, "created": "2026-01-01T00:00:00Z"})
    daemon.lay_json(f"/api/local/backups/{BACKUP}", {"uuid": BACKUP, "job": job("succeeded", result={"deleted": True})})
    for answer in ("n\n", "\n"):
        with at_terminal(daemon, "backup", "delete", "2222") as terminal:
            terminal.expect(f"Delete backup {BACKUP} of 20")
            terminal.type(answer)
            assert terminal.end() == 130
    assert deletes(daemon) == []
    with at_terminal(daemon, "backup", "delete", "2222") as terminal:
        terminal.expect("Delete backup")
        terminal.type("y\n")
        assert terminal.end() == 0
    for option in ("--yes", "--json"):
        with at_terminal(daemon, "backup", "delete", "2222", option) as terminal:
            assert terminal.end() == 0 and "Delete" not in terminal.seen
    assert len(deletes(daemon)) == 3


def test_ctrl_c_leaves_the_job_running(daemon: ScriptedDaemon) -> None:
    """P7: a bar while it runs; exit code 130, how to see the job and how to end it, and nothing is cancelled."""
    daemon.lay_json("/api/local/backups", {"uuid": BACKUP, "job": job("queued")})
    daemon.lay_json(f"/api/jobs/{JOB}", job(bytes_processed=3 << 20, bytes_total=9 << 20))
    with at_terminal(daemon, "backup", "create", "world") as terminal:
        terminal.expect("/9.0 MiB")
        assert "archiving" in terminal.seen
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.end() == 130
    assert f"wings --root {daemon.root} jobs' shows it" in " ".join(terminal.seen.split())
    assert f"backup cancel {JOB}' ends it" in " ".join(terminal.seen.split())
    assert "Traceback" not in terminal.seen and deletes(daemon) == []


def test_ctrl_c_with_json(daemon: ScriptedDaemon) -> None:
    """Still one document."""
    daemon.lay_json("/api/local/backups", {"uuid": BACKUP, "job": job("queued")})
    daemon.lay_json(f"/api/jobs/{JOB}", job())
    with at_terminal(daemon, "backup", "create", "world", "--json") as terminal:
        while f"GET /api/jobs/{JOB}?wait=30.0" not in daemon.requests:
            time.sleep(0.05)
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.process.stdout is not None
        assert json.loads(terminal.process.stdout.read())["code"] == "left_running"
        assert terminal.end() == 130


def test_a_reader_that_leaves(daemon: ScriptedDaemon) -> None:
    """'cat … | head' ends silently."""
    daemon.lay("/api/local/backups/2222/file", response(b"x" * (8 << 20)))
    command = subprocess.Popen(
        [sys.executable, "-m", "wings", "--root", str(daemon.root), "backup", "cat", "2222", "big"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None and command.stderr is not None
    assert command.stdout.read(10) == b"x" * 10
    command.stdout.close()
    assert command.wait(timeout=15) == 1
    assert command.stderr.read() == b""
    command.stderr.close()


def test_completion_completes() -> None:
    """What the script of 'wings completions bash' asks the program."""
    asked = {"_WINGS_COMPLETE": "bash_complete", "COMP_WORDS": "wings backup c", "COMP_CWORD": "2"}
    told = subprocess.run(
        [sys.executable, "-m", "wings"], capture_output=True, check=True, text=True, env={**os.environ, **asked}
    )
    assert {line.partition(",")[2] for line in told.stdout.splitlines()} == {"create", "cat", "cancel"}


def test_starting_is_quick() -> None:
    """Completion and 'version' are typed by people: no heavy module is imported for them."""
    heavy = "import sys; from wings.cli.main import run; run(['version']); run(['-h']); print(sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", heavy], capture_output=True, check=True, text=True).stdout
    for module in ("pydantic", "aiohttp", "asyncio", "rich", "yaml", "structlog", "wings.app", "wings.cli.backup"):
        assert f"'{module}'" not in told, module
