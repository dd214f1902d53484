"""A quick look at a compressed tar: does it begin and end as its format demands, and is a tar inside.

Reads little of a large archive: the beginning, and where the format tells lengths, from part to part.
"""

import os
import zlib
from collections.abc import Callable

from wings.archives.chains import READ, MemberChain
from wings.archives.decoders import ArchiveFile
from wings.archives.formats import ArchiveFormat, Compression
from wings.archives.members import CODECS
from wings.archives.tar_parse import BLOCK, ZEROS, parse_header
from wings.errors import Damaged

_HEAD = 4 << 20  # bytes looked through for the first block of the tar
_PADDING = 64 << 10  # zero bytes at the end that are looked past
_MOST_STEPS = 50_000  # parts walked over: a second of work, some 6 GiB of zstd


def check_structure(file: ArchiveFile, format: ArchiveFormat) -> None:
    """Raise ``Damaged`` if this cannot be a whole archive of that tar format; a changed byte goes unseen."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise Damaged("the archive is empty")
    compression = format.compression or Compression.NONE
    _check_first_block(file, compression)
    check = _ENDS.get(compression)
    if check is not None:
        check(file, size)


def _check_first_block(file: ArchiveFile, compression: Compression) -> None:
    file.seek(0)
    head = b""
    if compression is Compression.NONE:
        head = file.read(BLOCK)
    else:
        chain = MemberChain(CODECS[compression])
        taken = 0
        while len(head) < BLOCK and taken < _HEAD:
            data = file.read(READ)
            if not data:
                chain.finish()
                break
            taken += len(data)
            for event in chain.feed(data):
                if not isinstance(event, int):
                    head += event[:BLOCK]
                    if len(head) >= BLOCK:
                        break
    head = head[:BLOCK]
    if head == ZEROS:
        return  # nothing in it
    try:
        if len(head) < BLOCK:
            raise ValueError("it is too short")
        parse_header(head)
    except ValueError as error:
        raise Damaged(f"there is no tar inside: {error}") from error


def _at(file: ArchiveFile, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _check_tar_end(file: ArchiveFile, size: int) -> None:
    if size < BLOCK or _at(file, size - BLOCK, BLOCK).strip(b"\0"):
        raise Damaged(f"the tar ends too early at byte {size}: its end mark is missing")


def _check_xz_end(file: ArchiveFile, size: int) -> None:
    """The footer of the last stream, and the index it leads to (xz file format §2.1.2, §4)."""
    end = _behind_data(file, size)
    end += -end % 4
    footer = _at(file, end - 12, 12) if end >= 24 else b""
    if len(footer) < 12 or footer[10:] != b"YZ" or zlib.crc32(footer[4:10]) != int.from_bytes(footer[:4], "little"):
        raise Damaged(f"the xz data ends too early or is damaged at byte {end}: its footer is wrong")
    index_size = (int.from_bytes(footer[4:8], "little") + 1) * 4
    index = _at(file, end - 12 - index_size, index_size) if index_size < min(end, 1 << 28) else b""
    if len(index) < index_size or zlib.crc32(index[:-4]) != int.from_bytes(index[-4:], "little"):
        raise Damaged(f"the index of the xz data before byte {end} is damaged")


def _check_lzip_end(file: ArchiveFile, size: int) -> None:
    """The size in the trailer of the last member leads to its beginning; zero bytes may follow it."""
    behind = _behind_data(file, size)
    for end in range(behind, min(behind + 8, size) + 1):  # the highest bytes of the size are zeros too
        trailer = _at(file, end - 20, 20) if end >= 26 else b""
        start = end - int.from_bytes(trailer[12:], "little")
        if len(trailer) == 20 and 0 <= start <= end - 26 and _at(file, start, 5) == b"LZIP\x01":
            return
    raise Damaged(f"the lzip data ends too early or is damaged at byte {behind}: its trailer is wrong")


def _behind_data(file: ArchiveFile, size: int) -> int:
    """Where the zero bytes at the end begin."""
    tail = _at(file, max(size - _PADDING, 0), _PADDING)
    return size - len(tail) + len(tail.rstrip(b"\0"))


def _check_zstd_blocks(file: ArchiveFile, size: int) -> None:
    """From block to block, frame to frame (RFC 8878 §3.1.1): the last block must end where the file does."""
    at = 0
    for _ in range(_MOST_STEPS):
        head = _at(file, at, 5)
        if at >= size or not head.strip(b"\0"):
            return
        if len(head) == 5 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:
            at += 8 + int.from_bytes(_at(file, at + 4, 4), "little")
        elif len(head) == 5 and head[:4] == b"\x28\xb5\x2f\xfd":
            single = head[4] >> 5 & 1
            at += 6 - single + (0, 1, 2, 4)[head[4] & 3] + (single, 2, 4, 8)[head[4] >> 6]
            at = _behind_zstd_blocks(file, at, size) + 4 * (head[4] >> 2 & 1)
        else:
            raise Damaged(f"zstd data is damaged at byte {at}: no frame starts there")
        if at > size:
            raise Damaged(f"the zstd data ends too early at byte {size}: the rest of a frame is missing")


def _behind_zstd_blocks(file: ArchiveFile, at: int, size: int) -> int:
    while at < size:
        head = int.from_bytes(_at(file, at, 3), "little")
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)
        if head & 1:
            return at
    return size + 1


def _check_lz4_blocks(file: ArchiveFile, size: int) -> None:
    """From block to block (lz4 frame format 1.6.1); an end mark may be missing at the very end."""
    at = 0
    while at < size:
        head = _at(file, at, 5)
        if not head.strip(b"\0"):
            return
        if head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:
            at += 8 + int.from_bytes(_at(file, at + 4, 4), "little")
        elif len(head) == 5 and head[:4] == b"\x04\x22\x4d\x18":
            flags = head[4]
            at += 7 + 8 * (flags >> 3 & 1) + 4 * (flags & 1)
            extra = 4 * (flags >> 4 & 1)
            while at < size and (length := int.from_bytes(_at(file, at, 4), "little")):
                at += 4 + (length & 0x7FFF_FFFF) + extra
            if at >= size:
                break
            at = min(at + 4 + 4 * (flags >> 2 & 1), size)
        else:
            raise Damaged(f"lz4 data is damaged at byte {at}: no frame starts there")
    if at > size:
        raise Damaged(f"the lz4 data ends too early at byte {size}: the rest of a block is missing")


_ENDS: dict[Compression, Callable[[ArchiveFile, int], None]] = {
    Compression.NONE: _check_tar_end,
    Compression.XZ: _check_xz_end,
    Compression.LZIP: _check_lzip_end,
    Compression.ZSTD: _check_zstd_blocks,
    Compression.LZ4: _check_lz4_blocks,
}
