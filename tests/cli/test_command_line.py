"""The command line by itself: options, failures, exit codes. tests/e2e has it with a daemon."""

import errno
import importlib
import json
import pkgutil
import re
from pathlib import Path

import click
import pytest

import wings as package
from tests.conftest import ROOT
from wings.api.errors import status_of
from wings.cli.failures import INTERRUPTED, USAGE, USAGE_CODE, Failed, ServerError, describe, exit_code_for
from wings.cli.main import run, wings
from wings.errors import (
    Cancelled,
    ConfigurationError,
    Conflict,
    Damaged,
    InvalidInput,
    NoSpace,
    NotFound,
    Refused,
    Unavailable,
    Unsupported,
    WingsError,
)

KINDS = [WingsError, InvalidInput, NotFound, Conflict, Unavailable, NoSpace, Damaged, Refused, Cancelled, Unsupported]


def test_exit_codes_are_documented() -> None:
    """docs/exit-codes.md and the classes say the same."""
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", text, re.M))
    assert {int(code): name for code, name in rows.items()} == {USAGE: USAGE_CODE, INTERRUPTED: "left_running"} | {
        kind.exit_code: kind.code for kind in KINDS
    }


def _all_kinds() -> list[type[WingsError]]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind: type[WingsError]) -> list[type[WingsError]]:
        return [kind, *(one for child in kind.__subclasses__() for one in below(child))]

    return [kind for kind in below(WingsError) if kind.__module__.startswith("wings.") and not issubclass(kind, Failed)]


def test_the_daemons_errors_keep_their_exit_code() -> None:
    """Every error there is: what went over HTTP, or ended a job, exits as the class itself would."""
    kinds = _all_kinds()
    assert len(kinds) > 25
    for kind in kinds:
        assert exit_code_for(kind.code, kind.http_status) == kind.exit_code, kind
        assert exit_code_for(kind.code, status_of(kind.code)) == kind.exit_code, kind


def test_particular_codes_are_documented() -> None:
    """A new code gets a row in docs/exit-codes.md, with the exit code of its class."""
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (\d+) \|", text, re.M)
    particular = {code: number for codes, number in rows for code in re.findall(r"\w+", codes)}
    general = {kind.code for kind in [*KINDS, ConfigurationError]}
    own = {"interrupted": Unavailable.exit_code, "left_running": INTERRUPTED}
    assert {code: int(number) for code, number in particular.items()} == own | {
        kind.code: kind.exit_code for kind in _all_kinds() if kind.code not in general
    }


def test_codes_of_a_newer_daemon() -> None:
    """An unknown code is judged by its status."""
    assert exit_code_for("something_new", 404) == NotFound.exit_code
    assert exit_code_for("something_new", 599) == 1


def test_describe() -> None:
    assert describe(ServerError("gone", "not_found", 404)) == ("gone", "not_found", 4)
    assert describe(OSError(errno.ENOSPC, "No space left on device", "/x\n")) == (
        "/x\\x0a: No space left on device",
        "no_space",
        7,
    )
    assert describe(NoSpace("full")) == ("full", "no_space", 7)
    assert describe(KeyError("x"))[1:] == ("internal", 1)


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_options_may_stand_anywhere(tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str) -> None:
    """Scripts write them before or after the command's name."""
    options = ["--root", str(tmp_path / "none"), "--json"]
    arguments = {
        "before": [*options, "backup", "list"],
        "between": ["backup", *options, "list"],
        "after": ["backup", "list", *options],
    }[place]
    assert run(arguments) == Unavailable.exit_code
    told = capfd.readouterr()
    assert json.loads(told.out)["code"] == "not_running"
    assert f"wings --root {tmp_path / 'none'}" in told.err and told.err.count("\n") == 1


def test_asking_makes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A command that only talks to a daemon creates no root directory."""
    assert run(["--root", str(tmp_path / "none"), "health"]) == Unavailable.exit_code
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("alias", ["-c", "--config", "--config-file", "--config-path"])
def test_a_configuration_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str], alias: str) -> None:
    assert run([alias, str(tmp_path / "config.yml"), "health"]) == 1
    assert str(tmp_path / "config.yml") in capfd.readouterr().err


def test_usage_errors(capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as argument parsers have it; with --json a document too."""
    assert run(["no-such-command"]) == 2
    assert run(["backup", "create"]) == 2
    capfd.readouterr()
    assert run(["backup", "create", "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["code"] == "usage"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(capfd: pytest.CaptureFixture[str], shell: str) -> None:
    assert run(["completions", shell]) == 0
    assert "_WINGS_COMPLETE" in capfd.readouterr().out


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["version"], ["--version"], ["-V"]):
        assert run(arguments) == 0
        assert re.fullmatch(r"wings \d+\.\d+\.\d+\n", capfd.readouterr().out)


def test_every_command_explains_itself() -> None:
    """Help texts, for people and for completion."""

    context = click.Context(wings)

    def commands(group: click.Group) -> list[click.Command]:
        found: list[click.Command] = []
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found += [command, *(commands(command) if isinstance(command, click.Group) else [])]
        return found

    assert len(commands(wings)) > 18
    for command in commands(wings):
        assert command.help
        assert command.help.strip().splitlines()[0].endswith(".")


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    """-h and --help, at every depth."""
    for flag in ("-h", "--help"):
        assert run([flag]) == run(["backup", flag]) == run(["backup", "create", flag]) == 0
    text = capfd.readouterr().out
    for word in ("serve", "completions", "cancel", "--ignore", "--config-path"):
        assert word in text


def test_a_usage_error_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["no-such"],
        ["backup", "create"],
        ["health", "--nope"],
        ["backup", "create", "x", "--format", "rar"],
    ):
        assert run(arguments) == 2
        told = capfd.readouterr()
        assert told.out == "" and told.err.startswith("error: ") and told.err.count("\n") == 1
        assert "--help' shows" in told.err
    assert "'rar'" in told.err and "tar_gz" in told.err


def test_an_unexpected_error_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With --debug the traceback as well."""
    (tmp_path / "config.yml").mkdir()
    assert run(["--config", str(tmp_path / "config.yml" / "x" / "y"), "health"]) == 1
    assert capfd.readouterr().err.count("\n") == 1


def test_a_report_on_the_configuration_keeps_its_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The daemon tells every mistake on a line of its own, other commands stay with one line."""
    config = tmp_path / "config.yml"
    config.write_text("api:\n  port: many\n  host: [1]\n")
    assert run(["--config", str(config)]) == 1
    assert capfd.readouterr().err.count("\n") == 3
    assert run(["--config", str(config), "health"]) == 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and "api.port" in told and "api.host" in told


def test_options_of_other_daemons(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An adopted node's unit file may carry them: said to have no effect, not refused."""
    for arguments in (["--auto-tls", "--tls-hostname", "n.example"], ["serve", "--pprof", "--no-setup"]):
        assert run(["--config", str(tmp_path / "none.yml"), *arguments]) == 1
        told = capfd.readouterr().err
        assert told.count("has no effect here") == 2 and "none.yml" in told
