"""What may run beside what, and what comes next. Pure data: no clock, no threads, no events.

Rules (backup-drivers §11.1, W-7): one job at a time per backup; an exclusive job (a restore) excludes every
other job of its server; creates of one server run one after another; each kind has a number of places on
the node. A job never overtakes an earlier one it could not run beside, so nothing starves; one that only
lacks a free place is overtaken by jobs of other kinds.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from wings.jobs.model import JobKind


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job is about. ``server`` is the one whose files or backups it works on (a restore's target)."""

    kind: JobKind
    server: UUID | None = None
    backup: UUID | None = None
    server_exclusive: bool = False


class _Claims:
    """What the jobs seen so far keep for themselves, each with the kind of job that does."""

    def __init__(self) -> None:
        self._backups: dict[UUID, JobKind] = {}
        self._servers: dict[UUID, JobKind] = {}
        self._exclusive: dict[UUID, JobKind] = {}
        self._creating: set[UUID] = set()

    def add(self, spec: JobSpec) -> None:
        if spec.backup is not None:
            self._backups.setdefault(spec.backup, spec.kind)
        if spec.server is not None:
            self._servers.setdefault(spec.server, spec.kind)
            if spec.server_exclusive:
                self._exclusive.setdefault(spec.server, spec.kind)
            if spec.kind is JobKind.CREATE:
                self._creating.add(spec.server)

    def against(self, spec: JobSpec) -> str | None:
        """Why ``spec`` cannot run beside them; ``None`` when it can."""
        if spec.backup is not None and (kind := self._backups.get(spec.backup)):
            return f"waiting for the {kind} of the same backup"
        if spec.server is None:
            return None
        if kind := self._exclusive.get(spec.server):
            return f"waiting for the {kind} of this server"
        if spec.server_exclusive and (kind := self._servers.get(spec.server)):
            return f"waiting for the {kind} of this server"
        if spec.kind is JobKind.CREATE and spec.server in self._creating:
            return "waiting for another create of this server"
        return None


class Schedule:
    """The queue and what runs. ``places`` is the number of jobs of each kind that may run at once."""

    def __init__(self, places: Mapping[JobKind, int]) -> None:
        for kind in JobKind:
            if places[kind] < 1:
                raise ValueError(f"at least one {kind} job must be allowed to run")
        self._places = dict(places)
        self._waiting: dict[UUID, JobSpec] = {}
        self._running: dict[UUID, JobSpec] = {}
        self._reasons: dict[UUID, str] = {}

    def add(self, id: UUID, spec: JobSpec) -> None:
        """Queue a job behind all others."""
        self._waiting[id] = spec

    def remove(self, id: UUID) -> None:
        """The job ended, or does not want to run any more. Unknown ids are ignored."""
        self._waiting.pop(id, None)
        self._running.pop(id, None)
        self._reasons.pop(id, None)

    def advance(self) -> list[UUID]:
        """Move every job that may run now from the queue to the running ones, and name them in order."""
        claims = _Claims()
        taken: Counter[JobKind] = Counter()
        for spec in self._running.values():
            claims.add(spec)
            taken[spec.kind] += 1
        started = []
        self._reasons = {}
        for id, spec in list(self._waiting.items()):
            reason = claims.against(spec)
            if reason is None and taken[spec.kind] >= self._places[spec.kind]:
                reason = f"waiting for one of {taken[spec.kind]} running {spec.kind} jobs to end"
            if reason is None:
                self._running[id] = self._waiting.pop(id)
                taken[spec.kind] += 1
                started.append(id)
            else:
                self._reasons[id] = reason
            claims.add(spec)
        return started

    @property
    def reasons(self) -> Mapping[UUID, str]:
        """For each job in the queue why it waits, as of the last ``advance``."""
        return self._reasons

    @property
    def waiting(self) -> Mapping[UUID, JobSpec]:
        """The queue, first come first."""
        return self._waiting

    @property
    def running(self) -> Mapping[UUID, JobSpec]:
        """What runs."""
        return self._running
