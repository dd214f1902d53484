"""What a job is to everybody outside the manager: plain data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from wings.store.jobs import JobRow

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = Mapping[str, JsonValue]


class JobKind(StrEnum):
    """What a job does."""

    CREATE = "create"
    RESTORE = "restore"
    DELETE = "delete"
    VERIFY = "verify"


class JobState(StrEnum):
    """Where a job is in its life. The last four are ends and never change again.

    ``cancelled``: somebody asked for it to stop. ``interrupted``: the daemon stopped or was killed.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether the job is over, however it went."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


INTERRUPTED_CODE = "interrupted"  # error_code of every interrupted job


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job at one moment. Counters as backup-drivers §12 has them; a total of 0 is unknown.

    ``stage`` is one word for what is being done, or for a queued job ``waiting for …``. ``error`` and
    ``error_code`` are set exactly when it ended other than succeeded, ``result`` when it succeeded.
    """

    id: UUID
    kind: JobKind
    server: UUID | None
    backup: UUID | None
    state: JobState
    stage: str
    bytes_processed: int
    bytes_total: int
    files_processed: int
    files_total: int
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    error: str | None = None
    error_code: str | None = None
    result: JsonObject | None = None

    def to_json(self) -> JsonObject:
        """For the API and for events: uuids as text, times as ISO 8601 in UTC."""
        return {
            "id": str(self.id),
            "kind": str(self.kind),
            "server": _text(self.server),
            "backup": _text(self.backup),
            "state": str(self.state),
            "stage": self.stage,
            "bytes_processed": self.bytes_processed,
            "bytes_total": self.bytes_total,
            "files_processed": self.files_processed,
            "files_total": self.files_total,
            "created": _iso(self.created),
            "started": _iso(self.started),
            "finished": _iso(self.finished),
            "error": self.error,
            "error_code": self.error_code,
            "result": self.result,
        }

    def to_row(self) -> JobRow:
        """For the store."""
        return JobRow(
            id=self.id,
            kind=self.kind,
            server=self.server,
            backup=self.backup,
            state=self.state,
            stage=self.stage,
            bytes_processed=self.bytes_processed,
            bytes_total=self.bytes_total,
            files_processed=self.files_processed,
            files_total=self.files_total,
            created=self.created,
            started=self.started,
            finished=self.finished,
            error=self.error,
            error_code=self.error_code,
            # ASCII, so that undecodable file names in a result cannot keep it from being stored.
            result=None if self.result is None else json.dumps(self.result),
        )

    @classmethod
    def from_row(cls, row: JobRow) -> "JobRecord":
        """Back from the store."""
        return cls(
            id=row.id,
            kind=JobKind(row.kind),
            server=row.server,
            backup=row.backup,
            state=JobState(row.state),
            stage=row.stage,
            bytes_processed=row.bytes_processed,
            bytes_total=row.bytes_total,
            files_processed=row.files_processed,
            files_total=row.files_total,
            created=row.created,
            started=row.started,
            finished=row.finished,
            error=row.error,
            error_code=row.error_code,
            result=None if row.result is None else json.loads(row.result),
        )


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat()
