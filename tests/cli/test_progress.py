"""Waiting for jobs, on a terminal and in a pipe."""

import io
import json
import time

import pytest

from tests.cli.conftest import ScriptedDaemon
from wings.cli import progress
from wings.cli.client import Client
from wings.cli.failures import NotRunning, ServerError, describe
from wings.cli.main import run
from wings.cli.progress import Bar, Lines, follow
from wings.cli.settings import Settings

JOB = "11111111-1111-4111-8111-111111111111"
BACKUP = "22222222-2222-4222-8222-222222222222"


def job(state: str = "running", **changes: object) -> dict[str, object]:
    return {
        "id": JOB,
        "kind": "create",
        "server": None,
        "backup": BACKUP,
        "state": state,
        "stage": "archiving",
        "bytes_processed": 0,
        "bytes_total": 0,
        "files_processed": 0,
        "files_total": 0,
        "created": "2026-01-01T00:00:00Z",
        "started": None,
        "finished": None,
        "error": None,
        "error_code": None,
        "error_status": None,
        "result": None,
    } | changes


def test_follow_to_the_end(daemon: ScriptedDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    """A line per look in a pipe, nothing at all for --json."""
    stages = [job(bytes_processed=1 << 20, bytes_total=4 << 20), job("succeeded", result={"ok": True})]
    daemon.lay_json(f"/api/jobs/{JOB}", *stages)
    ended = follow(Client(daemon.settings), daemon.settings, job("queued"))
    assert ended["result"] == {"ok": True}
    assert capfd.readouterr().err == "archiving: 1.0 MiB of about 4.0 MiB\n"
    daemon.lay_json(f"/api/jobs/{JOB}", *stages)
    settings = Settings(root=daemon.root, json=True)
    assert follow(Client(settings), settings, job("queued"))["state"] == "succeeded"
    told = capfd.readouterr()
    assert told.out == told.err == ""


@pytest.mark.parametrize(
    ("state", "code", "status", "exit_code"),
    [
        ("failed", "no_space", 507, 7),
        ("failed", "store_full", 507, 7),
        ("failed", "incomplete", 500, 1),
        ("cancelled", "cancelled", 409, 10),
        ("interrupted", "interrupted", 503, 6),
    ],
)
def test_a_job_that_fails_is_the_commands_failure(
    daemon: ScriptedDaemon, state: str, code: str, status: int, exit_code: int
) -> None:
    daemon.lay_json(f"/api/jobs/{JOB}", job(state, error="why", error_code=code, error_status=status))
    with pytest.raises(ServerError) as failure:
        follow(Client(daemon.settings), daemon.settings, job())
    assert describe(failure.value) == ("why", code, exit_code)


def test_the_daemon_goes_while_waiting(daemon: ScriptedDaemon) -> None:
    """Where to find out how the job ended."""
    client = Client(daemon.settings)
    (daemon.root / "wings.sock").unlink()
    with pytest.raises(NotRunning, match=rf"wings --root {daemon.root} jobs' shows how job {JOB} ended"):
        follow(client, daemon.settings, job())


def test_lines_tell_rate_and_rest(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 120.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = Lines()
    for done in (0, 10 << 20, 20 << 20):
        lines.show(job(bytes_processed=done, bytes_total=80 << 20))
    lines.show(job(stage="syn\ncing"))
    lines.show(job("succeeded"))
    assert capfd.readouterr().err.splitlines() == [
        "archiving: 0 bytes of about 80.0 MiB",
        "archiving: 10.0 MiB of about 80.0 MiB, 1.0 MiB/s, about 0:01:10 left",
        "archiving: 20.0 MiB of about 80.0 MiB, 1.0 MiB/s, about 0:01:00 left",
        "syn\\x0acing",
    ]


def test_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amount, rate and remaining time; hostile text is only text."""
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]  # a terminal, as far as anybody can see
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Bar() as bar:
        bar.show(job(stage="[red]waiting\x1b[2J", bytes_total=0))
        bar.show(job(bytes_processed=1 << 20, bytes_total=4 << 20))
        time.sleep(0.15)  # the bar draws ten times a second
        bar.show(job(bytes_processed=5 << 20, bytes_total=4 << 20))
        time.sleep(0.15)
    drawn = screen.getvalue()
    assert "[red]waiting\\x1b[2J" in drawn or "archiving" in drawn
    assert "5.0/5.0 MiB" in drawn and "\x1b[2J" not in drawn


def test_cancel(daemon: ScriptedDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    """By the start of the backup's uuid or of the job's; ambiguous, unknown and too late are told apart."""
    other = job(id="11111111-3333-4333-8333-333333333333", backup="33333333-3333-4333-8333-333333333333")
    daemon.lay_json("/api/jobs", [job(), other])
    daemon.lay_json(f"/api/jobs/{JOB}", job("cancelled"))
    for start in ("2222", JOB[:12].upper()):
        assert run(["--root", str(daemon.root), "backup", "cancel", start, "--json"]) == 0
        assert [one["state"] for one in json.loads(capfd.readouterr().out)] == ["cancelled"]
    assert run(["--root", str(daemon.root), "backup", "cancel", "1111"]) == 3
    assert "ambiguous" in capfd.readouterr().err
    for unknown in ("9999", ""):
        assert run(["--root", str(daemon.root), "backup", "cancel", unknown]) == 4
        assert "nothing works on" in capfd.readouterr().err
    daemon.lay_json(f"/api/jobs/{JOB}", job("succeeded"))
    assert run(["--root", str(daemon.root), "backup", "cancel", "2222"]) == 5
    assert "too late" in capfd.readouterr().err


def test_health(daemon: ScriptedDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    """0 only when it is ready."""
    daemon.lay_json("/api/health", {"status": "ready", "version": "1.2.3"})
    assert run(["--root", str(daemon.root), "health"]) == 0
    assert capfd.readouterr().out == "daemon:  ready\nversion: 1.2.3\n"
    daemon.lay_json("/api/health", {"status": "stopping", "version": "1.2.3"}, status=503)
    assert run(["--root", str(daemon.root), "health", "--json"]) == 6
    assert json.loads(capfd.readouterr().out) == {"error": "the daemon is stopping", "code": "unavailable"}


def test_verdicts(daemon: ScriptedDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    """A bad report is still the one document on stdout; the exit code and one line on stderr judge it."""
    report = {"ok": False, "depth": "full", "checked_bytes": 5, "checked": [], "problems": ["a: sha256\n", "b"]}
    daemon.lay_json("/api/local/backups/2222/verify", {"uuid": BACKUP, "job": job("succeeded", result=report)})
    sick = {"adapter": "wings", "ok": False, "items": [{"what": "space", "ok": False, "detail": "none"}]}
    daemon.lay_json("/api/local/adapters/check", [sick])
    daemon.lay_json("/api/local/adapters/wings/check", sick)
    root = ["--root", str(daemon.root)]
    for arguments, exit_code, document, words in [
        (["backup", "verify", "2222"], 8, report, "damaged: 2 problems"),
        (["check"], 6, [sick], "cannot work now: wings"),
        (["check", "wings"], 6, sick, "cannot work now: wings"),
    ]:
        assert run([*root, *arguments, "--json"]) == exit_code
        told = capfd.readouterr()
        assert json.loads(told.out) == document
        assert words in told.err and told.err.count("\n") == 1
        assert run([*root, *arguments]) == exit_code
        told = capfd.readouterr()
        assert told.out and told.err.count("\n") == 1
