"""7z archives: read back by py7zr; how 7-Zip and bsdtar see them is in tests/interop."""

import io
import lzma
import stat
import zlib
from collections.abc import Iterator
from typing import Any

import py7zr
import pytest

from tests.archives.listed import Broken, Counted, Listed, MemorySink, StreamSink, directory, file, symlink
from tests.archives.test_encoders import mixed, noise, text
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.report import Trouble
from wings.archives.sevenzip_contents import SIGNATURE_SIZE
from wings.archives.sevenzip_write import SOLID
from wings.archives.work import Unwatched, Work
from wings.archives.write import Written, write_archive
from wings.errors import Unsupported

MIB = 1 << 20


def write(
    source: Listed, level: CompressionLevel = CompressionLevel.BEST_SPEED, work: Work | None = None
) -> tuple[bytes, Written]:
    sink = MemorySink()
    written = write_archive(
        source, sink, format=ArchiveFormat.SEVEN_ZIP, level=level, threads=2, work=work or Unwatched()
    )
    assert (written.size, written.sha256) == (len(sink.data), sink.sha256)
    return sink.data, written


def opened(data: bytes) -> py7zr.SevenZipFile:
    return py7zr.SevenZipFile(io.BytesIO(data))


def contents(data: bytes) -> dict[str, bytes]:
    """Every file and link by name, decoded by liblzma after py7zr's reading of the header, checksums compared."""
    with opened(data) as archive:
        header = archive.header
    files = header.files_info.files
    streams = iter(())
    if header.main_streams is not None:
        streams = iter(_streams(data, header.main_streams))
    empty_kinds = iter(header.files_info.emptyfiles or [False] * len(files))
    found = {}
    for one in files:
        content = b"" if one["emptystream"] else next(streams)
        if not one["emptystream"] or next(empty_kinds):
            found[one["filename"]] = content
    assert next(streams, None) is None
    return found


def _streams(data: bytes, main: Any) -> Iterator[bytes]:
    position = SIGNATURE_SIZE + main.packinfo.packpos
    number = 0
    info = main.substreamsinfo
    for folder, packed_size, count in zip(
        main.unpackinfo.folders, main.packinfo.packsizes, info.num_unpackstreams_folders, strict=True
    ):
        packed = data[position : position + packed_size]
        position += packed_size
        coder = folder.coders[0]
        if coder["method"] == b"!":
            dictionary = (2 | coder["properties"][0] & 1) << (coder["properties"][0] // 2 + 11)
            decompressor = lzma.LZMADecompressor(
                lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": dictionary}]
            )
            packed = decompressor.decompress(packed)
            assert decompressor.eof
            assert decompressor.unused_data == b""
        assert len(packed) == folder.unpacksizes[-1]
        sizes = info.unpacksizes[number : number + count] if info.unpacksizes is not None else [len(packed)]
        for size in sizes:
            if zlib.crc32(packed[:size]) != info.digests[number]:
                raise ValueError("checksum")
            yield packed[:size]
            packed = packed[size:]
            number += 1
        assert packed == b""


def folders(data: bytes) -> list[Any]:
    with opened(data) as archive:
        return list(archive.header.main_streams.unpackinfo.folders)


@pytest.mark.parametrize("level", CompressionLevel)
def test_contents_come_out_as_they_went_in(level: CompressionLevel) -> None:
    stored = {
        "empty": b"",
        "one": b"x",
        "text": text(30_000),
        "noise": noise(70_000),
        "mixed": mixed(200_000),
        "large noise": noise(MIB + MIB // 2),
        "after": b"after",
        "zeros": bytes(5 * MIB),
    }
    data, written = write(Listed([file(name.encode(), content) for name, content in stored.items()]), level)
    assert contents(data) == stored
    assert written.files == written.entries == len(stored)
    assert written.content_bytes == sum(map(len, stored.values()))


def test_blocks_of_one_folder_are_joined() -> None:
    """W-23: several MiB a block, packed apart, one LZMA2 stream to a reader."""
    content = mixed(150_000) + bytes(9 * MIB) + mixed(150_000)
    data, _ = write(Listed([file(b"world", content)]))
    assert contents(data) == {"world": content}
    assert len(folders(data)) == 1


def test_folders_are_solid_and_bounded() -> None:
    """W-57: not one block per file; and not so much in one that taking out a file is dear."""
    items = [file(b"%04d" % number, bytes([number % 251]) * 500_000) for number in range(2 * SOLID // 500_000)]
    data, _ = write(Listed(items))
    sizes = [folder.unpacksizes[-1] for folder in folders(data)]
    assert 2 <= len(sizes) <= 3
    assert max(sizes) <= SOLID


def test_large_files_that_do_not_compress_are_stored() -> None:
    items = [file(b"a", text(50_000)), file(b"jar", noise(6 * MIB)), file(b"b", text(50_000)), file(b"c", text(90))]
    data, _ = write(Listed(items))
    methods = [folder.coders[0]["method"] for folder in folders(data)]
    assert methods == [b"!", b"\0", b"!"]
    assert list(contents(data)) == ["a", "jar", "b", "c"]
    assert len(data) < 6 * MIB + 60_000


def test_modes_links_and_directories() -> None:
    """W-57: Unix modes as p7zip keeps them, links, directories that 7-Zip creates, empty files that are files."""
    source = Listed(
        [
            directory(b"d", mode=0o1777),
            directory(b"d/empty", mode=0o500),
            file(b"d/setuid", b"x", mode=0o4755),
            file(b"d/nothing", b"", mode=0o444),
            symlink(b"link", b"d/setuid"),
            symlink(b"far", b"t" * 1000),
        ]
    )
    data, written = write(source)
    with opened(data) as archive:
        listed = {one.filename: one for one in archive.files}
        kinds = {name: (one.is_directory, one.is_symlink, one.emptystream) for name, one in listed.items()}
        modes = {name: one._get_property("attributes") >> 16 for name, one in listed.items()}
        attributes = {name: one._get_property("attributes") & 0xFFFF for name, one in listed.items()}
    assert kinds == {
        "d": (True, False, True),
        "d/empty": (True, False, True),
        "d/setuid": (False, False, False),
        "d/nothing": (False, False, True),
        "link": (False, True, False),
        "far": (False, True, False),
    }
    assert modes == {
        "d": stat.S_IFDIR | 0o1777,
        "d/empty": stat.S_IFDIR | 0o500,
        "d/setuid": stat.S_IFREG | 0o4755,
        "d/nothing": stat.S_IFREG | 0o444,
        "link": stat.S_IFLNK | 0o777,
        "far": stat.S_IFLNK | 0o777,
    }
    assert {name for name, value in attributes.items() if value & 0x10} == {"d", "d/empty"}
    assert {name for name, value in attributes.items() if value & 0x01} == {"d/empty", "d/nothing"}
    assert all(value & 0x8000 for value in attributes.values())
    assert (written.files, written.entries, written.content_bytes) == (4, 6, 1)


def test_times_are_exact_to_the_tick() -> None:
    """W-57: every entry has its own time, 100 ns exact, also before 1970 and after 2107."""
    times = [0, -86_400 * 10**9, 1_600_000_000_123_456_700, 4_400_000_000 * 10**9, -11_644_473_600 * 10**9]
    data, _ = write(
        Listed([directory(b"d", mtime_ns=5 * 10**9), *(file(b"d/%d" % n, mtime_ns=times[n]) for n in range(5))])
    )
    with opened(data) as archive:
        found = [int(one._get_property("lastwritetime")) for one in archive.files]
    assert found == [(time // 100) + 116_444_736_000_000_000 for time in [5 * 10**9, *times]]


def test_times_before_the_format_began_are_its_first() -> None:
    data, _ = write(Listed([file(b"f", b"x", mtime_ns=-(1 << 64))]))
    with opened(data) as archive:
        assert [int(one._get_property("lastwritetime")) for one in archive.files] == [0]


def test_names_that_are_not_utf8_get_one_that_is_noted() -> None:
    source = Listed([file(b"\xff", b"1"), file("🎮 日本".encode(), b"2"), file(b"\\xff", b"3")])
    data, _ = write(source)
    # py7zr shows a backslash as a slash.
    assert contents(data) == {"/xff": b"1", "🎮 日本": b"2", "/xff~2": b"3"}
    assert source.report.counts[Trouble.UNSTORABLE_NAME] == 2


def test_nothing_but_directories_and_empty_files() -> None:
    data, _ = write(Listed([directory(b"d"), file(b"d/f")]))
    with opened(data) as archive:
        assert [(one.filename, one.is_directory) for one in archive.files] == [("d", True), ("d/f", False)]
    data, written = write(Listed([]))
    assert written.entries == 0
    with opened(data) as archive:
        assert archive.getnames() == []


def test_files_that_shrink_or_are_gone() -> None:
    source = Listed(
        [
            file(b"gone", b"", size=3 * MIB),
            file(b"first", b"f"),
            file(b"large", text(2 * MIB), size=9 * MIB),
            file(b"noise", noise(MIB), size=9 * MIB),
            file(b"small", b"s", size=100),
        ]
    )
    data, written = write(source)
    found = contents(data)
    assert {name: len(content) for name, content in found.items()} == {
        "gone": 0,
        "first": 1,
        "large": 2 * MIB,
        "noise": MIB,
        "small": 1,
    }
    assert source.report.counts[Trouble.CHANGED] == 4
    assert written.content_bytes == 3 * MIB + 2


def test_many_entries() -> None:
    data, _ = write(Listed(file(b"d%d/f%d" % (n // 100, n), b"%d" % n) for n in range(5000)))
    assert contents(data) == {f"d{n // 100}/f{n}": b"%d" % n for n in range(5000)}


def test_a_damaged_header_or_content_is_found() -> None:
    data, _ = write(Listed([file(b"f", text(100_000)), file(b"g", text(50_000, 2))]))
    for position in (40, len(data) // 2, len(data) - 3, len(data) - 40):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises((py7zr.exceptions.ArchiveError, lzma.LZMAError, ValueError, EOFError, TypeError)):
            contents(bytes(damaged))


def test_a_sink_that_cannot_go_back_is_refused_before_anything_is_written() -> None:
    sink = StreamSink()
    with pytest.raises(Unsupported, match="another format"):
        write_archive(
            Listed([file(b"f", b"x")]),
            sink,
            format=ArchiveFormat.SEVEN_ZIP,
            level=CompressionLevel.BEST_SPEED,
            threads=1,
            work=Unwatched(),
        )
    assert sink.size == 0


def test_progress_counts_content_and_files() -> None:
    work = Counted()
    write(Listed([directory(b"d"), file(b"d/f", b"12345"), file(b"g", bytes(9 * MIB)), symlink(b"l", b"d")]), work=work)
    assert (work.bytes, work.files) == (5 + 9 * MIB, 3)


def test_contents_are_closed_when_reading_fails() -> None:
    broken = Broken()
    with pytest.raises(OSError, match="disk is broken"):
        write(Listed([Item(Entry(b"f", EntryKind.FILE, 0o644, 0, 100), broken)]))
    assert broken.closed
