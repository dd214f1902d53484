"""What an exchange of trees is going to do, written down before it is done, so that it can be undone.

File layout: one header (magic, inode number of the server's root), then records. A record is its kind
(1 byte), the length and the CRC-32 of its payload (4 bytes each, big endian), and the payload. A torn last
record was never acted on. Undoing goes backwards and cuts the file after each record that is undone, which
needs no room on a full disk; where a record could not be undone, later ones are marked in place instead.
"""

import fcntl
import os
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from wings.errors import Damaged

_MAGIC = b"wings-undo-1\n"
_HEADER = struct.Struct(">Q")
_RECORD = struct.Struct(">cII")
_STATUS = struct.Struct(">IIIqq")
_LONGEST = 1 << 24  # a payload is a path and a few numbers; more is damage

_SWAP = b"s"
_SETTLE = b"m"
_UNDONE = b"u"


@dataclass(frozen=True, slots=True)
class Status:
    """Metadata of a directory that is put back or put on: permission bits, owner, times in nanoseconds."""

    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Self:
        """Take it from a ``stat``."""
        return cls(facts.st_mode & 0o7777, facts.st_uid, facts.st_gid, facts.st_atime_ns, facts.st_mtime_ns)

    def pack(self) -> bytes:
        """As in the journal."""
        return _STATUS.pack(self.mode, self.uid, self.gid, self.atime_ns, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class Swap:
    """At ``path``, the new entry with this inode number comes in and what is there goes out.

    ``inode`` is 0 when nothing comes in. What goes out is kept under the number of the record.
    """

    path: bytes
    inode: int


@dataclass(frozen=True, slots=True)
class Settle:
    """The directory ``path`` stays and gets other contents: its metadata before, and afterwards.

    ``after`` is ``None`` where the backup says nothing about it: then only its mode is kept.
    """

    path: bytes
    before: Status
    after: Status | None


Record = Swap | Settle


class Journal:
    """The records of one exchange. Belongs to one thread; locked against other processes while open."""

    def __init__(self, fd: int, root_inode: int, offsets: "array[int]", end: int) -> None:
        self.root_inode = root_inode
        self._fd = fd
        self._offsets = offsets
        self._end = end

    @classmethod
    def create(cls, dir_fd: int, name: bytes, root_inode: int) -> Self:
        """Begin one. Raises ``OSError``."""
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            header = _MAGIC + _HEADER.pack(root_inode)
            _write_all(fd, header, 0)
        except BaseException:  # nobody else could close it
            os.close(fd)
            raise
        return cls(fd, root_inode, array("Q"), len(header))

    @classmethod
    def open(cls, dir_fd: int, name: bytes) -> Self:
        """Read one that was left behind.

        Raises ``BlockingIOError`` while another process works with it, ``Damaged`` if it is none or its
        beginning is torn, in which case nothing was done.
        """
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            header = os.pread(fd, len(_MAGIC) + _HEADER.size, 0)
            if len(header) != len(_MAGIC) + _HEADER.size or not header.startswith(_MAGIC):
                raise Damaged("the journal of an interrupted restore has no beginning")
            offsets, end = _scan(fd, len(header))
        except BaseException:  # nobody else could close it
            os.close(fd)
            raise
        return cls(fd, _HEADER.unpack(header[len(_MAGIC) :])[0], offsets, end)

    def append(self, record: Record) -> None:
        """Write a record down; only afterwards may it be acted on. Raises ``OSError``, then nothing was added."""
        if isinstance(record, Swap):
            kind, payload = _SWAP, record.inode.to_bytes(8) + record.path
        else:
            after = b"\1" + record.after.pack() if record.after else b"\0"
            kind, payload = _SETTLE, record.before.pack() + after + record.path
        data = _RECORD.pack(kind, len(payload), zlib.crc32(payload)) + payload
        _write_all(self._fd, data, self._end)
        self._offsets.append(self._end)
        self._end += len(data)

    def sync(self) -> None:
        """Make everything written so far durable."""
        os.fsync(self._fd)

    def forwards(self) -> Iterator[tuple[int, Record]]:
        """All records with their numbers, in order."""
        for number in range(len(self._offsets)):
            record = self._read(number)
            if record is not None:
                yield number, record

    def backwards(self) -> Iterator[tuple[int, Record]]:
        """All records with their numbers, last one first; those marked as undone are left out."""
        for number in range(len(self._offsets) - 1, -1, -1):
            record = self._read(number)
            if record is not None:
                yield number, record

    def cut(self, number: int) -> None:
        """Forget this record and all after it."""
        self._end = self._offsets[number]
        os.ftruncate(self._fd, self._end)

    def mark_undone(self, number: int) -> None:
        """Forget this record, but not those after it."""
        os.pwrite(self._fd, _UNDONE, self._offsets[number])

    def close(self) -> None:
        """Close it and let go of the lock. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self, number: int) -> Record | None:
        offset = self._offsets[number]
        kind, length, _ = _RECORD.unpack(os.pread(self._fd, _RECORD.size, offset))
        if kind == _UNDONE:
            return None
        payload = os.pread(self._fd, length, offset + _RECORD.size)
        if kind == _SWAP:
            return Swap(payload[8:], int.from_bytes(payload[:8]))
        before = Status(*_STATUS.unpack_from(payload))
        position = _STATUS.size + 1
        if not payload[_STATUS.size]:
            return Settle(payload[position:], before, None)
        after = Status(*_STATUS.unpack_from(payload, position))
        return Settle(payload[position + _STATUS.size :], before, after)


def _scan(fd: int, position: int) -> tuple["array[int]", int]:
    """Find the records that are whole; return where they begin, and where the last one ends."""
    offsets = array("Q")
    while True:
        head = os.pread(fd, _RECORD.size, position)
        if len(head) < _RECORD.size:
            return offsets, position
        kind, length, checksum = _RECORD.unpack(head)
        if kind not in (_SWAP, _SETTLE, _UNDONE) or length > _LONGEST:
            return offsets, position
        payload = os.pread(fd, length, position + _RECORD.size)
        if len(payload) != length or zlib.crc32(payload) != checksum:
            return offsets, position
        offsets.append(position)
        position += _RECORD.size + length


def _write_all(fd: int, data: bytes, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
