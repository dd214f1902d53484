"""``/api/local/backups``: the life of backups, for the command line and for scripts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from wings.api.names import NamedPath, decode_path, plain
from wings.api.routes.jobs import JobDocument
from wings.api.routing import Parameter, Route, read_body
from wings.api.services import Services
from wings.api.streams import asked_range, send
from wings.archives.entry import Entry
from wings.archives.formats import ArchiveFormat
from wings.backups.protocol import Depth
from wings.errors import InvalidInput, shown
from wings.store.backups import BackupRow, BackupState

_PATHS = [
    Parameter("path", "path inside the backup; empty or missing is its root"),
    Parameter("path_b64", "the same in base64, for names that are not UTF-8"),
]


class BackupDocument(BaseModel):
    """One backup as the catalogue knows it. Sizes in bytes; ``successful`` means whole and durable."""

    uuid: str
    server: str | None
    adapter: str
    format: str | None
    state: str
    successful: bool
    size: int
    files: int | None
    checksum_type: str
    checksum: str
    created: datetime
    browsable: bool
    streaming: bool
    warnings: list[str]
    content_bytes: int | None
    error: str | None
    error_code: str | None
    verified: datetime | None
    verified_ok: bool | None

    @classmethod
    def of(cls, row: BackupRow) -> "BackupDocument":
        """As it goes out."""
        return cls(
            uuid=str(row.uuid),
            server=str(row.server) if row.server else None,
            adapter=row.adapter,
            format=row.format,
            state=row.state,
            successful=row.state is BackupState.AVAILABLE,
            size=row.size,
            files=row.files,
            checksum_type=row.checksum_type if row.checksum else "",
            checksum=row.checksum,
            created=row.created,
            browsable=row.browsable,
            streaming=row.streaming,
            warnings=[plain(warning) for warning in row.warnings],
            content_bytes=row.content_bytes,
            error=None if row.error is None else plain(row.error),
            error_code=row.error_code,
            verified=row.verified,
            verified_ok=row.verified_ok,
        )


@dataclass(slots=True)
class EntryDocument:
    """One entry of a directory inside a backup. ``mode`` is octal, ``modified`` in UTC, ``target`` a symlink's text.

    No model, and not frozen, which would double the time: there may be a hundred thousand in one directory.
    """

    name: str
    type: str
    size: int
    mode: str
    modified: datetime
    target: str | None = None
    name_b64: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> "EntryDocument":
        """As it goes out."""
        name = NamedPath.of(entry.path.rpartition(b"/")[2])
        return cls(
            name=name.text,
            name_b64=name.encoded,
            type=entry.kind,
            size=entry.size,
            mode=f"{entry.mode:04o}",
            modified=_time(entry.mtime_ns),
            target=shown(entry.target) if entry.target else None,
        )


class NewBackup(BaseModel):
    """What to back up and how. ``server`` is a name, a uuid or its unique start."""

    server: str
    adapter: str | None = None
    format: ArchiveFormat | None = None
    ignore: Annotated[list[str], Field(max_length=10_000)] = []
    uuid: UUID | None = None


class Restore(BaseModel):
    """Where to restore: ``server`` missing means the one it was taken from."""

    server: str | None = None
    truncate: bool = False


class Verify(BaseModel):
    """How deep."""

    depth: Depth = Depth.QUICK


class Queued(BaseModel):
    """A job was accepted for this backup."""

    uuid: str
    job: JobDocument


async def list_backups(request: web.Request, services: Services) -> list[BackupDocument]:
    """Those of one server, or all, oldest first."""
    name = request.query.get("server")
    server = (await services.directory.resolve(name)).uuid if name else None
    return [BackupDocument.of(row) for row in await services.backups.list(server)]


async def create_backup(request: web.Request, services: Services) -> Queued:
    """Queue a create."""
    new = await read_body(request, NewBackup)
    server = await services.directory.resolve(new.server)
    job = await services.backups.create(
        server, adapter=new.adapter, format=new.format, ignore=new.ignore, uuid=new.uuid
    )
    return Queued(uuid=str(job.backup), job=JobDocument.of(job))


async def get_backup(request: web.Request, services: Services) -> BackupDocument:
    """One."""
    return BackupDocument.of(await _named(request, services))


async def delete_backup(request: web.Request, services: Services) -> Queued:
    """Queue its removal."""
    row = await _named(request, services)
    return Queued(uuid=str(row.uuid), job=JobDocument.of(await services.backups.delete(row.uuid)))


async def list_tree(request: web.Request, services: Services) -> web.Response:
    """Entries of one directory inside."""
    row = await _named(request, services)
    entries = await services.backups.tree(row.uuid, _path(request) or b"")
    body = await asyncio.to_thread(_listing, entries)  # long ones would hold up everybody else
    return web.Response(body=body, content_type="application/json")


async def get_file(request: web.Request, services: Services) -> web.StreamResponse:
    """One file out of it."""
    row = await _named(request, services)
    path = _path(request)
    if not path:
        raise InvalidInput("say which file with 'path' or 'path_b64'")
    return await send(request, await services.backups.open_file(row.uuid, path, asked_range(request)))


async def download_backup(request: web.Request, services: Services) -> web.StreamResponse:
    """The backup as one file."""
    row = await _named(request, services)
    name = request.query.get("archive_format")
    try:
        format = ArchiveFormat(name) if name else None
    except ValueError:
        raise InvalidInput(
            f"'{shown(name or '')}' is no archive format; there are {', '.join(ArchiveFormat)}"
        ) from None
    return await send(request, await services.backups.download(row.uuid, format, asked_range(request)))


async def restore_backup(request: web.Request, services: Services) -> Queued:
    """Queue a restore."""
    row = await _named(request, services)
    wish = await read_body(request, Restore)
    server = await services.directory.resolve(wish.server) if wish.server else None
    job = await services.backups.restore(row.uuid, server, truncate=wish.truncate)
    return Queued(uuid=str(row.uuid), job=JobDocument.of(job))


async def verify_backup(request: web.Request, services: Services) -> Queued:
    """Queue a verification."""
    row = await _named(request, services)
    wish = await read_body(request, Verify)
    return Queued(uuid=str(row.uuid), job=JobDocument.of(await services.backups.verify(row.uuid, wish.depth)))


async def _named(request: web.Request, services: Services) -> BackupRow:
    return await services.backups.resolve(request.match_info["backup"])


def _path(request: web.Request) -> bytes | None:
    path = decode_path(request.query.get("path"), request.query.get("path_b64"))
    return None if path is None else path.strip(b"/")


def _listing(entries: Sequence[Entry]) -> bytes:
    return orjson.dumps([EntryDocument.of(entry) for entry in entries], option=orjson.OPT_UTC_Z)


def _time(mtime_ns: int) -> datetime:
    # Archives may claim any time; dates here are of the years 1 to 9999.
    return _EPOCH + timedelta(microseconds=min(max(mtime_ns // 1000, _EARLIEST), _LATEST))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = -62_135_596_800_000_000  # microseconds from the epoch to the start of the year 1
_LATEST = 253_402_300_799_999_999  # to the end of the year 9999


_ONE = "/api/local/backups/{backup}"
ROUTES = [
    Route(
        "GET",
        "/api/local/backups",
        list_backups,
        "Backups",
        answer=list[BackupDocument],
        query=[Parameter("server", "only those of this server")],
    ),
    Route("POST", "/api/local/backups", create_backup, "Back up a server", answer=Queued, body=NewBackup, status=202),
    Route("GET", _ONE, get_backup, "One backup", answer=BackupDocument),
    Route("DELETE", _ONE, delete_backup, "Delete a backup", answer=Queued, status=202),
    Route("GET", f"{_ONE}/tree", list_tree, "A directory inside", answer=list[EntryDocument], query=_PATHS),
    Route("GET", f"{_ONE}/file", get_file, "A file inside", query=_PATHS, media="application/octet-stream"),
    Route(
        "GET",
        f"{_ONE}/download",
        download_backup,
        "The backup as one file",
        query=[Parameter("archive_format", "for storages that make the archive on the way out")],
        media="application/octet-stream",
    ),
    Route("POST", f"{_ONE}/restore", restore_backup, "Restore", answer=Queued, body=Restore, status=202),
    Route("POST", f"{_ONE}/verify", verify_backup, "Verify", answer=Queued, body=Verify, status=202),
]
