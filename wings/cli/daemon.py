"""``wings serve``: the daemon itself."""

import os

import click

from wings.cli.output import print_note
from wings.cli.settings import Settings, common_options

# Options of daemons that unit files on existing nodes may still carry (cli-and-host §2.1).
_FOREIGN = ("--auto-tls", "--ignore-certificate-errors", "--no-setup", "--pprof")
_FOREIGN_WITH_VALUE = ("--tls-hostname", "--pprof-port", "--pprof-block-rate")


def _ignored(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value:
        print_note(f"warning: {parameter.opts[0]} is an option of another daemon and has no effect here")


def foreign_options(command: click.Command) -> None:
    """Accept, and say to have no effect, what would otherwise keep an adopted node from starting."""
    for name in _FOREIGN:
        command.params.append(click.Option([name], is_flag=True, hidden=True, expose_value=False, callback=_ignored))
    for name in _FOREIGN_WITH_VALUE:
        command.params.append(click.Option([name], hidden=True, expose_value=False, callback=_ignored))


@click.command()
@common_options
@click.pass_context
def serve(context: click.Context) -> None:
    """Run the daemon in the foreground."""
    from wings.app import run  # noqa: PLC0415  # the daemon's modules cost what no other command needs
    from wings.config.locate import open_config  # noqa: PLC0415  # the same

    settings = context.ensure_object(Settings)
    settings.serving = True
    context.exit(run(open_config(settings.config, settings.root, os.environ), debug=settings.debug))


foreign_options(serve)
