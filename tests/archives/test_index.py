"""The browse index: right for any order of entries, quick, and never believed when it is damaged."""

import random
import time
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path

import ormsgpack
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wings.archives import index as index_module
from wings.archives.entry import Entry, EntryKind
from wings.archives.formats import ArchiveFormat
from wings.archives.index import Block, Indexed, IndexReader, IndexWriter
from wings.errors import Damaged, InvalidInput, NotFound

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "internals" / "index-format.md"


def entry(path: bytes, kind: EntryKind = EntryKind.FILE, size: int = 0) -> Entry:
    return Entry(path, kind, 0o640, 1_600_000_000_123_456_789, size)


def folder(path: bytes) -> Entry:
    return entry(path, EntryKind.DIRECTORY)


def build(path: Path, entries: Sequence[tuple[Entry, int]], blocks: Sequence[tuple[int, int]] = ()) -> Path:
    with IndexWriter(path, ArchiveFormat.TAR_GZ) as writer:
        for one, offset in entries:
            writer.add(one, offset)
        for start, position in blocks:
            writer.block(start, position)
        writer.finish(archive_size=12345, archive_sha256="ab" * 32)
    return path


def names(found: Sequence[Indexed]) -> list[bytes]:
    return [one.entry.path for one in found]


def test_entries_come_back_as_they_were_recorded(tmp_path: Path) -> None:
    recorded = [
        Entry(b"d", EntryKind.DIRECTORY, 0o1777, -5),
        Entry(b"d/file \xff\n", EntryKind.FILE, 0o4755, 1 << 62, 1 << 40),
        Entry(b"d/link", EntryKind.SYMLINK, 0o777, 0, 0, b"\xfetarget"),
        Entry(b"hard", EntryKind.HARDLINK, 0o644, 7, 0, b"d/file \xff\n"),
    ]
    path = build(tmp_path / "i", [(one, number * 512) for number, one in enumerate(recorded)])
    with IndexReader(path) as reader:
        assert reader.list(b"") == [Indexed(recorded[0], 0), Indexed(recorded[3], 1536)]
        assert reader.list(b"d") == [Indexed(recorded[1], 512), Indexed(recorded[2], 1024)]
        assert reader.stat(b"d/link") == Indexed(recorded[2], 1024)
        assert reader.stat(b"").entry.kind is EntryKind.DIRECTORY
        assert reader.facts.format is ArchiveFormat.TAR_GZ
        assert (reader.facts.size, reader.facts.sha256, reader.facts.entries) == (12345, "ab" * 32, 4)


def test_directories_come_first_sorted_by_name(tmp_path: Path) -> None:
    path = build(tmp_path / "i", [(entry(b"b"), 0), (folder(b"z"), 0), (entry(b"a"), 0), (folder(b"y"), 0)])
    with IndexReader(path) as reader:
        assert names(reader.list(b"")) == [b"y", b"z", b"a", b"b"]
        assert reader.list(b"y") == []


def test_of_two_entries_with_one_name_the_last_one_wins(tmp_path: Path) -> None:
    """A torn file is stored twice (W-3), and foreign archives repeat entries."""
    filler = [(entry(b"filler/%d" % number), 0) for number in range(3000)]
    path = build(tmp_path / "i", [(entry(b"f", size=1), 1), *filler, (entry(b"f", size=2), 2)])
    with IndexReader(path) as reader:
        assert reader.stat(b"f").offset == 2
        assert [one.offset for one in reader.list(b"") if one.entry.path == b"f"] == [2]


def test_directories_that_no_entry_names_are_there_all_the_same(tmp_path: Path) -> None:
    path = build(tmp_path / "i", [(entry(b"a/b/c/file"), 9), (entry(b"a.txt"), 0), (entry(b"a-b/x"), 1)])
    with IndexReader(path) as reader:
        assert names(reader.list(b"")) == [b"a", b"a-b", b"a.txt"]
        assert names(reader.list(b"a")) == [b"a/b"]
        assert reader.stat(b"a/b").entry == Entry(b"a/b", EntryKind.DIRECTORY, 0o755, 0)
        assert names(reader.list(b"a/b/c")) == [b"a/b/c/file"]


def test_what_holds_entries_is_a_directory_whatever_else_is_said_of_it(tmp_path: Path) -> None:
    path = build(tmp_path / "i", [(entry(b"x"), 0), (entry(b"x/inside"), 1)])
    with IndexReader(path) as reader:
        assert reader.list(b"")[0].entry.kind is EntryKind.DIRECTORY
        assert reader.stat(b"x").entry.kind is EntryKind.DIRECTORY
        assert names(reader.list(b"x")) == [b"x/inside"]


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    with IndexReader(build(tmp_path / "i", [(entry(b"d/f"), 0), (entry(b"file"), 1)])) as reader:
        for missing in (b"x", b"d/x", b"d/f/x", b"fil", b"file2", b"d\xff"):
            with pytest.raises(NotFound):
                reader.stat(missing)
            with pytest.raises(NotFound):
                reader.list(missing)
        with pytest.raises(InvalidInput, match="not a directory"):
            reader.list(b"file")


def test_an_empty_archive_has_an_empty_root(tmp_path: Path) -> None:
    with IndexReader(build(tmp_path / "i", [(folder(b""), 0)])) as reader:
        assert reader.list(b"") == []
        assert reader.facts.entries == 0


def test_odd_entries(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "i", ArchiveFormat.TAR) as writer:
        for bad in (b"a\0b", b"a\0/b"):
            with pytest.raises(InvalidInput):
                writer.add(entry(bad), 0)
        writer.add(Entry(b"far future", EntryKind.FILE, 0, 1 << 90), 0)
        writer.add(Entry(b"far past", EntryKind.FILE, 0, -(1 << 90)), 0)
        writer.finish(archive_size=0, archive_sha256="")
    with IndexReader(tmp_path / "i") as reader:
        assert [one.entry.mtime_ns for one in reader.list(b"")] == [(1 << 63) - 1, -(1 << 63) + 1]


def test_blocks(tmp_path: Path) -> None:
    path = build(tmp_path / "i", [], [(0, 10), (1000, 200), (2000, 500), (3000, 12000)])
    with IndexReader(path) as reader:
        first, second, third, last = (
            Block(0, 10, 190),
            Block(1000, 200, 300),
            Block(2000, 500, 11500),
            Block(3000, 12000, 345),
        )
        assert reader.blocks_for(0, 1) == [first]
        assert reader.blocks_for(999, 1) == [first]
        assert reader.blocks_for(999, 2) == [first, second]
        assert reader.blocks_for(1000, 1000) == [second]
        assert reader.blocks_for(1500, 1000) == [second, third]
        assert reader.blocks_for(0, 10**9) == [first, second, third, last]
        assert reader.blocks_for(5000, 1) == [last]
        assert reader.blocks_for(1000, 0) == [second]


def test_without_blocks_the_archive_is_one_and_a_plain_tar_is_what_it_is(tmp_path: Path) -> None:
    with IndexReader(build(tmp_path / "i", [])) as reader:
        assert reader.blocks_for(77, 5) == [Block(0, 0, 12345)]
    with IndexWriter(tmp_path / "t", ArchiveFormat.TAR) as writer:
        writer.finish(archive_size=10240, archive_sha256="")
    with IndexReader(tmp_path / "t") as reader:
        assert reader.blocks_for(77, 5) == [Block(77, 77, 5)]


NAMES = st.sampled_from([b"a", b"b", b"a.b", b"a\x01", b"\x01", b"\xff", b"ab", b" "])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
RECORDED = st.lists(st.tuples(PATHS, st.sampled_from([EntryKind.FILE, EntryKind.DIRECTORY])), max_size=40)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recorded=RECORDED, chunk=st.integers(1, 8), page=st.integers(1, 4), spill=st.integers(1, 6))
def test_any_order_gives_the_same_tree(
    tmp_path: Path, recorded: list[tuple[bytes, EntryKind]], chunk: int, page: int, spill: int
) -> None:
    """Against a plain dictionary, with parts so small that every boundary is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "CHUNK_ENTRIES", chunk)
        patch.setattr(index_module, "PAGE_DIRECTORIES", page)
        patch.setattr(index_module, "SPILL_DIRECTORIES", spill)
        path = build(tmp_path / "i", [(entry(one, kind), number) for number, (one, kind) in enumerate(recorded)])
    expected: dict[bytes, tuple[EntryKind, int]] = {}
    for number, (one, kind) in enumerate(recorded):
        expected[one] = (kind, number)
    for one in list(expected):
        parent = one.rpartition(b"/")[0]
        while parent:
            if expected.get(parent, (EntryKind.FILE, 0))[0] is not EntryKind.DIRECTORY:
                expected[parent] = (EntryKind.DIRECTORY, 0)
            parent = parent.rpartition(b"/")[0]
    with IndexReader(path) as reader:
        for one, (kind, offset) in expected.items():
            found = reader.stat(one)
            assert (found.entry.kind, found.offset) == (kind, offset)
        for one in [b"", *(one for one, (kind, _) in expected.items() if kind is EntryKind.DIRECTORY)]:
            inside = {other for other in expected if other.rpartition(b"/")[0] == one}
            assert set(names(reader.list(one))) == inside


def test_a_damaged_index_is_refused_and_never_lies(tmp_path: Path) -> None:
    """Every byte changed in turn: each answer is an error or the right one."""
    entries = [(entry(b"d%d/f%d" % (n % 3, n)), n) for n in range(30)]
    good = build(tmp_path / "i", entries, [(0, 0), (500, 50)])
    with IndexReader(good) as reader:
        expected = [reader.list(b"d%d" % n) for n in range(3)], reader.blocks_for(0, 1000), reader.facts
    data = good.read_bytes()
    bad = tmp_path / "bad"
    for position in range(len(data)):
        bad.write_bytes(data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :])
        try:
            with IndexReader(bad) as reader:
                found = [reader.list(b"d%d" % n) for n in range(3)], reader.blocks_for(0, 1000), reader.facts
        except Damaged:
            continue
        assert found == expected


def test_a_truncated_index_is_refused(tmp_path: Path) -> None:
    data = build(tmp_path / "i", [(entry(b"f"), 0)]).read_bytes()
    for length in range(len(data)):
        (tmp_path / "bad").write_bytes(data[:length])
        with pytest.raises(Damaged):
            IndexReader(tmp_path / "bad")


def test_an_index_that_was_not_finished_is_none(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "i", ArchiveFormat.TAR) as writer:
        writer.add(entry(b"f"), 0)
    with pytest.raises(Damaged):
        IndexReader(tmp_path / "i")
    with pytest.raises(FileNotFoundError):
        IndexReader(tmp_path / "absent")


def test_the_layout_is_as_the_document_says(tmp_path: Path) -> None:
    """Read by hand, after ``docs/internals/index-format.md``."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "`WINGSIX` and the version, `0x01`" in text
    data = build(tmp_path / "i", [(entry(b"d/f", size=9), 512)], [(0, 0), (1000, 77)]).read_bytes()

    def part(position: int) -> object:
        length = int.from_bytes(data[position : position + 4], "little")
        return ormsgpack.unpackb(zstandard.decompress(data[position + 4 : position + 4 + length]))

    def numbers(packed: bytes) -> list[int]:
        return [int.from_bytes(packed[n : n + 8], "little") for n in range(0, len(packed), 8)]

    assert data[:8] == data[-8:] == b"WINGSIX\x01"
    assert int.from_bytes(data[-12:-8], "little") == zlib.crc32(data[-20:-12])
    footer = part(int.from_bytes(data[-20:-12], "little"))
    assert isinstance(footer, list)
    assert footer[:4] == ["tar_gz", 12345, "ab" * 32, 1]
    (chunk,), (page,) = numbers(footer[4]), numbers(footer[6])
    assert part(chunk) == [[b"d", [[b"f", 0, 0o640, 1_600_000_000_123_456_789, 9, b"", 512]]]]
    assert footer[5] == [b"d"]
    assert part(page) == [[b"d", [0]]]
    starts, positions = part(footer[7])  # type: ignore[misc]  # a list of two byte strings
    assert (numbers(starts), numbers(positions)) == ([0, 1000], [0, 77])
    assert array("Q").itemsize == 8


def test_a_large_index_is_quick(tmp_path: Path) -> None:
    """First listing and one look-up among 50,000 entries: the bar is 300 ms, opening included."""
    chance = random.Random(3)
    entries = [
        (entry(b"world/region%03d/file%05d.dat" % (number % 500, number), size=chance.randrange(9000)), number * 4096)
        for number in range(50_000)
    ]
    entries.sort(key=lambda one: one[0].path)
    path = build(tmp_path / "i", entries, [(number << 20, number * 700_000) for number in range(200)])
    assert path.stat().st_size < 1_500_000
    started = time.process_time()
    with IndexReader(path) as reader:
        assert len(reader.list(b"")) == 1
        assert len(reader.list(b"world")) == 500
        assert len(reader.list(b"world/region123")) == 100
        assert reader.blocks_for(reader.stat(b"world/region499/file49999.dat").offset, 100)
    assert time.process_time() - started < 0.3
