"""Verification: whole archives verify, damaged ones do not, quickly or fully (W-12, W-13)."""

import bz2
import gzip
import io
import lzma
import random
import stat
import time
from collections.abc import Callable

import lz4.frame
import lzip
import pytest
import zstandard

from tests.archives.crafted import END, Member, file, header, make_7z, make_zip
from tests.archives.listed import Counted
from tests.archives.reading import everything
from wings.archives.formats import ArchiveFormat
from wings.archives.verify import Contents, measure, verify_full, verify_structure
from wings.archives.work import Unwatched
from wings.errors import Cancelled, Damaged

MEMBER = 100_000
PACK: dict[ArchiveFormat, Callable[[bytes], bytes]] = {
    ArchiveFormat.TAR: bytes,
    ArchiveFormat.TAR_GZ: lambda data: gzip.compress(data, 1, mtime=0),
    ArchiveFormat.TAR_XZ: lambda data: lzma.compress(data, preset=0),
    ArchiveFormat.TAR_LZIP: lambda data: bytes(lzip.compress_to_buffer(data, 0)),
    ArchiveFormat.TAR_BZ2: lambda data: bz2.compress(data, 1),
    ArchiveFormat.TAR_LZ4: lambda data: bytes(lz4.frame.compress(data, content_checksum=True)),
    ArchiveFormat.TAR_ZSTD: lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
}
ALL = pytest.mark.parametrize("format", ArchiveFormat, ids=str)
CONTENTS = [random.Random(number).randbytes(number * 700) for number in range(20)]


def make(format: ArchiveFormat, member: int = MEMBER) -> bytes:
    """The same tree in every format: twenty files in a directory, and a link."""
    if not format.is_tar:
        members = [Member("dir", b"", stat.S_IFDIR | 0o755), Member("link", b"dir/f3", stat.S_IFLNK | 0o777)]
        if format is ArchiveFormat.ZIP:
            members[0] = Member("dir/", b"", stat.S_IFDIR | 0o755)
        members += [Member(f"dir/f{number}", data) for number, data in enumerate(CONTENTS)]
        return (make_zip if format is ArchiveFormat.ZIP else make_7z)(*members)
    tar = header(b"dir/", kind=b"5") + header(b"link", kind=b"2", link=b"dir/f3")
    tar += b"".join(file(b"dir/f%d" % number, data) for number, data in enumerate(CONTENTS)) + END
    return b"".join(PACK[format](tar[at : at + member]) for at in range(0, len(tar), member))


def full(archive: bytes, format: ArchiveFormat) -> Contents:
    return verify_full(io.BytesIO(archive), format, work=Unwatched(), threads=2)


@ALL
def test_whole_archives_verify(format: ArchiveFormat) -> None:
    archive = make(format)
    verify_structure(io.BytesIO(archive), format)
    assert full(archive, format) == Contents(22, 21, 1, 1, sum(map(len, CONTENTS)), 0)


@ALL
def test_truncations_are_found(format: ArchiveFormat) -> None:
    """W-12: cut anywhere, it does not verify, and unpacking it fails too."""
    archive = make(format)
    chance = random.Random(1)
    for size in {0, 1, 100, len(archive) // 2, len(archive) - 10, *(chance.randrange(len(archive)) for _ in range(25))}:
        cut = archive[:size]
        if format is ArchiveFormat.TAR and len(archive) - size <= 512:
            continue  # the second of the two blocks of zeros
        if format is ArchiveFormat.TAR_LZ4 and len(archive) - size <= 8:
            continue  # nothing but the end mark and the checksum (backup-drivers §17)
        with pytest.raises(Damaged):
            full(cut, format)
        with pytest.raises(Damaged):
            everything(cut, format)


@ALL
def test_flipped_bits_are_found(format: ArchiveFormat) -> None:
    """W-12: a flipped bit is found by full verification, or changes nothing that is restored.

    What formats do not protect stays: contents in a plain tar (our own are compared with their SHA-256), and
    times and modes in a zip.
    """
    archive = make(format)
    expected = {path: (one.kind, one.data, one.target) for path, one in everything(archive, format).items()}
    chance = random.Random(2)
    found = 0
    positions = sorted(chance.sample(range(len(archive)), 60))
    for position in positions:
        damaged = bytearray(archive)
        damaged[position] ^= 1 << chance.randrange(8)
        try:
            full(bytes(damaged), format)
        except Damaged:
            found += 1
            with pytest.raises(Damaged):
                everything(bytes(damaged), format)
            continue
        after = {path: (one.kind, one.data, one.target) for path, one in everything(bytes(damaged), format).items()}
        if format is ArchiveFormat.TAR:
            assert {path: one[0] for path, one in after.items()} == {path: one[0] for path, one in expected.items()}
        elif format is not ArchiveFormat.ZIP:
            assert after == expected, position
        else:
            assert {path: one for path, one in after.items() if one[0] == "file"}.items() <= expected.items(), position
    assert found > (1 if format is ArchiveFormat.TAR else 54)


QUICKLY_FOUND = [
    ArchiveFormat.TAR,
    ArchiveFormat.TAR_XZ,
    ArchiveFormat.TAR_LZIP,
    ArchiveFormat.TAR_LZ4,
    ArchiveFormat.TAR_ZSTD,
    ArchiveFormat.ZIP,
    ArchiveFormat.SEVEN_ZIP,
]


@pytest.mark.parametrize("format", QUICKLY_FOUND, ids=str)
def test_truncations_are_found_quickly_where_the_format_tells_lengths(format: ArchiveFormat) -> None:
    """W-13: the quick look finds what was cut off in the middle of a part, gzip and bzip2 apart."""
    archive = make(format)
    chance = random.Random(3)
    for size in {0, 1, 5, 100, *(chance.randrange(len(archive) - 600) for _ in range(40))}:
        with pytest.raises(Damaged):
            verify_structure(io.BytesIO(archive[:size]), format)


@ALL
def test_foreign_files_are_found_quickly(format: ArchiveFormat) -> None:
    """W-13: another format, another program's file, noise, and a compressed something that is no tar."""
    for wrong in (b"", b"x", b"some text\n" * 500, bytes(100), random.Random(4).randbytes(5000)):
        with pytest.raises(Damaged):
            verify_structure(io.BytesIO(wrong), format)
    for other in ArchiveFormat:
        if other is not format:
            with pytest.raises(Damaged):
                verify_structure(io.BytesIO(make(other)), format)
    if format.is_tar:
        with pytest.raises(Damaged):
            verify_structure(io.BytesIO(PACK[format](b"no tar at all" * 100)), format)


@pytest.mark.parametrize("format", PACK, ids=str)
def test_padding_does_not_disturb_the_quick_look(format: ArchiveFormat) -> None:
    for member in (MEMBER, 10_000_000):
        for padding in (4, 512, 20_000):
            verify_structure(io.BytesIO(make(format, member) + bytes(padding)), format)


@pytest.mark.parametrize("format", PACK, ids=str)
def test_an_empty_tar_is_whole(format: ArchiveFormat) -> None:
    archive = PACK[format](bytes(10_240))
    verify_structure(io.BytesIO(archive), format)
    assert full(archive, format) == Contents(0, 0, 0, 0, 0, 0)


def test_the_quick_look_is_quick() -> None:
    """A second at most, whatever the size."""
    frame = PACK[ArchiveFormat.TAR_ZSTD](header(b"x") * 2)
    archive = io.BytesIO(frame * 500_000)
    begun = time.monotonic()
    verify_structure(archive, ArchiveFormat.TAR_ZSTD)
    assert time.monotonic() - begun < 3


@ALL
def test_measuring(format: ArchiveFormat) -> None:
    """W-16: how much room a restore will take, links' texts counted where the table of contents counts them."""
    measured = measure(io.BytesIO(make(format)), format, work=Unwatched(), threads=2)
    assert measured == sum(map(len, CONTENTS)) + (0 if format.is_tar else len("dir/f3"))
    with pytest.raises(Damaged):
        measure(io.BytesIO(make(format)[:3000]), format, work=Unwatched(), threads=2)


@ALL
def test_verification_can_be_cancelled(format: ArchiveFormat) -> None:
    """P7."""
    with pytest.raises(Cancelled):
        verify_full(io.BytesIO(make(format)), format, work=Counted(limit=50_000), threads=2)


def test_what_cannot_be_restored_is_counted() -> None:
    archive = header(b"tty", kind=b"3") + file(b"a", b"x") + END
    assert full(archive, ArchiveFormat.TAR) == Contents(1, 1, 0, 0, 1, 1)
