"""One entry of an archive, and where a writer gets entries from."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wings.archives.report import SourceReport


class EntryKind(StrEnum):
    """What archives hold. Fifos, sockets and devices are skipped by every driver (backup-drivers §14)."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"  # only ever read (foreign tar archives), never written


@dataclass(slots=True)
class Entry:
    """Metadata of one entry.

    ``path`` is relative to the root, raw bytes joined by ``/``, without leading ``./`` or trailing ``/``
    when it comes from a walk; a reader hands over what the archive says, and the extractor judges it.
    ``mode`` holds permission bits only (mask 07777). ``size`` counts the content's bytes and is 0 for
    everything but files. ``target`` is the text of a symlink, or the path of a hard link's first name.
    """

    path: bytes
    kind: EntryKind
    mode: int
    mtime_ns: int
    size: int = 0
    target: bytes = b""


class Content(Protocol):
    """The bytes of one file, read once from start to end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, fewer only when that is what there is now; ``b""`` at the end."""

    def close(self) -> None:
        """Release what it holds. Safe to call twice."""


@dataclass(slots=True)
class Item:
    """An entry with its content: files have one, everything else has ``None``.

    Whoever receives an item closes its content before asking for the next item.
    """

    entry: Entry
    content: Content | None = None


class Source(Protocol):
    """A tree to be stored, walked once, parents before children.

    The walk never fails for a single entry: what vanished, could not be read or is of a kind that is not
    stored is noted in ``report``, and the caller decides what that means (P1).
    """

    report: SourceReport

    def __iter__(self) -> Iterator[Item]:
        """Yield every entry to be stored, files opened and their size taken from the open file."""

    def again(self, entry: Entry) -> Item | None:
        """Open a file once more that came out shorter than announced; ``None`` when it is gone by now."""
