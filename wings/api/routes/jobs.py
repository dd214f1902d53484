"""``/api/jobs``: what runs, what waits, what ended."""

import math
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, JsonValue

from wings.api.closing import or_closing
from wings.api.errors import status_of
from wings.api.names import presentable
from wings.api.routing import Parameter, Route
from wings.api.services import Services
from wings.errors import InvalidInput, shown
from wings.jobs.model import JobKind, JobRecord, JobState

LONGEST_WAIT = 60.0  # seconds; below what proxies and clients give up after
STOP_PATIENCE = 5.0  # seconds that cancelling waits for the end before it answers
LISTED = 100
LARGEST_LIST = 1000

Choice = TypeVar("Choice", JobKind, JobState)


class JobDocument(BaseModel):
    """A job. Totals of 0 are unknown. ``error_status`` is the HTTP status that goes with ``error_code``."""

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
    started: datetime | None
    finished: datetime | None
    error: str | None
    error_code: str | None
    error_status: int | None
    result: dict[str, JsonValue] | None

    @classmethod
    def of(cls, record: JobRecord) -> "JobDocument":
        """As it goes out."""
        status = None if record.error_code is None else status_of(record.error_code)
        return cls.model_validate({**presentable(record.to_json()), "error_status": status})


async def list_jobs(request: web.Request, services: Services) -> list[JobDocument]:
    """The newest first, those that fit every filter given."""
    asked = request.query
    server, backup = asked.get("server"), asked.get("backup")
    jobs = await services.jobs.list(
        server=(await services.directory.resolve(server)).uuid if server else None,
        backup=_uuid(backup) if backup else None,
        kind=_one_of(JobKind, asked["kind"]) if asked.get("kind") else None,
        states={_one_of(JobState, state) for state in asked["state"].split(",")} if asked.get("state") else None,
        limit=_limit(asked.get("limit")),
    )
    return [JobDocument.of(job) for job in jobs]


async def get_job(request: web.Request, services: Services) -> JobDocument:
    """One job; with ``wait`` the answer comes when it has ended, or after so many seconds."""
    identity = _uuid(request.match_info["job"])
    if wait := request.query.get("wait"):
        record = await or_closing(request.app, services.jobs.wait(identity, _seconds(wait)))
        if record is not None:
            return JobDocument.of(record)
    return JobDocument.of(await services.jobs.get(identity))


async def cancel_job(request: web.Request, services: Services) -> JobDocument:
    """Ask it to stop; the answer comes when it has, or after a moment."""
    identity = _uuid(request.match_info["job"])
    record = await services.jobs.cancel(identity)
    if not record.state.ended:
        record = await or_closing(request.app, services.jobs.wait(identity, STOP_PATIENCE)) or record
    return JobDocument.of(record)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(f"'{shown(text)}' is no whole uuid; 'wings jobs' shows those of jobs and backups") from None


def _one_of(kind: type[Choice], text: str) -> Choice:
    try:
        return kind(text)
    except ValueError:
        raise InvalidInput(f"'{shown(text)}' is none of {', '.join(kind)}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds) or seconds < 0:
        raise InvalidInput(f"'wait' is a number of seconds, at most {LONGEST_WAIT:.0f} of which count")
    return min(seconds, LONGEST_WAIT)


def _limit(text: str | None) -> int:
    if text is None:
        return LISTED
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= LARGEST_LIST):
        raise InvalidInput(f"'limit' is a whole number from 1 to {LARGEST_LIST}")
    return int(text)


ROUTES = [
    Route(
        "GET",
        "/api/jobs",
        list_jobs,
        "Jobs, newest first",
        answer=list[JobDocument],
        query=[
            Parameter("server", "only those about this server: name, uuid or its unique start"),
            Parameter("backup", "only those about this backup, by its whole uuid"),
            Parameter("kind", f"only those of this kind: {', '.join(JobKind)}"),
            Parameter("state", f"only those in one of these states, comma between them: {', '.join(JobState)}"),
            Parameter("limit", f"how many at most, {LISTED} when missing, up to {LARGEST_LIST}"),
        ],
    ),
    Route(
        "GET",
        "/api/jobs/{job}",
        get_job,
        "One job",
        answer=JobDocument,
        query=[Parameter("wait", f"seconds to wait for its end, up to {LONGEST_WAIT:.0f}")],
    ),
    Route("DELETE", "/api/jobs/{job}", cancel_job, "Cancel a job", answer=JobDocument),
]
