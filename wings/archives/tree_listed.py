"""Browsing archives that hold their own table of contents: zip and 7z."""

import os
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from wings.archives.entry import Content, Entry, EntryKind
from wings.archives.names import HostileName, judge
from wings.archives.positioned import PositionedFile
from wings.errors import Damaged, InvalidInput, NotFound, shown

SKIP = 1 << 20  # bytes read at a time to get to an offset

Member = TypeVar("Member")


class Listing(Protocol[Member]):
    """The part of a reader that browsing needs."""

    def entries(self) -> "Iterator[tuple[Entry, Member]]":
        """Entries with what is needed to open them; targets of links are still missing."""

    def open(self, member: Member, file: PositionedFile) -> Content:
        """The content of a file, read from the archive through ``file``."""

    def read_targets(self, members: "Sequence[Member]", file: PositionedFile) -> Sequence[bytes]:
        """The texts of symbolic links."""


class ListedTree(Generic[Member]):
    """An open archive and its directories in memory. Safe from several threads."""

    def __init__(self, file: PositionedFile, descriptor: int, listing: Listing[Member]) -> None:
        """Arrange the table of contents. Owns ``descriptor``, and ``file`` which reads from it."""
        self._file = file
        self._descriptor = descriptor
        self._listing = listing
        self._directories = self._arrange()

    def list(self, path: bytes) -> Sequence[Entry]:
        """Directories first, then the rest, each sorted by name without regard to case (backup-drivers §9)."""
        inside = self._directories.get(path)
        if inside is None:
            self.stat(path)
            raise InvalidInput(f"{shown(path)} is not a directory")
        self._complete(list(inside.values()))
        return sorted((entry for entry, _ in inside.values()), key=order)

    def stat(self, path: bytes) -> Entry:
        """The entry itself. Raises ``NotFound``."""
        found = self._find(path)
        self._complete([found])
        return found[0]

    def read(self, path: bytes, offset: int = 0, length: int | None = None) -> "Part":
        """A file from ``offset`` on, at most ``length`` bytes; unpacks and skips what comes before."""
        entry, member = self._find(path)
        if entry.kind is not EntryKind.FILE or member is None:
            raise InvalidInput(f"{shown(path)} is not a file")
        file = self._fresh()
        try:
            return Part(self._listing.open(member, file), file, *clip(entry.size, offset, length))
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close the archive; files that are open stay so."""
        self._file.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _fresh(self) -> PositionedFile:
        return PositionedFile(os.dup(self._descriptor), owned=True)

    def _arrange(self) -> "dict[bytes, dict[bytes, tuple[Entry, Member | None]]]":
        """Directories by path, entries by name; parents that no entry names are made up, hostile names left out."""
        directories: dict[bytes, dict[bytes, tuple[Entry, Member | None]]] = {b"": {}}
        for entry, member in self._listing.entries():
            try:
                path = judge(entry.path)
            except HostileName:
                continue
            if not path:
                continue
            entry.path = path
            parent, _, name = path.rpartition(b"/")
            _enter(directories, parent)[name] = (entry, member)
            if entry.kind is EntryKind.DIRECTORY:
                directories.setdefault(path, {})
        return directories

    def _find(self, path: bytes) -> tuple[Entry, Member | None]:
        if not path:
            return implied(b""), None
        parent, slash, name = path.rpartition(b"/")
        found = self._directories.get(parent, {}).get(name) if parent or not slash else None
        if found is None:
            raise NotFound(f"{shown(path)} is not in this backup")
        return found

    def _complete(self, found: "Sequence[tuple[Entry, Member | None]]") -> None:
        """Read the targets of links that nobody has asked for yet, all at once."""
        links = [
            (entry, member)
            for entry, member in found
            if entry.kind is EntryKind.SYMLINK and not entry.target and member is not None
        ]
        if links:
            file = self._fresh()
            try:
                targets = self._listing.read_targets([member for _, member in links], file)
            finally:
                file.close()
            for (entry, _), target in zip(links, targets, strict=True):
                entry.target = target


class Part:
    """A stretch of one file's content. Owns ``owner``, which the content is read from."""

    def __init__(self, content: Content, owner: Content, skip: int, length: int) -> None:
        self._content = content
        self._owner = owner
        self._skip = skip
        self._left = length

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end. Raises ``Damaged``."""
        if not self._left or size <= 0:
            return b""
        while self._skip:
            self._skip -= len(self._next(min(self._skip, SKIP)))
        data = self._next(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Release. Safe to call twice."""
        self._content.close()
        self._owner.close()

    def _next(self, size: int) -> bytes:
        data = self._content.read(size)
        if not data:
            raise Damaged("the file in the archive is shorter than announced")
        return data


def clip(size: int, offset: int, length: int | None) -> tuple[int, int]:
    """How many bytes of a file to skip and how many to read then."""
    skip = min(max(offset, 0), size)
    return skip, size - skip if length is None else min(max(length, 0), size - skip)


def implied(path: bytes) -> Entry:
    """A directory that no entry of the archive names."""
    return Entry(path, EntryKind.DIRECTORY, 0o755, 0)


def order(entry: Entry) -> tuple[bool, bytes, bytes]:
    """How a listing is sorted (backup-drivers §9)."""
    return entry.kind is not EntryKind.DIRECTORY, entry.path.lower(), entry.path


def _enter(
    directories: "dict[bytes, dict[bytes, tuple[Entry, Member | None]]]", path: bytes
) -> "dict[bytes, tuple[Entry, Member | None]]":
    """The inside of a directory, made up with all its parents where no entry names them."""
    inside = directories.get(path)
    if inside is None:
        inside = directories[path] = {}
        while path:
            above, _, name = path.rpartition(b"/")
            known = above in directories
            directories.setdefault(above, {}).setdefault(name, (implied(path), None))
            if known:
                break
            path = above
    return inside
