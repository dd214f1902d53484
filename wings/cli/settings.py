"""Options that every command takes, before or after its name."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from wings.errors import shown

F = TypeVar("F", bound=Callable[..., object])


@dataclass(slots=True)
class Settings:
    """What was given so far; what stands further right on the command line wins."""

    config: Path | None = None
    root: Path | None = None
    json: bool = False
    debug: bool = False
    serving: bool = False  # this is the daemon: a report on its configuration keeps its lines

    def command(self, words: str = "") -> str:
        """A command line for the same daemon, to be told to people; ``words`` is what comes behind ``wings``."""
        if self.root is not None:
            options = f" --root {shlex.quote(shown(self.root))}"
        elif self.config is not None:
            options = f" --config {shlex.quote(shown(self.config))}"
        else:
            options = ""
        return f"wings{options} {words}".rstrip()

    def how_to_start(self) -> str:
        """What to do about a daemon that is not running."""
        if self.root is not None:
            return f"start it with '{self.command()}'"
        return (
            f"start it with 'systemctl start wings' or '{self.command()}', "
            "or name the one that is meant with 'wings --root DIR'"
        )


def _take(context: click.Context, parameter: click.Parameter, value: object) -> None:
    settings = context.ensure_object(Settings)
    if value:
        setattr(settings, str(parameter.name), value)


def common_options(command: F) -> F:
    """Add them to a command or group; their values end up in ``Settings``."""
    path = click.Path(path_type=Path)
    for option in (
        click.option(
            "-d",
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_take,
            help="Log more; for other commands, show where an unexpected error comes from.",
        ),
        click.option("--json", is_flag=True, expose_value=False, callback=_take, help="One JSON document on stdout."),
        click.option(
            "--root",
            type=path,
            metavar="DIR",
            expose_value=False,
            callback=_take,
            help="Local mode: everything below DIR, no panel.",
        ),
        click.option(
            "-c",
            "--config",
            "--config-file",
            "--config-path",
            "config",
            type=path,
            metavar="FILE",
            expose_value=False,
            callback=_take,
            help="Configuration file.",
        ),
    ):
        command = option(command)
    return command
