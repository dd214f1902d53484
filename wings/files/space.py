"""Room for what is to be written: on the file system, and within a server's disk limit."""

import os
import threading
from dataclasses import dataclass

from wings.errors import NoSpace, shown

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Free:
    """What an ordinary user may still take: ``bytes``, and ``inodes`` where the file system counts them."""

    bytes: int
    inodes: int | None


def free_space(path: os.PathLike[str] | int) -> Free:
    """Ask the file system that holds ``path``, which may be an open descriptor. Raises ``OSError``.

    Blocks reserved for root do not count, even for root: a node whose reserve is gone stops working.
    """
    facts = os.statvfs(path)
    # btrfs and zfs make inodes as needed and report none at all.
    return Free(facts.f_bavail * facts.f_frsize, facts.f_favail if facts.f_files else None)


def require(path: os.PathLike[str] | int, needed_bytes: int, reserve: int, purpose: str, *, inodes: int = 0) -> None:
    """Raise ``NoSpace`` unless ``needed_bytes`` fit and leave ``reserve`` bytes, and ``inodes`` can be made.

    ``purpose`` completes the sentence "there is not enough room …", for example ``to restore the backup``.
    """
    free = free_space(path)
    if needed_bytes + reserve > free.bytes:
        kept = f" and {readable(reserve)} must stay free" if reserve else ""
        raise NoSpace(
            f"there is not enough room {purpose}: {readable(needed_bytes)} are needed{kept}, "
            f"{readable(free.bytes)} are free{_on(path)}; delete something there or use a larger disk"
        )
    if free.inodes is not None and inodes > free.inodes:
        raise NoSpace(
            f"there is not enough room {purpose}: {inodes} files are to be made, the file system can hold "
            f"{free.inodes} more{_on(path)}; delete files there or use a file system with more inodes"
        )


class Allowance:
    """Counts what is written against a limit, from several threads; the answer to archives that lie (W-16)."""

    def __init__(self, limit: int | None, *, used: int = 0) -> None:
        """``limit`` in bytes, ``None`` for no limit; ``used`` of it is taken already."""
        self._limit = limit
        self._used = used
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes taken by now."""
        return self._used

    def take(self, count: int) -> None:
        """Count bytes about to be written. Raises ``NoSpace`` when they do not fit, and counts them not."""
        with self._lock:
            if self._limit is not None and self._used + count > self._limit:
                raise over_limit(self._used + count, self._limit)
            self._used += count

    def give_back(self, count: int) -> None:
        """Bytes that are no longer there: an old file replaced, or a new one that failed."""
        with self._lock:
            self._used -= count


def over_limit(needed: int, limit: int) -> NoSpace:
    """The error for a server that would exceed its disk limit; both in bytes."""
    return NoSpace(
        f"the server's disk limit is too small: the restore would make it hold at least {readable(needed)}, "
        f"{readable(limit)} are allowed; raise the server's disk limit, or restore with truncation if that was off"
    )


def readable(count: int) -> str:
    """A number of bytes for people, in binary units."""
    value = float(count)
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes every number")


def _on(path: os.PathLike[str] | int) -> str:
    return "" if isinstance(path, int) else f" at {shown(path)}"
