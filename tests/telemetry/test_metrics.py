"""Figures for Prometheus: right, and the documented ones exactly."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prometheus_client.parser import text_string_to_metric_families

from wings.telemetry.metrics import Metrics

SERVER = UUID("11111111-1111-4111-8111-111111111111")


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, kind = metrics.render()
    assert kind.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def test_backups_are_counted() -> None:
    metrics = Metrics()
    metrics.backup_created("wings", SERVER, 1000, 4.0)
    metrics.backup_created("wings", None, 500, 400.0)
    metrics.backup_failed("s3", "unavailable")
    assert value(metrics, "wings_backups_created_total", adapter="wings") == 2
    assert value(metrics, "wings_backup_stored_bytes_total", adapter="wings") == 1500
    assert value(metrics, "wings_backup_duration_seconds_count", adapter="wings") == 2
    assert value(metrics, "wings_backup_duration_seconds_bucket", adapter="wings", le="5.0") == 1
    assert value(metrics, "wings_backups_failed_total", adapter="s3", code="unavailable") == 1
    last = value(metrics, "wings_backup_last_success_timestamp_seconds", server=str(SERVER))
    assert last is not None and abs(last - datetime.now(UTC).timestamp()) < 10


def test_the_last_success_can_be_told_and_forgotten() -> None:
    metrics = Metrics()
    metrics.last_success(SERVER, datetime(2026, 1, 1, tzinfo=UTC))
    assert value(metrics, "wings_backup_last_success_timestamp_seconds", server=str(SERVER)) == 1767225600
    metrics.server_removed(SERVER)
    metrics.server_removed(SERVER)
    assert value(metrics, "wings_backup_last_success_timestamp_seconds", server=str(SERVER)) is None


def test_outcomes_jobs_and_requests() -> None:
    metrics = Metrics()
    metrics.restore_finished("wings", ok=True)
    metrics.restore_finished("wings", ok=False)
    metrics.verified(ok=False)
    metrics.jobs_changed({("create", "running"): 2, ("create", "queued"): 0})
    metrics.request_answered("GET", "/api/jobs/{id}", 404, 0.01)
    metrics.loop_lag(0.25)
    assert value(metrics, "wings_restores_total", adapter="wings", outcome="succeeded") == 1
    assert value(metrics, "wings_restores_total", adapter="wings", outcome="failed") == 1
    assert value(metrics, "wings_verifications_total", outcome="damaged") == 1
    assert value(metrics, "wings_jobs", kind="create", state="running") == 2
    assert value(metrics, "wings_jobs", kind="create", state="queued") == 0
    assert value(metrics, "wings_http_requests_total", method="GET", route="/api/jobs/{id}", status="404") == 1
    assert value(metrics, "wings_event_loop_lag_seconds") == 0.25


def test_process_figures_are_there_once() -> None:
    body, _ = Metrics().render()
    assert body.count(b"\nprocess_resident_memory_bytes ") == 1


def test_two_daemons_in_one_process_do_not_share() -> None:
    one, two = Metrics(), Metrics()
    one.verified(ok=True)
    assert value(two, "wings_verifications_total", outcome="sound") is None


def test_the_document_names_exactly_what_there_is() -> None:
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    documented = {
        (name, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, labels in re.findall(r"^\| `(wings_\w+)` \| \w+ \|([^|]*)\|", document, re.MULTILINE)
    }
    existing = set()
    for collector in set(Metrics().registry._collector_to_names):
        if hasattr(collector, "_labelnames"):
            family = next(iter(collector.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            existing.add((name, frozenset(collector._labelnames)))
    assert documented == existing
