"""The ``api`` section: listener, limits of requests, addresses nobody may be made to call (config §7.3)."""

import ipaddress

from wings.config.section import Apply, Section, key, optional, section
from wings.config.values import (
    U32,
    AtLeastOne,
    Bytes,
    Cidr,
    Count,
    Flag,
    MapText,
    Mebibytes,
    Port,
    Seconds,
    Text,
    networks,
)


class Ssl(Section):
    """TLS of the listener."""

    enabled: Flag = key(False, "Serve HTTPS with the certificate below instead of HTTP.", Apply.BOOT)
    ktls_enabled: Flag = key(False, "Let the kernel encrypt; accepted and without effect here.", Apply.BOOT)
    cert: Text = key("", "Certificate chain (PEM file). Read again when it is renewed.", Apply.BOOT)
    key: Text = key("", "Private key (PEM file). Read again when it is renewed.", Apply.BOOT)


class HttpRequestStep(Section):
    """What scheduled HTTP requests may do."""

    enabled: Flag = key(True, "Whether schedules may send HTTP requests at all.")
    requests: U32 = key(5, "Requests allowed per server in one window.")
    window_seconds: Seconds = key(60, "Length of that window.")
    max_response_size: Bytes = key(16384, "Answers are cut off after this much.")
    blocked_cidrs: tuple[Cidr, ...] = key(
        networks(
            "0.0.0.0/8",
            "127.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "::1",
            "fe80::/10",
            "fc00::/7",
        ),
        "Addresses a scheduled request may not reach.",
    )


class ScheduleSteps(Section):
    """Limits per kind of schedule step."""

    http_request: HttpRequestStep = section(HttpRequestStep, "HTTP requests sent by schedules.")


class Schedule(Section):
    """Schedules that run on this node."""

    steps: ScheduleSteps = section(ScheduleSteps, "Limits per kind of step.")


class RemoteDownload(Section):
    """Downloads from a URL into a server."""

    max_redirects: Count = key(10, "How many redirects such a download follows.")


class Api(Section):
    """The HTTP API of this node."""

    host: Text = key(
        "0.0.0.0",  # noqa: S104 - the panel and browsers reach the node from outside; the schema's default
        "IP address to listen on (:: for both families), or the path of a Unix socket. "
        "Anything that is no address is a path, a host name too.",
        Apply.BOOT,
    )
    port: Port = key(8080, "TCP port; not used with a Unix socket.", Apply.BOOT)
    ssl: Ssl = section(Ssl, "TLS of the listener.")
    redirects: dict[str, MapText] = key(
        {}, "Request paths without a route of their own, and where a 302 answer sends them."
    )
    disable_openapi_docs: Flag = key(False, "Do not serve /openapi.json.", Apply.BOOT)
    disable_remote_download: Flag = key(False, "Refuse to fetch files from URLs into servers.")
    server_remote_download_limit: Count = key(3, "Such downloads at a time per server; 0 allows none.")
    remote_download_blocked_cidrs: tuple[Cidr, ...] = key(
        networks(
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "::1",
            "fe80::/10",
            "fc00::/7",
        ),
        "Addresses such a download may not reach, redirects included.",
    )
    disable_directory_size: Flag = key(False, "List directories with size 0 instead of their tracked size.")
    directory_entry_limit: Count = key(10000, "Entries of one page when a listing does not say how many; 0 = all.")
    send_offline_server_logs: Flag = key(
        False,
        "Show the last log of a stopped server from its container; needs docker.delete_container_on_stop: false.",
    )
    file_search_threads: AtLeastOne = key(4, "Threads of one file search.")
    file_copy_threads: AtLeastOne = key(4, "Threads of one copy.")
    file_decompression_threads: AtLeastOne = key(2, "Threads of one extraction that a user asked for.")
    file_compression_threads: AtLeastOne = key(
        2, "Threads of one archive that a user asked for, and of archives streamed out of backups."
    )
    upload_limit: Mebibytes = key(100, "Largest file that can be uploaded; 0 = no limit.")
    max_jwt_uses: Count = key(5, "How often one download link works; 0 = as long as it is valid.", Apply.BOOT)
    trusted_proxies: tuple[Cidr, ...] = key(
        (), "Reverse proxies whose X-Forwarded-For and X-Real-IP headers are believed."
    )
    schedule: Schedule = section(Schedule, "Schedules that run on this node.")
    remote_download: RemoteDownload | None = optional("Known from Pelican: downloads from URLs.")

    @property
    def socket_path(self) -> str | None:
        """The Unix socket to listen on, or ``None`` when ``host`` is an IP address."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host
        return None
