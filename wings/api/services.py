"""What handlers may use."""

from collections.abc import Callable
from dataclasses import dataclass

from wings.backups.service import BackupService
from wings.jobs.events import EventBus
from wings.jobs.manager import JobManager
from wings.servers.directory import ServerDirectory
from wings.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the daemon behind the API.

    ``phase`` says where in its life the daemon is. Without ``metrics`` there is no ``/metrics``, without
    ``documentation`` no ``/openapi.json``.
    """

    directory: ServerDirectory
    backups: BackupService
    jobs: JobManager
    events: EventBus
    metrics: Metrics | None
    phase: Callable[[], str]
    token: str
    version: str
    documentation: bool = True
