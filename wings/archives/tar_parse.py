"""Fields of tar headers: v7, ustar, GNU and pax (POSIX.1-2017 pax, "ustar Interchange Format"; tar(5)).

Everything here raises ``ValueError`` for what cannot be a header; the reader adds where it stood.
"""

import re
import zlib
from dataclasses import dataclass, field
from itertools import pairwise

BLOCK = 512
ZEROS = bytes(BLOCK)
LARGEST = 1 << 62  # bytes; more cannot be an honest size

_TIME = re.compile(rb"(-?)(\d{1,20})(?:\.(\d*))?")
_MOST_SEGMENTS = 1 << 20


@dataclass(slots=True)
class Header:
    """One header block. ``kind`` is its type flag; ``name`` and ``link`` are as long as the block allows."""

    name: bytes
    kind: bytes
    mode: int
    size: int
    mtime_ns: int
    link: bytes


@dataclass(frozen=True, slots=True)
class SparseMap:
    """Where the stored bytes of a sparse file belong; everything between is zeros. Offsets and sizes in order."""

    size: int
    segments: tuple[tuple[int, int], ...]

    @property
    def stored(self) -> int:
        """Bytes that are in the archive."""
        return sum(length for _, length in self.segments)


@dataclass(slots=True)
class Extended:
    """What pax and GNU headers said about the next entry."""

    path: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    mtime_ns: int | None = None
    sparse: dict[bytes, bytes] = field(default_factory=dict)
    sparse_numbers: list[int] = field(default_factory=list)

    def over(self, lower: "Extended") -> "Extended":
        """These facts, and those of ``lower`` where these say nothing."""
        return Extended(
            self.path if self.path is not None else lower.path,
            self.link if self.link is not None else lower.link,
            self.size if self.size is not None else lower.size,
            self.mtime_ns if self.mtime_ns is not None else lower.mtime_ns,
            self.sparse,
            self.sparse_numbers,
        )


def parse_header(block: bytes) -> Header:
    """Read one block of 512 bytes, checksum first."""
    stored = number(block[148:156])
    # The sum of all bytes by way of Adler-32, a hundred times faster than adding them up here: its lower
    # half is that sum plus one modulo 65521, and the greatest possible sum is below twice that.
    total = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 256
    if (total - stored) % 65521 and not _sums_up(block, stored):
        raise ValueError("the checksum of the header is wrong")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        # star keeps times behind a shorter prefix and says so at the end.
        prefix = block[345:476] if block[508:512] == b"tar\0" else block[345:500]
        name = prefix.partition(b"\0")[0] + b"/" + name
    digits = block[100:107] + block[124:135] + block[136:147]
    if digits.isdigit() and not (block[107] | block[135] | block[147]) & 0xDF:  # ended by NUL or space
        mode, size, seconds = int(digits[:7], 8), int(digits[7:18], 8), int(digits[18:], 8)
    else:
        mode, size, seconds = number(block[100:108]), number(block[124:136]), number(block[136:148])
        if not 0 <= size <= LARGEST:
            raise ValueError(f"impossible size {size}")
    return Header(
        name,
        block[156:157],
        mode & 0o7777,
        size,
        seconds * 1_000_000_000,
        block[157:257].partition(b"\0")[0] if block[157] else b"",
    )


def number(digits: bytes) -> int:
    """A numeric field: octal digits, or GNU's big-endian binary with the first bit set."""
    if digits[0] & 0x80:
        bits = 8 * len(digits) - 1
        value = int.from_bytes(digits, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    text = digits.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    if not text.isdigit():
        raise ValueError("a number in the header is none")
    return int(text, 8)


def parse_pax(data: bytes) -> Extended:
    """Records of a pax header: ``length key=value`` and a newline each."""
    found = Extended()
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        length = data[at:space] if space > 0 else b""
        end = at + int(length) if length.isdigit() else 0
        key, equals, value = data[space + 1 : max(end - 1, 0)].partition(b"=")
        if not equals or end > len(data) or data[end - 1] != 0x0A:
            raise ValueError("a pax header is garbled")
        _take(found, key, value)
        at = end
    return found


def _take(found: Extended, key: bytes, value: bytes) -> None:
    match key:
        case b"path":
            found.path = value
        case b"linkpath":
            found.link = value
        case b"size":
            if not value.isdigit() or int(value) > LARGEST:
                raise ValueError("impossible size in a pax header")
            found.size = int(value)
        case b"mtime":
            found.mtime_ns = _pax_time(value)
        case b"GNU.sparse.offset" | b"GNU.sparse.numbytes":
            found.sparse_numbers.append(_natural(value))
        case _ if key.startswith(b"GNU.sparse."):
            found.sparse[key[11:]] = value
        case _:
            pass  # owners, comments, extended attributes: not restored (backup-drivers §14)


def _pax_time(value: bytes) -> int:
    parts = _TIME.fullmatch(value)
    if parts is None:
        raise ValueError("a time in a pax header is none")
    sign, whole, fraction = parts.groups()
    nanoseconds = int(whole) * 1_000_000_000 + int((fraction or b"")[:9].ljust(9, b"0"))
    return -nanoseconds if sign else nanoseconds


def pax_sparse_map(extended: Extended) -> SparseMap | None:
    """The map of GNU's sparse formats 0.0 and 0.1, which keep it in the pax header; ``None`` for format 1.0."""
    facts = extended.sparse
    if facts.get(b"major", b"0") != b"0":
        return None
    numbers = extended.sparse_numbers
    if b"map" in facts:
        numbers = [_natural(one) for one in facts[b"map"].split(b",") if one]
    return _sparse_map(_natural(facts.get(b"size", b"")), numbers)


def sparse_size(extended: Extended) -> int:
    """The real size of a file in GNU's sparse format 1.0."""
    return _natural(extended.sparse.get(b"realsize", b""))


def sparse_map_from_text(size: int, numbers: list[bytes]) -> SparseMap:
    """The map of format 1.0, whose numbers stand at the start of the content."""
    return _sparse_map(size, [_natural(one) for one in numbers])


def gnu_sparse_map(block: bytes, extensions: list[bytes]) -> SparseMap:
    """The map of the old GNU format (type flag ``S``): in the header and in blocks behind it."""
    fields = [block[at : at + 12] for at in range(386, 482, 12)]
    for extension in extensions:
        fields += [extension[at : at + 12] for at in range(0, 504, 12)]
    numbers: list[int] = []
    for at in range(0, len(fields), 2):
        if not fields[at].strip(b"\0"):
            break
        numbers += [number(fields[at]), number(fields[at + 1])]
    return _sparse_map(number(block[483:495]), numbers)


def _sparse_map(size: int, numbers: list[int]) -> SparseMap:
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_SEGMENTS:
        raise ValueError("the map of a sparse file is garbled")
    segments = tuple((numbers[at], numbers[at + 1]) for at in range(0, len(numbers), 2))
    ends = [0, *(edge for offset, length in segments for edge in (offset, offset + length)), size]
    if any(later < earlier for earlier, later in pairwise(ends)) or size > LARGEST:
        raise ValueError("the map of a sparse file contradicts itself")
    return SparseMap(size, tuple(one for one in segments if one[1]))


def _natural(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise ValueError("a number of a sparse file is none")
    return int(value)


def _sums_up(block: bytes, stored: int) -> bool:
    """Some old writers added bytes as signed numbers."""
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:])
    return signed + 256 == stored
