"""Logs: JSON in the file, readable on the console, complete, rotated, and without secrets."""

import asyncio
import contextlib
import io
import json
import logging
import os
import re
import threading
import time
from pathlib import Path

import pytest
import structlog

from wings.errors import ConfigurationError
from wings.telemetry import logging as setup
from wings.telemetry.logging import Secrets, configure_logging

TOKEN = "t0ken-of-the-node/with+odd=chars"


def lines(directory: Path, name: str = "wings.log") -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / name).read_text().splitlines()]


def log_once(directory: Path, secrets: Secrets | None = None, **values: object) -> dict[str, object]:
    with configure_logging(directory, secrets or Secrets(), console=None):
        structlog.stdlib.get_logger("wings.test").info("hello", **values)
    (line,) = lines(directory)
    return line


def test_a_line_is_a_json_document(tmp_path: Path) -> None:
    line = log_once(tmp_path, size=5, nothing=None, nested={"a": [1, 2.5, True]}, path=Path("/srv"))
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert line.pop("timestamp")
    assert line == {
        "level": "info",
        "logger": "wings.test",
        "event": "hello",
        "size": 5,
        "nothing": None,
        "nested": {"a": [1, 2.5, True]},
        "path": "/srv",
    }


def test_the_time_is_utc_to_the_microsecond(tmp_path: Path) -> None:
    stamp = log_once(tmp_path)["timestamp"]
    assert isinstance(stamp, str)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp)


def test_context_variables_are_on_every_line_also_of_libraries(tmp_path: Path) -> None:
    with (
        configure_logging(tmp_path, Secrets(), console=None),
        structlog.contextvars.bound_contextvars(server="s1", backup="b1"),
    ):
        structlog.stdlib.get_logger("wings.test").info("ours")
        logging.getLogger("aiohttp.server").warning("theirs %d", 7)
    ours, theirs = lines(tmp_path)
    assert (ours["server"], ours["backup"]) == ("s1", "b1")
    assert (theirs["server"], theirs["event"], theirs["logger"]) == ("s1", "theirs 7", "aiohttp.server")
    assert theirs["level"] == "warning"


def test_names_that_are_no_text_are_written_all_the_same(tmp_path: Path) -> None:
    line = log_once(tmp_path, name="caf\udce9", huge=1 << 80)
    assert line["name"] == "caf\udce9"
    assert line["huge"] == 1 << 80


def test_debug_only_when_asked(tmp_path: Path) -> None:
    for debug in (False, True):
        with configure_logging(tmp_path, Secrets(), debug=debug, console=None):
            structlog.stdlib.get_logger("wings.test").debug("detail", on=debug)
    assert [line["on"] for line in lines(tmp_path)] == [True]


def raise_with(secret: str) -> None:
    token = secret
    try:
        raise ValueError(f"bad header Authorization: Bearer {token}")
    except ValueError as error:
        error.add_note(f"while calling https://panel/api?token={token}")
        raise RuntimeError(f"request with {token!r} failed") from error


@pytest.mark.parametrize("logger", ["ours", "theirs"])
def test_tracebacks_hold_no_secrets(tmp_path: Path, logger: str) -> None:
    """P10: registered values are hidden in exception texts, causes and notes."""
    secrets = Secrets()
    secrets.register(TOKEN)
    screen = io.StringIO()
    with configure_logging(tmp_path, secrets, console=screen):
        try:
            raise_with(TOKEN)
        except RuntimeError:
            if logger == "ours":
                structlog.stdlib.get_logger("wings.test").exception("it failed")
            else:
                logging.getLogger("library").exception("it failed with %s", TOKEN)
    (line,) = lines(tmp_path)
    text = str(line["exception"])
    assert "Traceback" in text
    assert "RuntimeError: request with '***' failed" in text
    assert "while calling https://panel/api?token=***" in text
    for place in ((tmp_path / "wings.log").read_text(), screen.getvalue()):
        assert TOKEN not in place
        assert "***" in place
        assert "raise_with" in place


def test_registered_secrets_are_hidden_wherever_they_stand(tmp_path: Path) -> None:
    """P10: quoted, in addresses, in nested values, in keys, in bytes, in objects."""
    secrets = Secrets()
    for secret in (TOKEN, 'quote"and\\slash', "ümlaut&more"):
        secrets.register(secret)

    class Request:
        def __repr__(self) -> str:
            return f"<Request {TOKEN}>"

    line = log_once(
        tmp_path,
        secrets,
        plain=f"a {TOKEN} b",
        quoted=f"https://h/?x={TOKEN.replace('/', '%2F').replace('+', '%2B').replace('=', '%3D')}",
        nested={"list": [TOKEN, {"deep": (TOKEN,)}], TOKEN: 1},
        raw=TOKEN.encode(),
        thing=Request(),
        as_json=json.dumps({"v": 'quote"and\\slash'}),
        as_repr=repr(['quote"and\\slash']),
        address="https://h/%C3%BCmlaut%26more",
    )
    text = json.dumps(line, ensure_ascii=False)
    assert TOKEN not in text
    assert "t0ken" not in text
    assert "and\\" not in text
    assert "mlaut" not in text
    assert line["plain"] == "a *** b"
    assert line["nested"] == {"list": ["***", {"deep": ["***"]}], "***": 1}


def test_telling_names_hide_their_values(tmp_path: Path) -> None:
    """P10: nobody has to register what is called a password."""
    line = log_once(
        tmp_path,
        password="p1",
        panel_token="p2",
        Authorization="p3",
        headers={"Set-Cookie": "p4", "X-Api-Key": "p5", "Accept": "kept1"},
        s3SecretKey="p6",
        accessKeyId="p7",
        client_secret=12345,
        token_id="kept2",
        password_file="kept3",
        key="kept4",
        monkey="kept5",
        secret=None,
    )
    text = json.dumps(line)
    assert not re.search(r"p\d|12345", text.replace(str(line["timestamp"]), ""))
    assert [f"kept{number}" in text for number in range(1, 6)] == [True] * 5
    assert line["secret"] is None


def test_addresses_and_headers_in_text_are_cleaned(tmp_path: Path) -> None:
    """P10: query parameters, user information and authorisation headers, whoever made the text."""
    secrets = Secrets()
    for dirty, clean in [
        ("GET /download/backup?token=eyJhbGciOi.x.y&format=zip", "GET /download/backup?token=***&format=zip"),
        (
            "PUT https://s3/b/k?X-Amz-Signature=abc123&partNumber=1",
            "PUT https://s3/b/k?X-Amz-Signature=***&partNumber=1",
        ),
        ("s3:https://user:hunter2@host/bucket", "s3:https://user:***@host/bucket"),
        ("Authorization: Bearer abc.def|ghi", "Authorization: Bearer ***"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "{'Authorization': 'Basic ***'}"),
        ("restic --password=hunter2 backup", "restic --password=*** backup"),
        ("a basic thing, token by token", "a basic thing, token by token"),
        ("nothing to hide = here", "nothing to hide = here"),
    ]:
        assert secrets.hide(dirty) == clean


def test_values_too_short_to_be_secrets_do_not_spoil_the_log() -> None:
    secrets = Secrets()
    for value in ("", "a", "abc"):
        secrets.register(value)
    assert secrets.hide("abc abcabc") == "abc abcabc"


def test_console_is_readable_and_plain_in_a_pipe(tmp_path: Path) -> None:
    screen = io.StringIO()
    with configure_logging(None, Secrets(), console=screen):
        structlog.stdlib.get_logger("wings.test").info("hello", server="my\nserver\x1b[31m", size=5)
    text = screen.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert re.search(r"\[info +\] hello .*server=.*my\\x0aserver\\x1b\[31m.*size=5", text)


def test_console_has_colours_on_a_terminal(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    with open(terminal, "w", closefd=False) as screen, configure_logging(None, Secrets(), console=screen):
        structlog.stdlib.get_logger("wings.test").warning("hello")
    text = os.read(controller, 10_000).decode()
    os.close(controller)
    os.close(terminal)
    assert "\x1b[" in text
    assert "hello" in text


def test_a_console_that_went_away_is_no_reason_to_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    screen = open(writer, "w")  # noqa: SIM115  # closing it fails, like writing to it
    with configure_logging(tmp_path, Secrets(), console=screen):
        for _ in range(3):
            structlog.stdlib.get_logger("wings.test").info("hello")
    with contextlib.suppress(BrokenPipeError):
        screen.close()
    assert len(lines(tmp_path)) == 3
    assert capsys.readouterr().err == ""


def test_rotates_by_size_and_keeps_so_many(tmp_path: Path) -> None:
    with configure_logging(tmp_path, Secrets(), console=None, largest=2000, kept=3):
        log = structlog.stdlib.get_logger("wings.test")
        for number in range(100):
            log.info("line", number=number, padding="x" * 50)
    assert sorted(os.listdir(tmp_path)) == ["wings.log", "wings.log.1", "wings.log.2", "wings.log.3"]
    assert all(os.path.getsize(tmp_path / name) <= 2000 for name in os.listdir(tmp_path))
    numbers = [
        line["number"]
        for name in ("wings.log.3", "wings.log.2", "wings.log.1", "wings.log")
        for line in lines(tmp_path, name)
    ]
    assert numbers == list(range(100 - len(numbers), 100))


def test_reopens_after_logrotate_renamed_the_file(tmp_path: Path) -> None:
    with configure_logging(tmp_path, Secrets(), console=None) as log_setup:
        log = structlog.stdlib.get_logger("wings.test")
        log.info("before")
        deadline = time.monotonic() + 5
        while "before" not in (tmp_path / "wings.log").read_text() and time.monotonic() < deadline:
            time.sleep(0.005)
        (tmp_path / "wings.log").rename(tmp_path / "wings.log-20260101")
        log_setup.reopen()
        log.info("after")
    assert [line["event"] for line in lines(tmp_path, "wings.log-20260101")] == ["before"]
    assert [line["event"] for line in lines(tmp_path)] == ["after"]


def test_appends_to_what_is_there_and_is_not_for_everybody(tmp_path: Path) -> None:
    for _ in range(2):
        with configure_logging(tmp_path, Secrets(), console=None):
            structlog.stdlib.get_logger("wings.test").info("hello")
    assert len(lines(tmp_path)) == 2
    assert os.stat(tmp_path / "wings.log").st_mode & 0o007 == 0


def test_a_directory_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="log_directory"), configure_logging(tmp_path / "file", Secrets()):
        pass


def test_everything_is_as_before_afterwards(tmp_path: Path) -> None:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    config = structlog.get_config()
    log_once(tmp_path)
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().level == level
    assert structlog.get_config() == config


class Stuck(io.StringIO):
    """A console whose reader has gone to lunch."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(10)
        return super().write(text)


def test_a_stuck_console_does_not_hold_up_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue fills, lines are counted as lost and said to be, and nobody waits."""
    monkeypatch.setattr(setup, "QUEUE", 10)
    screen = Stuck()

    async def chatter() -> float:
        log = structlog.stdlib.get_logger("wings.test")
        begun = time.monotonic()
        for number in range(50):
            log.info("line", number=number)
        return time.monotonic() - begun

    with configure_logging(None, Secrets(), console=screen) as log_setup:
        assert asyncio.run(chatter()) < 0.5
        assert log_setup.lost >= 39
        lost = log_setup.lost
        screen.go_on.set()
    text = screen.getvalue()
    assert f"{lost} log lines were lost" in text
    assert text.count("number=") == 50 - lost


def test_threads_wait_for_room_instead_of_losing_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "QUEUE", 5)
    screen = Stuck()
    with configure_logging(None, Secrets(), console=screen) as log_setup:
        threading.Timer(0.2, screen.go_on.set).start()
        log = structlog.stdlib.get_logger("wings.test")
        for number in range(30):
            log.info("line", number=number)
        assert log_setup.lost == 0
    assert screen.getvalue().count("number=") == 30


def test_a_full_disk_is_told_once_and_does_not_stop_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wings.log").symlink_to("/dev/full")
    with configure_logging(tmp_path, Secrets(), console=None):
        for _ in range(5):
            structlog.stdlib.get_logger("wings.test").info("hello")
    told = capsys.readouterr().err
    assert told.count("cannot be written") == 1
    assert "No space left" in told


def test_a_log_that_cannot_be_rotated_is_written_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wings.log.1" / "in the way").mkdir(parents=True)
    with configure_logging(tmp_path, Secrets(), console=None, largest=500, kept=1):
        for number in range(20):
            structlog.stdlib.get_logger("wings.test").info("hello", number=number)
    assert [line["number"] for line in lines(tmp_path)] == list(range(20))
    assert "cannot be written" in capsys.readouterr().err


def test_a_broken_value_does_not_lose_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __str__(self) -> str:
            raise LookupError("no text")

    with configure_logging(tmp_path, Secrets(), console=None):
        structlog.stdlib.get_logger("wings.test").info("hello", value=Broken())
        structlog.stdlib.get_logger("wings.test").info("next")
    assert [line["event"] for line in lines(tmp_path)] == ["next"]
    assert "LookupError" in capsys.readouterr().err
