"""Figures for Prometheus. Names, labels and meaning are in ``docs/metrics.md``; a test compares the two."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

JOB_SECONDS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200)
REQUEST_SECONDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 60)


class Metrics:
    """All figures of one daemon, in a registry of its own. Methods are cheap and safe from any thread."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._created = Counter("wings_backups_created", "Backups made.", ["adapter"], registry=registry)
        self._failed = Counter(
            "wings_backups_failed", "Backups that failed, by error code.", ["adapter", "code"], registry=registry
        )
        self._bytes = Counter(
            "wings_backup_stored_bytes", "Sizes of the backups made, added up.", ["adapter"], registry=registry
        )
        self._seconds = Histogram(
            "wings_backup_duration_seconds",
            "Time from the start of a successful create to its end.",
            ["adapter"],
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self._last = Gauge(
            "wings_backup_last_success_timestamp_seconds",
            "When the newest successful backup of a server was finished, Unix time.",
            ["server"],
            registry=registry,
        )
        self._restores = Counter(
            "wings_restores", "Restores that ended, by outcome.", ["adapter", "outcome"], registry=registry
        )
        self._verifications = Counter(
            "wings_verifications", "Verifications that ended, by what they found.", ["outcome"], registry=registry
        )
        self._jobs = Gauge("wings_jobs", "Jobs there are now.", ["kind", "state"], registry=registry)
        self._requests = Counter(
            "wings_http_requests",
            "HTTP requests answered, by route template.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "wings_http_request_duration_seconds",
            "Time to the end of the answer.",
            ["method", "route"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self._lag = Gauge(
            "wings_event_loop_lag_seconds", "Longest the event loop was late in the last minute.", registry=registry
        )
        ProcessCollector(registry=registry)

    def backup_created(self, adapter: str, server: UUID | None, size: int, seconds: float) -> None:
        """A create ended well. ``size`` in bytes."""
        self._created.labels(adapter).inc()
        self._bytes.labels(adapter).inc(size)
        self._seconds.labels(adapter).observe(seconds)
        if server is not None:
            self.last_success(server, datetime.now(UTC))

    def last_success(self, server: UUID, finished: datetime) -> None:
        """Also for what the catalogue knows from before this start."""
        self._last.labels(str(server)).set(finished.timestamp())

    def server_removed(self, server: UUID) -> None:
        """Nobody waits for its next backup any more."""
        self._last.remove_by_labels({"server": str(server)})

    def backup_failed(self, adapter: str, code: str) -> None:
        """A create failed or was cancelled; ``code`` of the error."""
        self._failed.labels(adapter, code).inc()

    def restore_finished(self, adapter: str, *, ok: bool) -> None:
        """A restore ended."""
        self._restores.labels(adapter, "succeeded" if ok else "failed").inc()

    def verified(self, *, ok: bool) -> None:
        """A verification ran to its end."""
        self._verifications.labels("sound" if ok else "damaged").inc()

    def jobs_changed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many jobs there are by kind and state (``running``, ``queued``)."""
        for (kind, state), count in counts.items():
            self._jobs.labels(kind, state).set(count)

    def request_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer is out. ``route`` is the template, never the path: the number of label values stays small."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        """The longest the event loop was late, lately."""
        self._lag.set(seconds)

    def render(self) -> tuple[bytes, str]:
        """The answer to ``GET /metrics`` and its content type. Reads /proc: call it on a worker thread."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
