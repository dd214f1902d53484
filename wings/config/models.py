"""The whole configuration: every key of config §7 with its default, in the order it is written in."""

from uuid import UUID

from wings.config.models_api import Api
from wings.config.models_docker import Docker
from wings.config.models_system import System
from wings.config.models_wings import Wings
from wings.config.quantities import Secret
from wings.config.section import Apply, Section, key, section
from wings.config.values import (
    AtLeastOne,
    Count,
    Flag,
    Milliseconds,
    NodeUuid,
    Seconds,
    SecretMapValue,
    SecretValue,
    Text,
)


class Throttles(Section):
    """Consoles that print too much."""

    enabled: Flag = key(True, "Leave lines out when a console prints too much.")
    lines: Count = key(2000, "Lines shown in one window.")
    line_reset_interval: Milliseconds = key(100, "Length of that window; 0 = show everything.")


class RemoteQuery(Section):
    """Calls to the panel."""

    timeout: Seconds = key(30, "Longest time of one call.", Apply.BOOT)
    boot_servers_per_page: Count = key(
        50, "Servers fetched per call at the start, and started at a time; 0 = start none.", Apply.BOOT
    )
    retry_limit: AtLeastOne = key(10, "Attempts per call.", Apply.BOOT)


class Config(Section):
    """The daemon's configuration file."""

    debug: Flag = key(False, "Log more.")
    app_name: Text = key("Calagopus", "Name of the daemon in server consoles.")
    uuid: NodeUuid = key(UUID(int=0), "Identity of this node, given by the panel.", Apply.BOOT)
    token_id: SecretValue = key(
        Secret(""),
        "First half of the credentials, given by the panel. file:///path and $NAME read it from there.",
        Apply.BOOT,
    )
    token: SecretValue = key(
        Secret(""),
        "Second half of the credentials; also what callers of this node's API must present.",
        Apply.BOOT,
    )
    api: Api = section(Api, "The HTTP API of this node.")
    system: System = section(System, "This machine: directories, accounts, checks, backups.")
    docker: Docker = section(Docker, "The container engine.")
    throttles: Throttles = section(Throttles, "Consoles that print too much.")
    remote: Text = key("", "Address of the panel, https://panel.example.com; empty in local mode.", Apply.BOOT)
    remote_headers: dict[str, SecretMapValue] = key({}, "Further headers of every call to the panel.", Apply.BOOT)
    remote_query: RemoteQuery = section(RemoteQuery, "Calls to the panel.")
    allowed_mounts: tuple[Text, ...] = key(
        (), "Directories of this machine that servers may mount, with all below them.", Apply.CONTAINER
    )
    allowed_origins: tuple[Text, ...] = key((), "Further web sites whose scripts may use the API; * = all.")
    allow_cors_private_network: Flag = key(False, "Let public web sites reach this node in a private network.")
    ignore_panel_config_updates: Flag = key(False, "Refuse changes of this file by the panel.")
    ignore_panel_wings_upgrades: Flag = key(False, "Refuse upgrades ordered by the panel.")
    wings: Wings = section(Wings, "Settings that only this daemon has; others ignore them.")
