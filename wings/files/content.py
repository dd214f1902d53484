"""Writing the bytes of one file, with holes where they are zeros anyway."""

import os
from collections.abc import Iterable

from wings.files.space import Allowance

# A run of zeros is left as a hole in pieces of this many bytes; shorter runs are cheaper to write.
HOLE = 64 << 10

_ZEROS = bytes(HOLE)


def write_content(fd: int, chunks: Iterable[bytes], allowance: Allowance) -> int:
    """Write all of ``chunks`` to an empty file and return the number of bytes, holes included.

    Every byte is taken from ``allowance`` before it is written; if this raises, they are given back.
    """
    size = 0
    ends_in_hole = False
    try:
        for chunk in chunks:
            count = len(chunk)
            allowance.take(count)
            size += count
            if count < HOLE:
                ends_in_hole = count == 0 and ends_in_hole
                _write(fd, chunk)
            else:
                ends_in_hole = _write_with_holes(fd, chunk)
        if ends_in_hole:
            os.ftruncate(fd, size)
    except BaseException:  # cancelling ends in here as well, and the count must be right for who goes on
        allowance.give_back(size)
        raise
    return size


def _write(fd: int, data: bytes | memoryview) -> None:
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def _write_with_holes(fd: int, chunk: bytes) -> bool:
    """Write a chunk of at least ``HOLE`` bytes; whether the file's end is a hole now."""
    count = len(chunk)
    whole = memoryview(chunk)
    written = position = 0
    while position + HOLE <= count:
        # Compares in place and stops at the first byte that differs: nothing for data that is no zeros.
        if chunk.startswith(_ZEROS, position):
            if position > written:
                _write(fd, whole[written:position])
            os.lseek(fd, HOLE, os.SEEK_CUR)
            written = position + HOLE
        position += HOLE
    if written == count:
        return True
    _write(fd, whole[written:])
    return False
