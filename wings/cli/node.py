"""``wings health``, ``check`` and ``jobs``: how the node is."""

import click

from wings.cli.client import Client, place
from wings.cli.failures import Verdict
from wings.cli.output import print_facts, print_json, print_table, size, time
from wings.cli.settings import Settings, common_options
from wings.errors import Unavailable, shown

ENDED = 20  # ended jobs that are shown when nothing else is asked for


@click.command()
@common_options
@click.pass_obj
def health(settings: Settings) -> None:
    """Exit with 0 when the daemon is ready."""
    answer = Client(settings).call("GET", "/api/health")
    if settings.json:
        print_json(answer)
    else:
        print_facts({"daemon": answer["status"], "version": answer["version"]})


@click.command()
@click.argument("adapter", required=False)
@common_options
@click.pass_obj
def check(settings: Settings, adapter: str | None) -> None:
    """Ask the storage ADAPTER, or all, whether it can work right now."""
    base = "/api/local/adapters"
    answer = Client(settings).call("POST", f"{base}/check" if adapter is None else place(base, adapter, "check"))
    reports = answer if adapter is None else [answer]
    if settings.json:
        print_json(answer)
    else:
        for report in reports:
            click.echo(f"{shown(report['adapter'])}: {'fine' if report['ok'] else 'NOT fine'}")
            for item in report["items"]:
                mark = click.style("ok ", fg="green") if item["ok"] else click.style("BAD", fg="red")
                click.echo(f"  {mark} {shown(item['what'])}: {shown(item['detail'])}")
    if bad := [report["adapter"] for report in reports if not report["ok"]]:
        raise Verdict(f"cannot work now: {', '.join(bad)}", Unavailable.exit_code)


@click.command()
@click.option("--active", is_flag=True, help="Only those that run or wait.")
@click.option("--limit", type=click.IntRange(1, 1000), default=ENDED, show_default=True, help="How many at most.")
@common_options
@click.pass_obj
def jobs(settings: Settings, active: bool, limit: int) -> None:
    """Show what runs, waits, and ended lately; newest first."""
    query = {"limit": str(limit), **({"state": "queued,running"} if active else {})}
    answer = Client(settings).call("GET", "/api/jobs", query=query)
    if settings.json:
        print_json(answer)
    elif not answer:
        click.echo("nothing runs or waits" if active else "no jobs yet")
    else:
        print_table(
            ["JOB", "KIND", "BACKUP", "CREATED", "STATE", "DONE", "STAGE OR REASON"],
            [
                [
                    job["id"],
                    job["kind"],
                    job["backup"] or "-",
                    time(job["created"]),
                    job["state"],
                    size(job["bytes_processed"]),
                    job["error"] or job["stage"],
                ]
                for job in answer
            ],
        )
