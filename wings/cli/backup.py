"""``wings backup``: the life of backups."""

import base64
import os
from pathlib import Path

import click

from wings.archives.formats import ArchiveFormat
from wings.cli.client import Client, Json, place
from wings.cli.failures import Verdict
from wings.cli.output import agreed, count, print_facts, print_json, print_table, print_warnings, size, time
from wings.cli.progress import follow
from wings.cli.settings import Settings, common_options
from wings.errors import Conflict, Damaged, InvalidInput, NotFound, shown

BASE = "/api/local/backups"

# What scripts depend on; the API's answer has more.
BACKUP_KEYS = (
    "uuid",
    "server",
    "adapter",
    "format",
    "state",
    "successful",
    "size",
    "files",
    "checksum_type",
    "checksum",
    "created",
    "browsable",
    "streaming",
    "warnings",
)
ENTRY_KEYS = ("name", "type", "size", "mode", "modified")

no_wait_option = click.option("--no-wait", is_flag=True, help="Give the job and return at once.")


@click.group()
@common_options
def backup() -> None:
    """Make, find, look into, restore, verify and delete backups.

    UUID may be the start of one, as long as only one backup begins so.
    """


@backup.command()
@click.argument("server")
@click.option("--adapter", help="Storage to use; as configured when missing.")
@click.option(
    "--format",
    "archive_format",
    type=click.Choice([str(one) for one in ArchiveFormat]),
    help="Archive format; as configured when missing.",
)
@click.option("--ignore", multiple=True, metavar="LINE", help="What to leave out, a gitignore line; repeatable.")
@no_wait_option
@common_options
@click.pass_obj
def create(
    settings: Settings,
    server: str,
    adapter: str | None,
    archive_format: str | None,
    ignore: tuple[str, ...],
    no_wait: bool,
) -> None:
    """Back up SERVER (name, uuid, or the start of one)."""
    client = Client(settings)
    body = {"server": server, "adapter": adapter, "format": archive_format, "ignore": list(ignore)}
    queued = client.call("POST", BASE, body=body)
    if no_wait:
        _print_job(settings, queued)
        return
    follow(client, settings, queued["job"])
    made = client.call("GET", place(BASE, queued["uuid"]))
    if settings.json:
        print_json(_document(made))
        return
    click.echo(
        f"backup {made['uuid']}: {count(made['files'], 'file')}, {size(made['content_bytes'])} "
        f"in {size(made['size'])}, whole and on the disk"
    )
    click.echo(f"  {made['checksum_type']} {made['checksum']}")
    print_warnings(made["warnings"])


@backup.command(name="list")
@click.option("--server", help="Only those of this server.")
@common_options
@click.pass_obj
def list_backups(settings: Settings, server: str | None) -> None:
    """Show backups, oldest first."""
    client = Client(settings)
    backups = client.call("GET", BASE, query={"server": server} if server is not None else None)
    if settings.json:
        print_json([_document(one) for one in backups])
        return
    if not backups:
        click.echo(f"no backups yet; '{settings.command('backup create SERVER')}' makes one")
        return
    names = {one["uuid"]: one["name"] for one in client.call("GET", "/api/local/servers")}
    print_table(
        ["UUID", "SERVER", "CREATED", "FORMAT", "SIZE", "FILES", "STATE"],
        [
            [
                one["uuid"],
                names.get(one["server"], one["server"] or "-"),
                time(one["created"]),
                one["format"] or one["adapter"],
                size(one["size"]),
                "?" if one["files"] is None else f"{one['files']:,}",
                one["state"],
            ]
            for one in backups
        ],
    )


@backup.command()
@click.argument("uuid")
@common_options
@click.pass_obj
def show(settings: Settings, uuid: str) -> None:
    """Show everything known about a backup."""
    one = Client(settings).call("GET", place(BASE, uuid))
    if settings.json:
        print_json(one)
        return
    verified = f"{time(one['verified'])}, {'fine' if one['verified_ok'] else 'DAMAGED'}" if one["verified"] else "never"
    facts = {
        "backup": one["uuid"],
        "server": one["server"] or "unknown",
        "state": one["state"],
        "created": time(one["created"]),
        "stored by": f"{one['adapter']} as {one['format']}" if one["format"] else one["adapter"],
        "size": f"{size(one['size'])} ({one['size']:,} bytes)",
        "contents": f"{count(one['files'], 'file')}, {size(one['content_bytes'])}",
        "checksum": f"{one['checksum_type']} {one['checksum']}" if one["checksum"] else "unknown",
        "verified": verified,
    }
    print_facts(facts | ({"error": one["error"]} if one["error"] else {}))
    print_warnings(one["warnings"])


@backup.command()
@click.argument("uuid")
@click.argument("path", default="")
@common_options
@click.pass_obj
def tree(settings: Settings, uuid: str, path: str) -> None:
    """List the directory PATH inside a backup; its root when none is given."""
    entries = Client(settings).call("GET", place(BASE, uuid, "tree"), query=_path(path))
    if settings.json:
        print_json([_entry(one) for one in entries])
        return
    for one in entries:
        kind = {"directory": "d", "symlink": "l"}.get(one["type"], "-")
        arrow = f" -> {shown(one['target'])}" if one["target"] else ""
        click.echo(f"{kind} {one['mode']} {one['size']:>15,} {time(one['modified'])} {shown(one['name'])}{arrow}")


@backup.command()
@click.argument("uuid")
@click.argument("path")
@common_options
@click.pass_obj
def cat(settings: Settings, uuid: str, path: str) -> None:
    """Write the file PATH of a backup to stdout, byte for byte."""
    from wings.cli.transfer import to_stdout  # noqa: PLC0415  # only two commands move bytes

    to_stdout(Client(settings), place(BASE, uuid, "file"), _path(path))


@backup.command()
@click.argument("uuid")
@click.option("-o", "--output", metavar="FILE", help="Where to; - is stdout. Default: the archive's own name.")
@common_options
@click.pass_obj
def download(settings: Settings, uuid: str, output: str | None) -> None:
    """Save a backup as one file, checked against its checksum. Never replaces a file."""
    from wings.cli.transfer import Expected, to_file, to_stdout  # noqa: PLC0415  # only two commands move bytes

    client = Client(settings)
    one = client.call("GET", place(BASE, uuid))
    # A streaming storage makes the archive on the way out: what it has a checksum of is something else.
    known = one["checksum"] and not one["streaming"] and one["checksum_type"] == "sha256"
    expected = Expected("sha256", one["checksum"]) if known else None
    path = place(BASE, one["uuid"], "download")
    if output == "-":
        to_stdout(client, path, expected=expected)
        return
    saved = to_file(client, path, None if output is None else Path(output), expected)
    if settings.json:
        print_json(
            {"uuid": one["uuid"], "path": shown(saved.path), "size": saved.size, "checked": expected is not None}
        )
    else:
        click.echo(f"{size(saved.size)} saved as {shown(saved.path)}{', checksum as stored' if expected else ''}")


@backup.command()
@click.argument("uuid")
@click.option("--server", help="Restore into this server instead of the one it was taken from.")
@click.option("--truncate", is_flag=True, help="Remove everything that the backup does not hold.")
@no_wait_option
@common_options
@click.pass_obj
def restore(settings: Settings, uuid: str, server: str | None, truncate: bool, no_wait: bool) -> None:
    """Put the files of a backup back."""
    body = {"server": server, "truncate": truncate}
    result = _run_job(settings, "POST", place(BASE, uuid, "restore"), body, no_wait=no_wait)
    if result is None:
        return
    if settings.json:
        print_json(result)
        return
    click.echo(f"restored {count(result['files'], 'file')}, {size(result['bytes'])}")
    if result["refused"]:
        click.echo(f"  {result['refused']:,} of its entries refused, see the warnings")
    print_warnings(result["warnings"])


@backup.command()
@click.argument("uuid")
@click.option("--full", is_flag=True, help="Read and decode every byte.")
@no_wait_option
@common_options
@click.pass_obj
def verify(settings: Settings, uuid: str, full: bool, no_wait: bool) -> None:
    """Check a backup: that it exists, its size and structure; with --full every byte of it."""
    body = {"depth": "full" if full else "quick"}
    result = _run_job(settings, "POST", place(BASE, uuid, "verify"), body, no_wait=no_wait)
    if result is None:
        return
    if settings.json:
        print_json(result)
    elif result["ok"]:
        click.echo(f"fine: {', '.join(map(shown, result['checked']))} ({size(result['checked_bytes'])} read)")
    else:
        for problem in result["problems"]:
            click.echo(shown(problem))
    if not result["ok"]:
        raise Verdict(f"the backup is damaged: {count(len(result['problems']), 'problem')}", Damaged.exit_code)


@backup.command()
@click.argument("uuid")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, even at a terminal.")
@no_wait_option
@common_options
@click.pass_obj
def delete(settings: Settings, uuid: str, yes: bool, no_wait: bool) -> None:
    """Delete a backup. Asks first when a person sits at the terminal."""
    client = Client(settings)
    one = client.call("GET", place(BASE, uuid))
    if not (yes or settings.json or agreed(f"Delete backup {one['uuid']} of {time(one['created'])}?")):
        raise click.Abort
    result = _run_job(settings, "DELETE", place(BASE, one["uuid"]), None, no_wait=no_wait)
    if result is None:
        return
    if settings.json:
        print_json(result)
    else:
        click.echo("deleted" if result["deleted"] else "it was gone already; the catalogue has forgotten it")


@backup.command()
@click.argument("uuid")
@common_options
@click.pass_obj
def cancel(settings: Settings, uuid: str) -> None:
    """Stop what works on the backup UUID, or the job of that id."""
    client = Client(settings)
    start = uuid.lower()
    active = [
        job
        for job in client.call("GET", "/api/jobs", query={"state": "queued,running", "limit": "1000"})
        if start and ((job["backup"] or "").startswith(start) or job["id"].startswith(start))
    ]
    if not active:
        raise NotFound(f"nothing works on '{shown(uuid)}' now; '{settings.command('jobs')}' shows what does")
    if len({job["backup"] or job["id"] for job in active}) > 1:
        raise InvalidInput(f"'{shown(uuid)}' is ambiguous; give more of the uuid")
    ended = [client.call("DELETE", place("/api/jobs", job["id"])) for job in active]
    late = [job for job in ended if job["state"] == "succeeded"]
    if late:
        raise Conflict(f"too late: job {late[0]['id']} has succeeded")
    if settings.json:
        print_json(ended)
        return
    for job in ended:
        state = job["state"] if job["state"] not in ("queued", "running") else "will stop at its next safe point"
        click.echo(f"{job['kind']} {job['id']}: {state}")


def _run_job(settings: Settings, method: str, path: str, body: Json, *, no_wait: bool) -> Json:
    """Start a job and wait for its result; ``None`` when told not to wait."""
    client = Client(settings)
    queued = client.call(method, path, body=body)
    if no_wait:
        _print_job(settings, queued)
        return None
    return follow(client, settings, queued["job"])["result"]


def _print_job(settings: Settings, queued: Json) -> None:
    job = queued["job"]
    if settings.json:
        print_json(job)
    else:
        click.echo(f"job {job['id']} for backup {queued['uuid']} is {job['state']}")


def _document(backup: Json) -> Json:
    return {key: backup[key] for key in BACKUP_KEYS}


def _entry(entry: Json) -> Json:
    keys = [*ENTRY_KEYS, *(["name_b64"] if entry["name_b64"] else [])]
    return {key: entry[key] for key in keys}


def _path(path: str) -> dict[str, str]:
    # Bytes that are no UTF-8 arrive as surrogates; base64 carries them as they are.
    return {"path_b64": base64.b64encode(os.fsencode(path)).decode()}
