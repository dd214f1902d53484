"""What is remembered beside a stored archive: checksum, counts, whose it is.

The wire gives no checksum with a restore (backup-drivers §23), and the catalogue may be lost; the record
lies with the data and survives both. A backup without one (made by another daemon) is as good, only its
checksum is unknown and has to be replaced by decoding everything.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wings.archives.formats import ArchiveFormat
from wings.backups.durable import write_durably


class Record(BaseModel):
    """One side record, a small JSON document. ``size`` and ``checksum`` are those of the archive file."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    uuid: UUID
    server: UUID | None
    created: datetime
    format: ArchiveFormat
    size: Annotated[int, Field(ge=0)]
    checksum_type: str
    checksum: str
    files: Annotated[int, Field(ge=0)]
    content_bytes: Annotated[int, Field(ge=0)]
    warnings: tuple[str, ...] = ()


def write_record(path: Path, record: Record) -> None:
    """Store it durably."""
    write_durably(path, record.model_dump_json(indent=1).encode())


def read_record(path: Path) -> Record | None:
    """The record, or ``None`` when there is none or it cannot be understood: it is a memory, not the data."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
