"""The ``wings`` command: its groups, its global options, and how it ends."""

import importlib
import sys
from collections.abc import Mapping, Sequence

import click

from wings.cli.daemon import foreign_options
from wings.cli.failures import INTERRUPTED, USAGE, USAGE_CODE, Verdict, describe
from wings.cli.output import print_failure
from wings.cli.settings import Settings, common_options
from wings.errors import WingsError
from wings.version import VERSION

# Command, the module that has it under its own name, and its line in the help. Modules are imported when their
# command is asked for: nobody waits for what another command needs.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("daemon", "Run the daemon in the foreground."),
    "backup": ("backup", "Make, find, look into, restore, verify and delete backups."),
    "server": ("server", "Register directories as servers."),
    "jobs": ("node", "Show what runs, waits, and ended lately."),
    "check": ("node", "Ask storages whether they can work right now."),
    "health": ("node", "Exit with 0 when the daemon is ready."),
    "version": ("about", "Show the version."),
    "completions": ("about", "Print the completion script for a shell."),
}


class Commands(click.Group):
    """The commands of the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"wings.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@common_options
@click.version_option(VERSION, "-V", "--version", prog_name="wings", message="%(prog)s %(version)s")
@click.pass_context
def wings(context: click.Context) -> None:
    """The node agent. Without a command it is the daemon, in the foreground."""
    if context.invoked_subcommand is None:
        serve = wings.get_command(context, "serve")
        assert serve is not None
        context.invoke(serve)


foreign_options(wings)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Prints failures as ``docs/exit-codes.md`` says."""
    settings = Settings()
    try:
        code = wings.main(list(arguments), prog_name="wings", standalone_mode=False, obj=settings)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "wings"
        # Options may not have been looked at when the mistake was found.
        as_json = settings.json or "--json" in arguments
        print_failure(f"{error.format_message()} ('{where} --help' shows what there is)", USAGE_CODE, as_json=as_json)
        return USAGE
    except Verdict as verdict:
        print_failure(str(verdict), "", as_json=False)
        return verdict.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # the border: whatever it is becomes one line and an exit code
        expected = isinstance(error, WingsError | click.ClickException)
        if settings.debug or (settings.serving and not expected):
            sys.excepthook(*sys.exc_info())
        message, name, exit_code = describe(error)
        print_failure(message, name, as_json=settings.json, lines=settings.serving)
        return exit_code
    return code if isinstance(code, int) else 0
