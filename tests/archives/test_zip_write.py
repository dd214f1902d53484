"""Zips: what every reader must find in them, and how they are packed."""

import io
import random
import stat
import struct
import time
import zipfile

import pytest

from tests.archives.listed import (
    YEAR_2020,
    Broken,
    Bytes,
    Counted,
    Listed,
    MemorySink,
    StreamSink,
    Zeros,
    directory,
    file,
    symlink,
)
from tests.archives.test_encoders import mixed, noise, text
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.report import Trouble
from wings.archives.work import Unwatched, Work
from wings.archives.write import Written, write_archive

MIB = 1 << 20
SECOND = 10**9


def write(
    source: Listed, level: CompressionLevel = CompressionLevel.BEST_SPEED, work: Work | None = None
) -> tuple[zipfile.ZipFile, Written]:
    sink = MemorySink()
    written = write_archive(source, sink, format=ArchiveFormat.ZIP, level=level, threads=2, work=work or Unwatched())
    assert (written.size, written.sha256) == (len(sink.data), sink.sha256)
    assert not sink.was_read
    archive = zipfile.ZipFile(io.BytesIO(sink.data))
    assert archive.testzip() is None
    return archive, written


def unix_mode(info: zipfile.ZipInfo) -> int:
    return info.external_attr >> 16


def extra(info: zipfile.ZipInfo, wanted: int) -> bytes:
    data = info.extra
    while data:
        kind, length = struct.unpack_from("<HH", data)
        if kind == wanted:
            return data[4 : 4 + length]
        data = data[4 + length :]
    return b""


@pytest.mark.parametrize("level", CompressionLevel)
def test_contents_come_out_as_they_went_in(level: CompressionLevel) -> None:
    contents = {
        "empty": b"",
        "one": b"x",
        "text": text(300_000),
        "noise": noise(200_000),
        "mixed": mixed(700_000),
        "block": text(MIB),
        "large": mixed(2 * MIB + 12345),
        "two blocks": noise(2 * MIB),
    }
    archive, written = write(Listed([file(name.encode(), data) for name, data in contents.items()]), level)
    assert {name: archive.read(name) for name in archive.namelist()} == contents
    assert written.files == written.entries == len(contents)
    assert written.content_bytes == sum(map(len, contents.values()))


def test_only_deflate_and_stored_are_used() -> None:
    """backup-drivers §23: a reader of the reference is certain to know these two; what does not shrink is stored."""
    archive, _ = write(Listed([file(b"t", text(100_000)), file(b"n", noise(100_000)), file(b"tiny", b"ab")]))
    assert [one.compress_type for one in archive.infolist()] == [8, 0, 0]
    assert archive.getinfo("t").compress_size < 60_000
    assert archive.getinfo("n").compress_size == 100_000


def test_a_large_file_that_does_not_compress_hardly_grows() -> None:
    archive, _ = write(Listed([file(b"n", noise(3 * MIB))]))
    assert archive.getinfo("n").compress_size < 3 * MIB * 1.001


def test_unix_modes_are_kept_setuid_included() -> None:
    """W-57: the reference loses setuid."""
    items = [file(b"%04o" % mode, mode=mode) for mode in (0, 0o644, 0o755, 0o4755, 0o2755, 0o6711)]
    archive, _ = write(Listed([*items, directory(b"sticky", mode=0o1777)]))
    for info in archive.infolist()[:-1]:
        assert unix_mode(info) == stat.S_IFREG | int(info.filename, 8)
    folder = archive.getinfo("sticky/")
    assert folder.is_dir()
    assert unix_mode(folder) == stat.S_IFDIR | 0o1777
    assert folder.external_attr & 0x10
    assert {info.create_system for info in archive.infolist()} == {3}


def test_links_are_entries_with_their_target() -> None:
    """backup-drivers §18.1: mode 0120777, the target as content, never followed."""
    targets = [b"data.bin", b"../up \xff", b"t" * 1000]
    archive, written = write(Listed([symlink(b"link%d" % n, target) for n, target in enumerate(targets)]))
    for number, target in enumerate(targets):
        info = archive.getinfo(f"link{number}")
        assert unix_mode(info) == stat.S_IFLNK | 0o777
        assert archive.read(info) == target
        assert info.compress_type == zipfile.ZIP_STORED
    assert (written.files, written.content_bytes) == (3, 0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (1_577_836_801, (2020, 1, 1, 0, 0, 0)),
        (315_532_799, (1980, 1, 1, 0, 0, 0)),
        (0, (1980, 1, 1, 0, 0, 0)),
        (-86_400, (1980, 1, 1, 0, 0, 0)),
        (-2_100_000_000, (1980, 1, 1, 0, 0, 0)),
    ],
)
def test_times_are_exact_in_utc_also_before_1980(seconds: int, shown: tuple[int, ...]) -> None:
    """W-55, W-57: the DOS time is clamped, the extended timestamp says the second."""
    archive, _ = write(Listed([file(b"f", b"x", mtime_ns=seconds * SECOND + 999)]))
    info = archive.getinfo("f")
    assert info.date_time == shown
    assert struct.unpack("<Bl", extra(info, 0x5455)) == (1, seconds)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (2_222_222_222, time.gmtime(2_222_222_222)[:6]),
        (4_400_000_000, (2107, 12, 31, 23, 59, 58)),
        (-5_000_000_000, (1980, 1, 1, 0, 0, 0)),
    ],
)
def test_times_beyond_the_extended_timestamp_have_those_of_ntfs(seconds: int, shown: tuple[int, ...]) -> None:
    """W-57: the 32-bit field ends in 2038."""
    archive, _ = write(Listed([file(b"f", b"x", mtime_ns=seconds * SECOND)]))
    info = archive.getinfo("f")
    assert info.date_time == shown
    assert extra(info, 0x5455) == b""
    ticks = struct.unpack_from("<LHHQ", extra(info, 0x000A))[3]
    assert ticks // 10_000_000 - 11_644_473_600 == seconds


def test_names_are_utf8_and_those_that_are_not_get_one_that_is_noted() -> None:
    """Nothing is dropped silently: the report says which names a zip cannot hold."""
    names = ["ünïcödé 日本語".encode(), b"\xff", b"\\xff", b"d\xfe/\xff", b"back\\slash", b"new\nline"]
    source = Listed([directory(b"d\xfe"), *(file(name, name) for name in names)])
    archive, _ = write(source)
    by_content = {archive.read(info): info for info in archive.infolist() if not info.is_dir()}
    assert by_content[names[0]].filename == "ünïcödé 日本語"
    assert by_content[names[0]].flag_bits & 0x800
    assert by_content[b"\xff"].filename == "\\xff"
    assert by_content[b"\\xff"].filename == "\\xff~2"
    assert by_content[b"d\xfe/\xff"].filename == "d\\xfe/\\xff"
    assert by_content[b"back\\slash"].filename == "back\\slash"
    assert archive.namelist()[0] == "d\\xfe/"
    assert len(set(archive.namelist())) == 7
    assert source.report.counts[Trouble.UNSTORABLE_NAME] == 4


def test_a_name_longer_than_the_format_takes_is_stored_shortened() -> None:
    path = b"/".join([b"d" * 255] * 260) + b"/file"
    source = Listed([file(path, b"content")])
    archive, _ = write(source)
    (name,) = archive.namelist()
    assert name.endswith("/file")
    assert archive.read(name) == b"content"
    assert source.report.counts[Trouble.UNSTORABLE_NAME] == 1


def test_a_file_that_shrinks_is_as_long_as_it_was() -> None:
    source = Listed([file(b"small", b"s" * 10, size=5000), file(b"large", b"l" * MIB, size=3 * MIB), file(b"next")])
    archive, written = write(source)
    assert archive.read("small") == b"s" * 10
    assert archive.read("large") == b"l" * MIB
    assert written.content_bytes == MIB + 10
    assert source.report.counts[Trouble.CHANGED] == 2


def test_a_large_file_that_is_gone_is_an_empty_one() -> None:
    archive, _ = write(Listed([file(b"large", b"", size=3 * MIB), file(b"next", b"n")]))
    assert archive.read("large") == b""
    assert archive.read("next") == b"n"


def test_more_entries_than_sixteen_bits_count() -> None:
    """Zip64: and the list of entries is kept packed meanwhile."""
    archive, written = write(Listed(file(b"d%d/f%d" % (n // 1000, n)) for n in range(66_000)))
    assert len(archive.namelist()) == written.files == 66_000
    assert archive.namelist()[65_999] == "d65/f65999"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_sizes_and_places_beyond_four_gib() -> None:
    """Zip64: one file of 4.1 GiB, one behind it."""
    size = 4_400_000_000
    items = [
        Item(Entry(b"huge", EntryKind.FILE, 0o644, YEAR_2020, size), Zeros(size)),
        Item(Entry(b"noise", EntryKind.FILE, 0o644, YEAR_2020, 9), Bytes(b"the small")),
    ]
    sink = MemorySink()
    written = write_archive(
        Listed(items), sink, format=ArchiveFormat.ZIP, level=CompressionLevel.BEST_SPEED, threads=2, work=Unwatched()
    )
    assert written.content_bytes == size + 9
    with zipfile.ZipFile(io.BytesIO(sink.data)) as archive:
        assert archive.getinfo("huge").file_size == size
        assert archive.read("noise") == b"the small"
        with archive.open("huge") as stream:
            assert sum(len(piece) for piece in iter(lambda: stream.read(MIB), b"")) == size


def test_progress_counts_content_and_files() -> None:
    work = Counted()
    write(Listed([directory(b"d"), file(b"d/f", b"12345"), file(b"g", text(3 * MIB)), symlink(b"l", b"d")]), work=work)
    assert (work.bytes, work.files) == (5 + 3 * MIB, 3)


def test_no_sink_needs_to_go_back() -> None:
    sink = StreamSink()
    written = write_archive(
        Listed([file(b"f", text(2 * MIB))]),
        sink,
        format=ArchiveFormat.ZIP,
        level=CompressionLevel.BEST_SPEED,
        threads=1,
        work=Unwatched(),
    )
    assert sink.size == written.size


def test_contents_are_closed_when_reading_fails() -> None:
    broken = Broken()
    with pytest.raises(OSError, match="disk is broken"):
        write(Listed([Item(Entry(b"f", EntryKind.FILE, 0o644, 0, 100), broken)]))
    assert broken.closed


def test_many_small_files_among_large_ones_keep_their_order() -> None:
    chance = random.Random(9)
    contents = [chance.randbytes(chance.choice([0, 3, 4000, 300_000, 1_200_000])) for _ in range(60)]
    archive, _ = write(Listed([file(b"%03d" % number, data) for number, data in enumerate(contents)]))
    assert [archive.read(name) for name in archive.namelist()] == contents
