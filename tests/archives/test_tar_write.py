"""Tar streams: headers byte for byte, files that change, names of any kind, the end."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archives.listed import Broken, Bytes, Counted, Listed, MemorySink, directory, file, symlink
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.index import IndexReader, IndexWriter
from wings.archives.report import Trouble
from wings.archives.tar_headers import BLOCK, header, plain_header
from wings.archives.work import Unwatched, Work
from wings.archives.write import Written, write_archive

GIB = 1 << 30
LARGE = 3 << 20  # larger than a block, so that it is cut


def write(source: Listed, index: IndexWriter | None = None, work: Work | None = None) -> tuple[bytes, Written]:
    sink = MemorySink()
    written = write_archive(
        source,
        sink,
        format=ArchiveFormat.TAR,
        level=CompressionLevel.BEST_SPEED,
        threads=1,
        work=work or Unwatched(),
        index=index,
    )
    assert (written.size, written.sha256) == (len(sink.data), sink.sha256)
    return sink.data, written


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        return archive.getmembers()


def name(member: tarfile.TarInfo) -> bytes:
    return member.name.encode("utf-8", "surrogateescape")


def contents(data: bytes) -> dict[bytes, bytes]:
    """What extracting leaves: of two entries with one name the last one."""
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        return {name(one): stored.read() for one in archive if (stored := archive.extractfile(one)) is not None}


ENTRIES = st.builds(
    Entry,
    path=st.binary(min_size=1, max_size=130).map(
        lambda raw: raw.replace(b"\0", b"_").strip(b"/").replace(b"//", b"/") or b"x"
    ),
    kind=st.sampled_from([EntryKind.FILE, EntryKind.DIRECTORY]),
    mode=st.integers(0, 0o7777),
    mtime_ns=st.integers(-(1 << 62), 1 << 62) | st.sampled_from([0, -1, (1 << 33) * 10**9, (1 << 33) * 10**9 - 1]),
    size=st.integers(0, 1 << 40) | st.sampled_from([0, 8 * GIB - 1, 8 * GIB]),
)


@settings(max_examples=400, deadline=None)
@given(ENTRIES)
def test_the_fast_header_is_the_header_of_the_standard_library(entry: Entry) -> None:
    assert header(entry, entry.size) == plain_header(entry, entry.size)


@pytest.mark.parametrize("length", [1, 98, 99, 100, 101, 255, 5000])
@pytest.mark.parametrize("kind", [EntryKind.FILE, EntryKind.DIRECTORY])
def test_headers_are_equal_at_every_length_of_name(length: int, kind: EntryKind) -> None:
    entry = Entry(b"\xff" * length, kind, 0o7777, 1_700_000_000_999_999_999, 77)
    assert header(entry, 77) == plain_header(entry, 77)


def test_long_names_and_link_targets_are_stored() -> None:
    """W-4: the reference drops links with targets over 100 bytes; here names and targets of any length stay."""
    paths = [b"d" * length + b"/" + b"n" * length for length in (49, 50, 127, 255)] + [b"/".join([b"deep"] * 1200)]
    targets = [b"t" * length for length in (1, 99, 100, 101, 120, 1000, 4095)] + [b"../up \xff", b"/absolute"]
    items = [file(path, b"x") for path in paths]
    items += [directory(b"y" * 200)]
    items += [symlink(b"link%d" % number, target) for number, target in enumerate(targets)]
    items += [symlink(b"l" * 150, b"T" * 150)]
    data, _ = write(Listed(items))
    found = members(data)
    assert [name(one) for one in found] == [*paths, b"y" * 200, *(b"link%d" % n for n in range(9)), b"l" * 150]
    links = [one.linkname.encode("utf-8", "surrogateescape") for one in found if one.issym()]
    assert links == [*targets, b"T" * 150]


def test_names_are_bytes_and_nothing_of_the_owner_is_stored() -> None:
    """backup-drivers §14: uid and gid 0, empty names, permission bits only; no ``./``, a slash after directories."""
    data, _ = write(Listed([directory(b"d"), file(b"d/\xff\xfe\n.bin", b"1", mode=0o106755)]))
    assert data[:3] == b"d/\0"
    folder, stored = members(data)
    assert name(stored) == b"d/\xff\xfe\n.bin"
    assert stored.mode == 0o6755
    for one in (folder, stored):
        assert (one.uid, one.gid, one.uname, one.gname) == (0, 0, "", "")
    assert data[257:265] == b"ustar  \0"


def test_times_are_whole_seconds_also_before_1970() -> None:
    times = [0, 1, -1, -86_400 * 10**9, 1_600_000_000_999_999_999, 4_400_000_000 * 10**9, (1 << 33) * 10**9]
    data, _ = write(Listed([file(b"%d" % number, mtime_ns=time) for number, time in enumerate(times)]))
    assert [one.mtime for one in members(data)] == [time // 10**9 for time in times]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 65535, 65536, 65537, (1 << 20) - 512, 1 << 20, (1 << 20) + 1])
def test_files_of_every_size_come_out_as_they_went_in(size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    items = [file(b"before", b"b" * 700), file(b"it", content), file(b"after", b"a" * 3)]
    data, written = write(Listed(items))
    assert contents(data) == {b"before": b"b" * 700, b"it": content, b"after": b"aaa"}
    assert (written.files, written.entries, written.content_bytes) == (3, 3, 703 + size)


def test_content_that_comes_in_small_pieces() -> None:
    content = bytes(range(256)) * 5000
    items = [
        Item(Entry(b"large", EntryKind.FILE, 0o644, 0, len(content)), Bytes(content, 7001)),
        Item(Entry(b"small", EntryKind.FILE, 0o644, 0, 5000), Bytes(content[:5000], 17)),
    ]
    assert contents(write(Listed(items))[0]) == {b"large": content, b"small": content[:5000]}


def test_the_end_is_two_blocks_of_zeros_filled_to_a_record() -> None:
    for items in ([], [file(b"x", b"y" * 9000)], [file(b"x", b"y" * (10240 - 3 * BLOCK))]):
        data, _ = write(Listed(items))
        assert len(data) % 10240 == 0
        assert data.endswith(bytes(2 * BLOCK))
    assert len(data) == 10240


def test_counts_are_of_distinct_entries() -> None:
    """backup-drivers §18.1: ``files`` are entries that are no directories."""
    work = Counted()
    items = [directory(b"d"), file(b"d/f", b"12345"), symlink(b"l", b"d"), file(b"g", b"x" * LARGE)]
    _, written = write(Listed(items), work=work)
    assert (written.files, written.entries, written.content_bytes) == (3, 4, 5 + LARGE)
    assert (work.files, work.bytes) == (3, 5 + LARGE)


def test_a_shrunk_file_is_padded_noted_and_tried_again() -> None:
    """W-3: the second try is whole; it stands behind the torn one, and the note is withdrawn."""
    whole = b"w" * LARGE
    source = Listed(
        [file(b"world", whole[:1000], size=LARGE), file(b"other", b"o")], {b"world": [file(b"world", whole)]}
    )
    data, written = write(source)
    assert contents(data) == {b"world": whole, b"other": b"o"}
    assert [name(one) for one in members(data)] == [b"world", b"other", b"world"]
    first = tarfile.open(fileobj=io.BytesIO(data)).next()  # noqa: SIM115  # in memory
    assert first is not None
    assert data[first.offset_data :][:LARGE] == whole[:1000] + bytes(LARGE - 1000)
    assert source.report.counts[Trouble.TORN] == 0
    assert source.report.sentences(Trouble.TORN) == []
    assert (written.files, written.entries, written.content_bytes) == (2, 2, LARGE + 1)


def test_a_file_that_shrank_for_good_is_whole_at_the_second_try() -> None:
    """W-3: small now, it is stored as small as it is."""
    source = Listed([file(b"log", b"", size=LARGE)], {b"log": [file(b"log", b"rotated")]})
    data, written = write(source)
    assert contents(data) == {b"log": b"rotated"}
    assert source.report.counts[Trouble.TORN] == 0
    assert written.content_bytes == 7


def test_a_file_that_stays_torn_is_given_up_after_three_tries() -> None:
    """W-3: recorded as torn, once."""
    again = [file(b"busy", b"y" * n, size=LARGE) for n in (2000, 3000, 4000)]
    source = Listed([file(b"busy", b"x", size=LARGE)], {b"busy": again})
    data, written = write(source)
    assert [name(one) for one in members(data)] == [b"busy"] * 3
    assert contents(data)[b"busy"] == b"y" * 3000 + bytes(LARGE - 3000)
    assert source.report.counts[Trouble.TORN] == 1
    assert "of 3145728 bytes are zeros" in source.report.sentences(Trouble.TORN)[0]
    assert (written.files, written.content_bytes) == (1, LARGE)
    assert len(again) == 1


def test_a_torn_file_that_is_gone_at_the_second_try_stays_noted() -> None:
    source = Listed([file(b"gone", b"x" * 100, size=LARGE)])
    data, _ = write(source)
    assert contents(data)[b"gone"].startswith(b"x" * 100 + b"\0")
    assert source.report.counts[Trouble.TORN] == 1


@pytest.mark.parametrize("size", [900, 60_000, 200_000])
def test_a_file_that_fits_into_a_block_is_never_torn(size: int) -> None:
    """W-3: it is read before its header is written, so the header tells what is there."""
    source = Listed([file(b"f", b"short", size=size), file(b"next", b"n")])
    data, written = write(source)
    assert contents(data) == {b"f": b"short", b"next": b"n"}
    assert source.report.counts[Trouble.TORN] == 0
    assert source.report.counts[Trouble.CHANGED] == 1
    assert written.content_bytes == 6


def test_contents_are_closed_whatever_happens() -> None:
    good, broken = Bytes(b"x"), Broken()
    items = [
        Item(Entry(b"good", EntryKind.FILE, 0o644, 0, 1), good),
        Item(Entry(b"broken", EntryKind.FILE, 0o644, 0, LARGE), broken),
    ]
    with pytest.raises(OSError, match="disk is broken"):
        write(Listed(items))
    assert good.closed
    assert broken.closed


def test_the_source_is_closed_when_writing_fails() -> None:
    closed = []

    class Walking(Listed):
        def __iter__(self):  # type: ignore[no-untyped-def]  # a generator, to be closed
            try:
                yield Item(Entry(b"broken", EntryKind.FILE, 0o644, 0, 5), Broken())
            finally:
                closed.append(True)

    with pytest.raises(OSError, match="disk is broken") as caught:
        write(Walking([]))
    assert closed == [True], caught


def test_the_index_knows_where_every_content_lies(tmp_path: Path) -> None:
    names = [b"a", b"d/" + b"long" * 60, b"d/empty", b"d/large", b"d/torn", b"z"]
    sizes = [5, 70_000, 0, LARGE, LARGE, 1]
    items = [directory(b"d"), symlink(b"link", b"target" * 50)]
    items += [file(path, bytes([65 + n]) * size) for n, (path, size) in enumerate(zip(names, sizes, strict=True))]
    items[6] = file(b"d/torn", b"", size=LARGE)
    source = Listed(items, {b"d/torn": [file(b"d/torn", b"E" * 200_000)]})
    path = tmp_path / "index"
    with IndexWriter(path, ArchiveFormat.TAR) as index:
        data, written = write(source, index)
        index.finish(archive_size=written.size, archive_sha256=written.sha256)
    with IndexReader(path) as reader:
        for number, one in enumerate(names):
            found = reader.stat(one)
            content = data[found.offset : found.offset + found.entry.size]
            assert content == bytes([65 + number]) * (200_000 if one == b"d/torn" else sizes[number])
        assert reader.facts.size == len(data)
        assert reader.facts.entries == 9
        assert reader.stat(b"link").entry.target == b"target" * 50


def test_a_hard_link_is_never_written() -> None:
    with pytest.raises(KeyError):
        write(Listed([Item(Entry(b"hard", EntryKind.HARDLINK, 0o644, 0, 0, b"first"))]))


def test_a_file_without_content_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="content"):
        write(Listed([Item(Entry(b"f", EntryKind.FILE, 0o644, 0, 5))]))
