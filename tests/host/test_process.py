"""Running programs: real ones, hostile ones, and ones that do not want to end."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from wings.errors import Cancelled, Refused, Unsupported
from wings.host.process import ProcessRunner, SecretFile, TooMuchOutput
from wings.jobs.context import JobContext

SECRET = b"hunter2 with spaces"


@pytest.fixture
def runner() -> ProcessRunner:
    return ProcessRunner(term_patience=0.3)


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def alive(pid: int) -> bool:
    """Whether there is such a process that is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pid: int) -> bool:
    for _ in range(100):
        if not alive(pid):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_output_errors_and_code_are_in_the_result(runner: ProcessRunner) -> None:
    result = await runner.run(sh("echo out; echo first >&2; echo last >&2; exit 3"))
    assert (result.code, result.ok, result.output, result.errors) == (3, False, b"out\n", "first\nlast\n")
    assert str(result) == "sh ended with exit code 3: first / last"
    assert 0 < result.seconds < 5
    fine = await runner.run(["true"])
    assert fine.ok
    assert str(fine) == "true ended with exit code 0"


async def test_a_signal_is_told_as_such(runner: ProcessRunner) -> None:
    result = await runner.run(sh("kill -SEGV $$"))
    assert result.code == -signal.SIGSEGV
    assert "killed by SIGSEGV" in str(result)


async def test_control_characters_in_messages_are_escaped(runner: ProcessRunner) -> None:
    result = await runner.run(sh(r"printf '\033[31mred\n' >&2; exit 1"))
    assert str(result) == r"sh ended with exit code 1: \x1b[31mred"


async def test_both_outputs_are_drained(runner: ProcessRunner) -> None:
    """W-33: a megabyte on stderr while stdout is open does not hang, and does not fill the memory."""
    megabyte = "head -c 1048576 /dev/zero | tr '\\0' e >&2"
    script = f"{megabyte}; echo between; {megabyte}; echo end >&2"
    result = await asyncio.wait_for(runner.run(sh(script)), 8)
    assert result.output == b"between\n"
    assert result.errors.endswith("eee" + "end\n")
    assert len(result.errors) <= 16 << 10
    assert len(str(result)) < 400


async def test_much_output_with_much_on_stderr_streams(runner: ProcessRunner) -> None:
    """W-33: 20 MB each way at once."""
    script = "head -c 20000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait"
    total = 0
    async with runner.start(sh(script)) as process:
        async for chunk in process.output():
            total += len(chunk)
        result = await process.result()
    assert total == 20_000_000
    assert result.ok


async def test_a_slow_reader_makes_the_program_wait(runner: ProcessRunner) -> None:
    """P6: output is not piled up in memory."""
    async with runner.start(sh("head -c 100000000 /dev/zero; echo done >&2")) as process:
        await asyncio.sleep(0.3)
        assert alive(process.pid)
        total = 0
        async for chunk in process.output():
            total += len(chunk)
        assert total == 100_000_000
        assert (await process.result()).errors == "done\n"


async def test_collecting_is_bounded(runner: ProcessRunner) -> None:
    with pytest.raises(TooMuchOutput, match="yes wrote more than 1000 bytes"):
        await runner.run(["yes"], largest_output=1000)


async def test_the_environment_is_minimal(runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: what the daemon knows is not handed on."""
    monkeypatch.setenv("PANEL_TOKEN", "secret")
    result = await runner.run(["env"], environment={"RESTIC_REPOSITORY": "/srv/r"})
    names = {line.partition("=")[0] for line in result.output.decode().splitlines()}
    assert names == {"PATH", "LC_ALL", "RESTIC_REPOSITORY"}


async def test_only_the_standard_descriptors_are_handed_on(runner: ProcessRunner, tmp_path: Path) -> None:
    with open(tmp_path / "open", "w") as file:
        os.set_inheritable(file.fileno(), True)
        result = await runner.run(["ls", "/proc/self/fd"])
    assert result.output.split() == [b"0", b"1", b"2", b"3"]  # the last is ls's own


async def test_secrets_are_in_neither_argv_nor_environment(runner: ProcessRunner) -> None:
    """P10: they can be read, twice even, through a path that exists for the child alone."""
    script = 'tr "\\0" " " < /proc/$$/cmdline >&2; env >&2; cat "$1" "$2" "$SECRET_FILE"'
    result = await runner.run(
        [
            "sh",
            "-c",
            script,
            "sh",
            SecretFile(SECRET),
            SecretFile(b"second"),
        ],
        environment={"SECRET_FILE": SecretFile(SECRET)},
    )
    assert result.output == SECRET + b"second" + SECRET
    assert "hunter2" not in result.errors
    assert "/dev/fd/" in result.errors
    assert "hunter2" not in repr(SecretFile(SECRET))


async def test_secret_paths_can_stand_behind_an_option(runner: ProcessRunner) -> None:
    result = await runner.run(["echo", SecretFile(SECRET, before="--password-file=")])
    assert result.output.startswith(b"--password-file=/dev/fd/")


async def test_input(runner: ProcessRunner, tmp_path: Path) -> None:
    assert (await runner.run(["cat"])).output == b""
    assert (await runner.run(["cat"], input=b"text")).output == b"text"
    large = os.urandom(1 << 20)
    assert (await runner.run(["cat"], input=large)).output == large
    (tmp_path / "file").write_bytes(b"from a file")
    with open(tmp_path / "file", "rb") as file:
        assert (await runner.run(["cat"], input=file.fileno())).output == b"from a file"


async def test_directory(runner: ProcessRunner, tmp_path: Path) -> None:
    assert (await runner.run(["pwd"], directory=str(tmp_path))).output == f"{tmp_path}\n".encode()
    with pytest.raises(Unsupported, match="no such directory"):
        await runner.run(["pwd"], directory=str(tmp_path / "nowhere"))


async def test_arguments_are_never_a_shells(runner: ProcessRunner) -> None:
    result = await runner.run(["printf", "%s|", "; rm -rf /", "$HOME", "*", b"caf\xe9"])
    assert result.output == b"; rm -rf /|$HOME|*|caf\xe9|"


async def test_a_missing_program_is_said(runner: ProcessRunner, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="'no-such-program' is not installed"):
        await runner.run(["no-such-program"])
    (tmp_path / "script").write_text("echo hello")
    with pytest.raises(Refused, match="script"):
        await runner.run([str(tmp_path / "script")])
    (tmp_path / "broken").write_bytes(b"\x00\x01")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(Unsupported, match="broken cannot be run"):
        await runner.run([str(tmp_path / "broken")])


async def test_cancelling_the_caller_ends_the_program(runner: ProcessRunner, tmp_path: Path) -> None:
    """P7: and its children, with a chance to clean up."""
    script = (
        f"cd {tmp_path}; trap 'echo cleaned > cleaned; exit 1' TERM; sleep 60 & "
        "echo $! > child; echo $$ > pid.new; mv pid.new pid; wait"
    )
    task = asyncio.create_task(runner.run(sh(script)))
    for _ in range(200):
        if (tmp_path / "pid").exists():
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "cleaned").read_text() == "cleaned\n"
    assert await gone(int((tmp_path / "pid").read_text()))
    assert await gone(int((tmp_path / "child").read_text()))


async def test_a_time_limit_ends_the_program(runner: ProcessRunner) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await runner.run(["sleep", "60"])
    assert time.monotonic() - begun < 3


async def test_what_ignores_sigterm_is_killed(runner: ProcessRunner) -> None:
    begun = time.monotonic()
    async with runner.start(sh("trap '' TERM; echo ready; while :; do sleep 0.05; done")) as process:
        async for _ in process.output():
            break
        pid = process.pid
    assert not alive(pid)
    assert 0.3 <= time.monotonic() - begun < 4


async def test_a_cancelled_job_ends_the_program(runner: ProcessRunner) -> None:
    """W-8: the work's cancellation reaches the child, and comes out as such, never as a short output."""
    from uuid import uuid4

    job = JobContext(uuid4(), "create", None, None)
    asyncio.get_running_loop().call_later(0.1, job.cancel, "the server was deleted")
    with pytest.raises(Cancelled, match="the server was deleted"):
        await runner.run(sh("echo some; sleep 60"), work=job)
    job = JobContext(uuid4(), "create", None, None)
    async with runner.start(sh("exec >&-; sleep 60"), work=job) as process:
        asyncio.get_running_loop().call_later(0.1, job.cancel, "while waiting for the end")
        with pytest.raises(Cancelled, match="while waiting"):
            await process.result()


async def test_leaving_the_block_early_leaves_nothing_running(runner: ProcessRunner) -> None:
    with pytest.raises(LookupError):
        async with runner.start(sh("sleep 60 & sleep 60")) as process:
            pid = process.pid
            raise LookupError
    assert await gone(pid)


async def test_a_child_that_keeps_the_output_open_does_not_hang_us(runner: ProcessRunner) -> None:
    """The program has ended; whoever holds its pipe silently is not waited for."""
    begun = time.monotonic()
    result = await runner.run(sh("echo $$; setsid sleep 9 & sleep 0.1; exit 4"))
    assert result.code == 4
    assert time.monotonic() - begun < 6


async def test_many_at_once(runner: ProcessRunner) -> None:
    before = len(os.listdir("/proc/self/fd"))
    results = await asyncio.gather(*(runner.run(sh(f"echo {number}")) for number in range(30)))
    assert [int(result.output) for result in results] == list(range(30))
    assert len(os.listdir("/proc/self/fd")) == before
