"""What tests of reading share: archives from memory, everything in them, and extraction into a directory."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wings.archives.decoders import ArchiveFile
from wings.archives.extract import Extracted, Limits, extract
from wings.archives.formats import ArchiveFormat
from wings.archives.read import open_archive
from wings.archives.work import Unwatched, Work
from wings.files.jail import Jail
from wings.files.writer import TreeWriter


@dataclass(frozen=True)
class Found:
    """One entry as a reader gave it."""

    kind: str
    mode: int
    mtime_ns: int
    size: int
    target: bytes
    data: bytes | None


def everything(archive: bytes | ArchiveFile, format: ArchiveFormat, *, threads: int = 2) -> dict[bytes, Found]:
    """Every entry by name, the last of several; raises what the reader raises."""
    file = io.BytesIO(archive) if isinstance(archive, bytes) else archive
    found = {}
    with open_archive(file, format, threads=threads, work=Unwatched()) as reader:
        for item in reader:
            entry = item.entry
            data = None
            if item.content is not None:
                parts = []
                while part := item.content.read(100_000):
                    parts.append(part)
                data = b"".join(parts)
            found[entry.path] = Found(entry.kind, entry.mode, entry.mtime_ns, entry.size, entry.target, data)
    return found


def unpack(
    archive: Path | bytes,
    format: ArchiveFormat,
    target: Path,
    *,
    work: Work | None = None,
    writers: int = 2,
    limits: Limits | None = None,
    denied: Callable[[bytes], bool] = lambda path: False,
) -> Extracted:
    """Extract into ``target``, which is made if missing, through the real jail and writer."""
    target.mkdir(exist_ok=True)
    work = work or Unwatched()
    with (
        io.BytesIO(archive) if isinstance(archive, bytes) else archive.open("rb") as file,
        Jail(target) as jail,
        open_archive(file, format, threads=2, work=work) as reader,
    ):
        writer = TreeWriter(jail, denied=denied, fsync=False)
        try:
            return extract(reader, writer, work=work, writers=writers, limits=limits or Limits())
        finally:
            writer.close()
