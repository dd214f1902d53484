"""Where local archives lie in the backup directory, and which names there are ours.

``<uuid>.<ext>`` flat, as all reference daemons have it, or ``<server uuid>/<uuid>.<ext>`` as Pelican does
(config §9.2); both are found in every format. Ours in addition, out of everybody's way: ``.wings/``
with ``partial/`` (archives being written), ``records/`` and ``index/`` (memory beside each archive), and
``storage-id``, which tells the real directory from the empty mount point of a disk that is not there.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from wings.archives.formats import ArchiveFormat
from wings.backups.durable import sync_directory, write_durably
from wings.errors import Unavailable, shown


@dataclass(frozen=True, slots=True)
class Found:
    """An archive that lies in the backup directory."""

    uuid: UUID
    path: Path
    format: ArchiveFormat
    server: UUID | None


class LocalLayout:
    """Names below one backup directory. ``known_id`` is a file outside it that remembers its ``storage-id``."""

    def __init__(self, directory: Path, known_id: Path) -> None:
        self.directory = directory
        self.own = directory / ".wings"
        self.partial = self.own / "partial"
        self._records = self.own / "records"
        self._index = self.own / "index"
        self._id = self.own / "storage-id"
        self._known_id = known_id
        self._preparing = threading.Lock()

    def prepare(self) -> None:
        """Create what is missing (mode 0700) and learn or check the identity. Raises ``Unavailable``."""
        try:
            with self._preparing:  # two first creates at once
                self._check_identity()
                for path in (self.directory, self.own, self.partial, self._records, self._index):
                    if not path.is_dir():
                        path.mkdir(mode=0o700, parents=path == self.directory)
                if not self._id.exists():
                    write_durably(self._id, f"{uuid4()}\n".encode())
                    sync_directory(self.directory)
                self._remember(self._id.read_text().strip())
        except OSError as error:
            raise Unavailable(
                f"the backup directory {shown(self.directory)} cannot be used: {error.strerror}; "
                "check that it exists, is mounted and belongs to the daemon's user"
            ) from error

    def check_reachable(self) -> None:
        """Raise ``Unavailable`` unless this is provably the directory that holds the backups (P2)."""
        try:
            self._check_identity()
            with os.scandir(self.directory):
                pass
        except OSError as error:
            raise Unavailable(
                f"the backup directory {shown(self.directory)} cannot be read: {error.strerror}; "
                "check that it is mounted and belongs to the daemon's user"
            ) from error

    def archive(self, uuid: UUID, format: ArchiveFormat) -> Path:
        """The final name of a new archive."""
        return self.directory / f"{uuid}.{format.extension}"

    def new_partial(self, uuid: UUID, suffix: str) -> Path:
        """A name for something being written; never two the same."""
        return self.partial / f"{uuid}.{uuid4().hex[:8]}.{suffix}"

    def record(self, uuid: UUID) -> Path:
        """The side record of a backup."""
        return self._records / f"{uuid}.json"

    def index(self, uuid: UUID) -> Path:
        """The browse index of a tar archive."""
        return self._index / f"{uuid}.index"

    def find(self, uuid: UUID) -> Found | None:
        """Look under every extension in the order of ``ArchiveFormat``, flat first, then Pelican's directories."""
        for format in ArchiveFormat:
            path = self.archive(uuid, format)
            if _is_file(path):
                return Found(uuid, path, format, None)
        for directory, server in self._server_directories():
            for format in ArchiveFormat:
                path = directory / f"{uuid}.{format.extension}"
                if _is_file(path):
                    return Found(uuid, path, format, server)
        return None

    def scan(self) -> Iterator[Found]:
        """Every archive there is, one per uuid; other daemons' files and directories are passed over."""
        seen: set[UUID] = set()
        for directory, server in [(self.directory, None), *self._server_directories()]:
            for path in sorted(directory.iterdir()):
                found = _parse(path, server)
                if found is not None and found.uuid not in seen and _is_file(path):
                    seen.add(found.uuid)
                    yield found

    def leftovers(self) -> list[Path]:
        """Everything in ``partial``: ours by construction, and nobody's once no job runs."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(self.partial.iterdir())
        return []

    def orphans(self) -> list[Path]:
        """Records and indexes whose archive is gone."""
        orphans = []
        for directory in (self._records, self._index):
            with contextlib.suppress(FileNotFoundError):
                for path in directory.iterdir():
                    uuid = _uuid(path.name.partition(".")[0])
                    if uuid is not None and self.find(uuid) is None:
                        orphans.append(path)
        return sorted(orphans)

    def _server_directories(self) -> list[tuple[Path, UUID]]:
        with os.scandir(self.directory) as entries:
            return sorted(
                (Path(entry.path), uuid)
                for entry in entries
                if (uuid := _uuid(entry.name)) is not None and entry.is_dir(follow_symlinks=False)
            )

    def _check_identity(self) -> None:
        known = _read_line(self._known_id)
        if known is None or not known.endswith(f" {self.directory}"):
            return  # never used before, or the operator configured another directory
        if _read_line(self._id) != known.partition(" ")[0]:
            raise Unavailable(
                f"{shown(self.directory)} is not the directory that held the backups so far (its .wings/storage-id "
                "is missing or another): is the disk mounted? If it was emptied or replaced on purpose, "
                f"delete {shown(self._known_id)} and restart the daemon"
            )

    def _remember(self, identity: str) -> None:
        line = f"{identity} {self.directory}"
        if _read_line(self._known_id) != line:
            write_durably(self._known_id, f"{line}\n".encode())


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _read_line(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None


def _uuid(text: str) -> UUID | None:
    if len(text) != 36:
        return None
    try:
        uuid = UUID(text)
    except ValueError:
        return None
    return uuid if str(uuid) == text else None


def _parse(path: Path, server: UUID | None) -> Found | None:
    uuid = _uuid(path.name[:36])
    if uuid is None:
        return None
    for format in ArchiveFormat:
        if path.name[36:] == f".{format.extension}":
            return Found(uuid, path, format, server)
    return None
