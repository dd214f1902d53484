"""A file that exists under its final name only when it is whole and on the disk (P1, P5, W-10).

It is written under a name that nobody looks for, synced, given its final name without replacing anything
that is there, and the directory is synced. What a crash leaves behind is the partial name alone.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

from wings.errors import Conflict, NoSpace, shown

FLUSH_EVERY = 8 << 20  # bytes; the disk works while we still compress, so that the last fsync is short
LOOK_AT_ROOM_EVERY = 64 << 20  # bytes between two looks at the free space
_WRITE_SOON = 2  # SYNC_FILE_RANGE_WRITE of sync_file_range(2): start writing, do not wait


class PartialFile:
    """An append-only file on its way to its final name.

    ``reserve`` bytes of the file system stay free: the write that would go below raises ``NoSpace``
    while there is still room for everybody else on the node (W-9). Not thread-safe: one writer.
    """

    def __init__(self, path: Path, *, reserve: int) -> None:
        self.path = path
        self.size = 0
        self._reserve = reserve
        self._flushed = 0
        self._looked = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._write_soon = _sync_file_range()
        try:
            self._check_room()
        except NoSpace:
            self.discard()
            raise

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data`` at the position, which is the end unless ``seek`` was called."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(
                    f"no space left on the disk of {shown(self.path.parent)} after {self.size} bytes; "
                    "free some, or move the backup directory to a larger disk"
                ) from error
            raise
        self.size = max(self.size, self.tell())
        if self.size - self._flushed >= FLUSH_EVERY:
            if self._write_soon is not None:
                self._write_soon(self._descriptor, self._flushed, self.size - self._flushed, _WRITE_SOON)
            self._flushed = self.size
            if self.size - self._looked >= LOOK_AT_ROOM_EVERY:
                self._looked = self.size
                self._check_room()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, for containers whose first bytes are known last."""
        return os.lseek(self._descriptor, offset, whence)

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes from the position on; ``b""`` at the end."""
        return os.read(self._descriptor, size)

    def tell(self) -> int:
        """The position of the next byte."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def publish(self, final: Path) -> None:
        """Make it durable and visible as ``final``. Raises ``Conflict`` when that name is taken (W-46)."""
        os.fsync(self._descriptor)
        try:
            try:
                os.link(self.path, final, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                    raise
                _rename_where_no_links_are(self.path, final)
        except FileExistsError as error:
            raise Conflict(f"{shown(final)} exists already and is left as it is") from error
        sync_directory(final.parent)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def discard(self) -> None:
        """Remove what was written. Only ever touches the partial name that this object created."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def close(self) -> None:
        """Release the descriptor. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _check_room(self) -> None:
        facts = os.fstatvfs(self._descriptor)
        free = facts.f_bavail * facts.f_frsize
        if free < self._reserve:
            raise NoSpace(
                f"only {free >> 20} MiB are left on the disk of {shown(self.path.parent)} and "
                f"{self._reserve >> 20} MiB are kept free (wings.backups.reserve_space); "
                "delete old backups or move the backup directory to a larger disk"
            )


def _rename_where_no_links_are(partial: Path, final: Path) -> None:
    # FAT and some network file systems have no hard links. The exclusive create claims the name against
    # everybody else; only then is the claim replaced.
    os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    partial.replace(final)


def sync_directory(path: Path) -> None:
    """Make names created in or removed from ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Replace ``path`` with ``data`` so that a crash leaves the old or the new content, never a part."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    # Linux only and optional: without it everything is written by the fsync at the end.
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    call.restype = ctypes.c_int

    def start(descriptor: int, offset: int, length: int, flags: int) -> int:
        return int(call(descriptor, offset, length, flags))

    return start
