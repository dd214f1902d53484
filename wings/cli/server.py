"""``wings server``: which directories are servers."""

import base64
import os
from pathlib import Path

import click

from wings.cli.client import Client, Json, place
from wings.cli.output import print_json, print_table
from wings.cli.settings import Settings, common_options
from wings.errors import shown

BASE = "/api/local/servers"


@click.group()
@common_options
def server() -> None:
    """Register directories as servers."""


@server.command()
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@common_options
@click.pass_obj
def add(settings: Settings, name: str, path: Path) -> None:
    """Register the directory PATH as the server NAME."""
    # Bytes that are no UTF-8 arrive as surrogates; base64 carries them as they are.
    encoded = base64.b64encode(os.fsencode(path.absolute())).decode()
    added = Client(settings).call("POST", BASE, body={"name": name, "path_b64": encoded})
    if settings.json:
        print_json(_document(added))
    else:
        click.echo(f"server {shown(added['name'])} is {added['uuid']}, its files are in {shown(added['path'])}")


@server.command(name="list")
@common_options
@click.pass_obj
def list_servers(settings: Settings) -> None:
    """Show registered servers, sorted by name."""
    servers = Client(settings).call("GET", BASE)
    if settings.json:
        print_json([_document(one) for one in servers])
    elif servers:
        print_table(["NAME", "UUID", "PATH"], [[one["name"], one["uuid"], one["path"]] for one in servers])
    else:
        click.echo(f"no servers yet; '{settings.command('server add NAME PATH')}' registers one")


@server.command()
@click.argument("server")
@common_options
@click.pass_obj
def remove(settings: Settings, server: str) -> None:
    """Forget SERVER (name, uuid, or the start of one). Its files and backups stay where they are."""
    gone = Client(settings).call("DELETE", place(BASE, server))
    if settings.json:
        print_json(_document(gone))
    else:
        click.echo(f"server {shown(gone['name'])} is forgotten; its files and backups are untouched")


def _document(server: Json) -> Json:
    keys = ["uuid", "name", "path", *(["path_b64"] if server["path_b64"] else [])]
    return {key: server[key] for key in keys}
