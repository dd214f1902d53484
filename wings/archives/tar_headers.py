"""Headers of tar entries in GNU format.

The common case, a plain file or directory with a short name, is formatted here because the standard library takes
ten times as long for it; everything else is the standard library's. A test compares the two.
"""

import tarfile
from zlib import adler32

from wings.archives.entry import Entry, EntryKind

BLOCK = 512
RECORD = 10240  # GNU tar's default: archives end on a multiple of it

SHORT_NAME = 100  # names shorter than this have a header of one block, a directory's slash included
_SIZE_LIMIT = 1 << 33  # eleven octal digits
_SECOND = 1_000_000_000

# Behind the checksum: type, link name (100), magic and version, user and group names and device numbers (80),
# prefix (155), and 12 bytes to fill the block. Owners are never stored (backup-drivers §14).
_FILE_TAIL = b"0" + bytes(100) + b"ustar  \0" + bytes(247)
_DIRECTORY_TAIL = b"5" + _FILE_TAIL[1:]
# What the bytes that never change add to the checksum, the checksum field itself counted as eight spaces. Adler-32
# sums bytes in its lower half, starting from one, and no short header reaches its modulus.
_FIXED_FILE = sum(_FILE_TAIL) + 8 * ord(" ") - 1
_FIXED_DIRECTORY = sum(_DIRECTORY_TAIL) + 8 * ord(" ") - 1

_TYPES = {
    EntryKind.FILE: tarfile.REGTYPE,
    EntryKind.DIRECTORY: tarfile.DIRTYPE,
    EntryKind.SYMLINK: tarfile.SYMTYPE,
}


def header(entry: Entry, size: int) -> bytes:
    """The header of ``entry``, one block or several, for ``size`` bytes of content.

    Names are stored byte for byte, directories with ``/`` at the end; times are cut to whole seconds.
    """
    path = entry.path
    seconds = entry.mtime_ns // _SECOND
    if len(path) < SHORT_NAME and 0 <= seconds < _SIZE_LIMIT and size < _SIZE_LIMIT:
        if entry.kind is EntryKind.FILE:
            start = b"%b%07o\x000000000\x000000000\x00%011o\x00%011o\x00" % (
                path.ljust(SHORT_NAME, b"\0"),
                entry.mode & 0o7777,
                size,
                seconds,
            )
            return b"%b%06o\x00 %b" % (start, (adler32(start) & 0xFFFF) + _FIXED_FILE, _FILE_TAIL)
        if entry.kind is EntryKind.DIRECTORY:
            start = b"%b%07o\x000000000\x000000000\x0000000000000\x00%011o\x00" % (
                (path + b"/").ljust(SHORT_NAME, b"\0"),
                entry.mode & 0o7777,
                seconds,
            )
            return b"%b%06o\x00 %b" % (start, (adler32(start) & 0xFFFF) + _FIXED_DIRECTORY, _DIRECTORY_TAIL)
    return plain_header(entry, size)


def plain_header(entry: Entry, size: int) -> bytes:
    """The same by the standard library, for every name, time, size and kind that is stored."""
    info = tarfile.TarInfo(_text(entry.path))
    info.type = _TYPES[entry.kind]
    info.mode = entry.mode & 0o7777
    info.mtime = entry.mtime_ns // _SECOND
    info.size = size if entry.kind is EntryKind.FILE else 0
    info.linkname = _text(entry.target) if entry.kind is EntryKind.SYMLINK else ""
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
