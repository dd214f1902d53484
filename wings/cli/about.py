"""``wings version`` and ``wings completions``: about the program itself, without any daemon."""

import click

from wings.cli.output import print_json
from wings.cli.settings import Settings, common_options
from wings.version import VERSION


@click.command()
@common_options
@click.pass_obj
def version(settings: Settings) -> None:
    """Show the version."""
    if settings.json:
        print_json({"version": VERSION})
    else:
        click.echo(f"wings {VERSION}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
@click.pass_context
def completions(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: wings completions bash > /etc/bash_completion.d/wings
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415  # for this command alone

    kind = get_completion_class(shell)
    assert kind is not None  # the choices above are those that click has
    click.echo(kind(context.find_root().command, {}, "wings", "_WINGS_COMPLETE").source())
