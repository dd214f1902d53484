"""Browsing archives of every format: listings, facts, parts of files, and damage (design §4, W-12)."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import lz4.frame
import lzip
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archives.crafted import END, Member, file, header, long_name, make_7z, make_zip
from tests.archives.hostile import CASES
from tests.archives.listed import Counted, Listed, directory, symlink
from tests.archives.listed import file as listed_file
from wings.archives.entry import Entry, EntryKind
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.index import IndexReader, IndexWriter
from wings.archives.trees import Tree, build_index, index_fits, open_tree
from wings.archives.work import Unwatched
from wings.archives.write import write_archive
from wings.errors import Cancelled, Damaged, InvalidInput, NotFound

PACK: dict[ArchiveFormat, Callable[[bytes], bytes]] = {
    ArchiveFormat.TAR: bytes,
    ArchiveFormat.TAR_GZ: lambda data: gzip.compress(data, 1, mtime=0),
    ArchiveFormat.TAR_XZ: lambda data: lzma.compress(data, preset=0),
    ArchiveFormat.TAR_LZIP: lambda data: bytes(lzip.compress_to_buffer(data, 0)),
    ArchiveFormat.TAR_BZ2: lambda data: bz2.compress(data, 1),
    ArchiveFormat.TAR_LZ4: lambda data: bytes(lz4.frame.compress(data)),
    ArchiveFormat.TAR_ZSTD: lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
}
ALL = pytest.mark.parametrize("format", ArchiveFormat, ids=str)
TARS = pytest.mark.parametrize("format", PACK, ids=str)
CONTENTS = {b"dir/f%d" % number: random.Random(number).randbytes(number * 20_000) for number in range(12)}


def browse(archive: bytes, format: ArchiveFormat, place: Path) -> Tree:
    """Put the archive on the disk, index it if need be, and open it."""
    path = place / f"a.{format.extension}"
    path.write_bytes(archive)
    if not format.is_tar:
        return open_tree(path, format, None)
    build_index(path, format, place / "index")
    assert index_fits(place / "index", path)
    return open_tree(path, format, place / "index")


def make(format: ArchiveFormat, member: int = 150_000) -> bytes:
    """The same tree in every format."""
    if not format.is_tar:
        members = [
            Member("Zebra/" if format is ArchiveFormat.ZIP else "Zebra", b"", stat.S_IFDIR | 0o700),
            Member("link", b"dir/f3", stat.S_IFLNK | 0o777),
            Member("apple", b"a"),
            Member("Banana", b"b"),
            *(Member(path.decode(), data) for path, data in CONTENTS.items()),
        ]
        return (make_zip if format is ArchiveFormat.ZIP else make_7z)(*members)
    tar = (
        header(b"Zebra/", kind=b"5", mode=b"0000700\0")
        + header(b"./link", kind=b"2", link=b"dir/f3")
        + file(b"apple", b"a")
        + file(b"Banana", b"b")
        + b"".join(file(path, data) for path, data in CONTENTS.items())
        + END
    )
    return b"".join(PACK[format](tar[at : at + member]) for at in range(0, len(tar), member))


def read(tree: Tree, path: bytes, offset: int = 0, length: int | None = None, step: int = 1 << 20) -> bytes:
    part = tree.read(path, offset, length)
    try:
        pieces = []
        while piece := part.read(step):
            assert len(piece) <= step
            pieces.append(piece)
        assert part.read(step) == b""
        return b"".join(pieces)
    finally:
        part.close()
        part.close()


def test_every_format_is_browsed_alike(tmp_path: Path) -> None:
    """Backup-drivers §9: directories first, then names without regard to case; implied parents appear."""
    for format in ArchiveFormat:
        tree = browse(make(format), format, tmp_path)
        assert [one.path for one in tree.list(b"")] == [b"dir", b"Zebra", b"apple", b"Banana", b"link"], format
        assert [one.path for one in tree.list(b"dir")] == sorted(CONTENTS)
        assert tree.list(b"Zebra") == []
        assert (tree.stat(b"Zebra").kind, tree.stat(b"Zebra").mode) == (EntryKind.DIRECTORY, 0o700)
        assert (tree.stat(b"dir").kind, tree.stat(b"dir").mode) == (EntryKind.DIRECTORY, 0o755)
        assert tree.stat(b"").kind is EntryKind.DIRECTORY
        assert (tree.stat(b"link").kind, tree.stat(b"link").target) == (EntryKind.SYMLINK, b"dir/f3")
        assert next(one for one in tree.list(b"") if one.path == b"link").target == b"dir/f3"
        for path, data in CONTENTS.items():
            assert tree.stat(path).size == len(data)
            assert read(tree, path) == data
        tree.close()


@ALL
def test_parts_of_files(format: ArchiveFormat, tmp_path: Path) -> None:
    """Any offset and length, across blocks, beyond the end."""
    tree = browse(make(format), format, tmp_path)
    data = CONTENTS[b"dir/f11"]
    chance = random.Random(1)
    for offset, length in [
        (0, 0),
        (0, 1),
        (len(data) - 1, 5),
        (len(data), 5),
        (len(data) + 99, None),
        *((chance.randrange(len(data)), chance.choice((None, 1, 1000, 100_000, 10**9))) for _ in range(20)),
    ]:
        expected = data[offset:] if length is None else data[offset : offset + length]
        assert read(tree, b"dir/f11", offset, length, step=70_000) == expected
    tree.close()


@ALL
def test_what_is_not_there(format: ArchiveFormat, tmp_path: Path) -> None:
    """P2 within a backup: absent, no directory, no file."""
    tree = browse(make(format), format, tmp_path)
    for path in (b"nothing", b"dir/nothing", b"apple/x", b"ZEBRA", b"dir/", b"/dir", b".."):
        for ask in (tree.stat, tree.list, tree.read):
            with pytest.raises(NotFound):
                ask(path)
    with pytest.raises(InvalidInput):
        tree.list(b"apple")
    for path in (b"", b"dir", b"link"):
        with pytest.raises(InvalidInput):
            tree.read(path)
    tree.close()


@ALL
def test_an_open_file_survives_its_tree_and_others_beside_it(format: ArchiveFormat, tmp_path: Path) -> None:
    """Several files of one backup are read at once, in turns and in threads."""
    tree = browse(make(format), format, tmp_path)
    parts = {path: tree.read(path) for path in (b"dir/f9", b"dir/f10", b"dir/f11")}
    got = dict.fromkeys(parts, b"")
    while any(pieces := {path: part.read(10_000) for path, part in parts.items()}.values()):
        got = {path: got[path] + piece for path, piece in zip(parts, pieces, strict=True)}
    assert got == {path: CONTENTS[path] for path in parts}
    wrong: list[bytes] = []

    def check(path: bytes) -> None:
        if read(tree, path, step=5000) != CONTENTS[path]:
            wrong.append(path)

    threads = [threading.Thread(target=check, args=(path,)) for path in CONTENTS]
    last = tree.read(b"dir/f11")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tree.close()
    tree.close()
    assert wrong == []
    assert last.read(100) == CONTENTS[b"dir/f11"][:100]
    last.close()


def test_no_descriptors_stay_open(tmp_path: Path) -> None:
    for format in ArchiveFormat:
        before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        tree = browse(make(format), format, tmp_path)
        assert read(tree, b"apple") == b"a"
        half = tree.read(b"dir/f11")
        half.read(10)
        half.close()
        tree.close()
        assert len(os.listdir("/proc/self/fd")) == before, format
        assert threading.active_count() == threads


@TARS
def test_only_the_blocks_of_a_file_are_decoded(format: ArchiveFormat, tmp_path: Path) -> None:
    """Design §4: with everything else of the archive destroyed, the file still comes out."""
    archive = make(format)
    tree = browse(archive, format, tmp_path)
    with IndexReader(tmp_path / "index") as index:
        found = index.stat(b"dir/f8")
        blocks = index.blocks_for(found.offset - 512, found.entry.size + 512)
    first, end = blocks[0].position, blocks[-1].position + blocks[-1].size
    assert end - first < len(archive) * 0.6
    destroyed = bytes(first) + archive[first:end] + bytes(len(archive) - end)
    (tmp_path / f"a.{format.extension}").write_bytes(destroyed)
    assert read(tree, b"dir/f8") == CONTENTS[b"dir/f8"]
    with pytest.raises(Damaged):
        read(tree, b"dir/f5")
    tree.close()


@pytest.mark.parametrize(
    "format", [one for one in ArchiveFormat if one not in (ArchiveFormat.TAR, ArchiveFormat.TAR_LZ4)]
)
def test_damage_is_found_before_a_byte_goes_out(format: ArchiveFormat, tmp_path: Path) -> None:
    """W-12, W-20: a member's checksum is compared before any byte of it is handed on."""
    archive = bytearray(make(format))
    tree = browse(bytes(archive), format, tmp_path)
    path = tmp_path / f"a.{format.extension}"
    for position in range(len(archive) // 3, len(archive) * 2 // 3, 9_973):
        archive[position] ^= 16
    path.write_bytes(archive)
    failed = 0
    for name, data in CONTENTS.items():
        try:
            assert read(tree, name) == data
        except Damaged:
            failed += 1
    assert failed >= 3
    if format.is_tar:
        part = tree.read(b"dir/f8")
        with pytest.raises(Damaged):
            part.read(1)
        part.close()
    tree.close()


@TARS
def test_damaged_archives_get_no_index(format: ArchiveFormat, tmp_path: Path) -> None:
    """W-12: an index of half an archive would show half a backup as if it were whole."""
    archive = make(format)
    path = tmp_path / "a"
    variants = [archive[: len(archive) // 2], archive[:-2000], b""]
    if format not in (ArchiveFormat.TAR, ArchiveFormat.TAR_LZ4):  # these have no checksum over contents here
        variants.append(archive[:5000] + bytes(5000) + archive[10_000:])
    for damaged in variants:
        path.write_bytes(damaged)
        with pytest.raises(Damaged):
            build_index(path, format, tmp_path / "index")
        assert not (tmp_path / "index").exists()
        assert not index_fits(tmp_path / "index", path)


def test_an_index_of_another_archive_does_not_fit(tmp_path: Path) -> None:
    browse(make(ArchiveFormat.TAR_GZ), ArchiveFormat.TAR_GZ, tmp_path).close()
    other = tmp_path / "other"
    other.write_bytes(b"x")
    assert not index_fits(tmp_path / "index", other)
    (tmp_path / "index").write_bytes(b"x" * 100)
    assert not index_fits(tmp_path / "index", tmp_path / "a.tar.gz")


def test_a_plain_tar_that_was_exchanged_is_noticed(tmp_path: Path) -> None:
    """W-12: without checksums over contents, at least the header before them is looked at."""
    tree = browse(make(ArchiveFormat.TAR), ArchiveFormat.TAR, tmp_path)
    size = (tmp_path / "a.tar").stat().st_size
    (tmp_path / "a.tar").write_bytes(random.Random(5).randbytes(size))
    with pytest.raises(Damaged):
        read(tree, b"dir/f8")
    tree.close()


@TARS
def test_archives_in_one_piece(format: ArchiveFormat, tmp_path: Path) -> None:
    """What others compressed in one piece is decoded from its start; the checksum holds when it is small."""
    tree = browse(make(format, 10**9), format, tmp_path)
    for path in (b"dir/f11", b"dir/f1", b"apple"):
        assert read(tree, path) == CONTENTS.get(path, b"a")
    tree.close()


def test_large_blocks_stream(tmp_path: Path) -> None:
    """P6: a block beyond what is checked as a whole is decoded piece by piece, from any offset."""
    data = bytes(40_000_000)
    archive = gzip.compress(file(b"zeros", data) + file(b"end", b"x") + END, 1)
    tree = browse(archive, ArchiveFormat.TAR_GZ, tmp_path)
    assert read(tree, b"zeros", 39_000_000, 500_000) == bytes(500_000)
    assert read(tree, b"end") == b"x"
    assert read(tree, b"zeros") == data
    tree.close()


def test_hard_links_sparse_files_long_names_and_repeated_entries(tmp_path: Path) -> None:
    """What only tar can hold: links show the file they name, holes read as zeros, the last entry counts."""
    sparse = b"%011o\0%011o\0" % (5000, 700) + bytes(73) + b"%011o\0" % 100_000
    archive = (
        file(b"first", b"content")
        + header(b"second", kind=b"1", link=b"first")
        + header(b"third", kind=b"1", link=b"./second")
        + header(b"lost", kind=b"1", link=b"nowhere")
        + header(b"loop", kind=b"1", link=b"loop")
        + header(b"holes", kind=b"S", size=b"%011o\0" % 700, sparse=sparse)
        + bytes([1]) * 700
        + bytes(324)
        + header(b"to holes", kind=b"1", link=b"holes")
        + long_name(b"long/" * 60 + b"name")
        + file(b"long", b"deep")
        + file(b"again", b"old")
        + file(b"again", b"newer")
        + END
    )
    tree = browse(archive, ArchiveFormat.TAR, tmp_path)
    for path in (b"first", b"second", b"third"):
        assert (tree.stat(path).kind, tree.stat(path).size) == (EntryKind.FILE, 7)
        assert read(tree, path, 2, 3) == b"nte"
    for path in (b"lost", b"loop"):
        assert read(tree, path) == b""
    expected = bytes(5000) + bytes([1]) * 700 + bytes(94_300)
    for path in (b"holes", b"to holes"):
        assert tree.stat(path) == Entry(path, EntryKind.FILE, 0o644, 0, 100_000)
        assert read(tree, path) == expected
        assert read(tree, path, 4990, 30) == expected[4990:5020]
    assert all(one.target == b"" for one in tree.list(b""))
    assert read(tree, b"long/" * 60 + b"name") == b"deep"
    assert read(tree, b"again") == b"newer"
    tree.close()


@pytest.mark.parametrize("case", [case for case in CASES if not case.fails], ids=lambda case: case.name)
def test_hostile_archives_are_browsed_without_their_hostile_entries(case: object, tmp_path: Path) -> None:
    """P8: no listing shows a path that leads out, none is endless, and good files can be read."""
    from tests.archives.hostile import Case

    assert isinstance(case, Case)
    tree = browse(case.build(b"/some/outside"), case.format, tmp_path)
    todo, seen = [b""], 0
    while todo:
        for entry in tree.list(todo.pop()):
            seen += 1
            assert seen < 1000
            assert not {b"", b".", b".."} & set(entry.path.split(b"/"))
            assert b"\0" not in entry.path
            if entry.kind is EntryKind.DIRECTORY:
                todo.append(entry.path)
    if case.good:
        assert read(tree, b"good") == b"good"
    tree.close()


@pytest.mark.parametrize("format", [ArchiveFormat.ZIP, ArchiveFormat.SEVEN_ZIP])
def test_very_deep_paths_are_no_recursion(format: ArchiveFormat, tmp_path: Path) -> None:
    path = "d/" * 3000 + "x"
    tree = browse((make_zip if format is ArchiveFormat.ZIP else make_7z)(Member(path, b"deep")), format, tmp_path)
    assert [one.path for one in tree.list(b"d/d")] == [b"d/d/d"]
    assert read(tree, path.encode()) == b"deep"
    tree.close()


def test_links_of_a_solid_7z_are_read_in_one_go(tmp_path: Path) -> None:
    """A directory of a thousand links must not unpack the archive a thousand times."""
    members = [Member("large", bytes(3_000_000))]
    members += [Member(f"links/{number:04}", b"target %d" % number, stat.S_IFLNK | 0o777) for number in range(1000)]
    tree = browse(make_7z(*members), ArchiveFormat.SEVEN_ZIP, tmp_path)
    assert [one.target for one in tree.list(b"links")] == [b"target %d" % number for number in range(1000)]
    tree.close()


def test_building_an_index_can_be_watched_and_cancelled(tmp_path: Path) -> None:
    """P7: progress counts the archive's bytes; a cancelled index is none."""
    archive = make(ArchiveFormat.TAR_ZSTD)
    (tmp_path / "a").write_bytes(archive)
    work = Counted()
    build_index(tmp_path / "a", ArchiveFormat.TAR_ZSTD, tmp_path / "index", work)
    assert work.bytes == len(archive)
    with pytest.raises(Cancelled):
        build_index(tmp_path / "a", ArchiveFormat.TAR_ZSTD, tmp_path / "other", Counted(limit=200_000))
    assert not (tmp_path / "other").exists()
    with IndexReader(tmp_path / "index") as index:
        assert (index.facts.entries, index.facts.size) == (16, len(archive))


def test_tiny_members_do_not_swell_the_index(tmp_path: Path) -> None:
    """P6: a member of 64 KiB (bgzip) or less is no block of its own."""
    browse(make(ArchiveFormat.TAR_GZ, 5000), ArchiveFormat.TAR_GZ, tmp_path).close()
    with IndexReader(tmp_path / "index") as index:
        blocks = index.blocks_for(0, 10**9)
    assert len(blocks) < 12
    assert min(later.start - block.start for block, later in pairwise(blocks)) >= 256 << 10


@pytest.mark.parametrize("format", PACK, ids=str)
def test_indexes_made_while_writing_and_afterwards_show_the_same(format: ArchiveFormat, tmp_path: Path) -> None:
    """P9: our own archives through both indexes, every file in full and from the middle."""
    chance = random.Random(6)
    sizes = (0, 100, 70_000, 100_000, 600_000)
    contents = {b"d/%02d" % number: chance.randbytes(size) for number, size in enumerate(sizes)}
    items = [directory(b"d"), symlink(b"d/link", b"00"), *(listed_file(path, data) for path, data in contents.items())]
    archive = tmp_path / "a"
    with archive.open("wb") as out, IndexWriter(tmp_path / "written", format) as writer:
        done = write_archive(
            Listed(items),
            out,
            format=format,
            level=CompressionLevel.BEST_SPEED,
            threads=2,
            work=Unwatched(),
            index=writer,
        )
        writer.finish(archive_size=done.size, archive_sha256=done.sha256)
    build_index(archive, format, tmp_path / "built")
    one, other = (open_tree(archive, format, tmp_path / name) for name in ("written", "built"))
    for path in (b"", b"d"):
        assert one.list(path) == other.list(path)
    for path, data in contents.items():
        for tree in (one, other):
            assert read(tree, path) == data
            assert read(tree, path, len(data) // 2, 50_000) == data[len(data) // 2 :][:50_000]
    for tree in (one, other):
        tree.close()
    with IndexReader(tmp_path / "written") as written, IndexReader(tmp_path / "built") as built:
        assert written.facts == built.facts


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(ArchiveFormat)),
    st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "C", ".d", "e f"]), min_size=1, max_size=4).map("/".join),
        st.binary(min_size=1, max_size=50),
        max_size=8,
    ),
)
def test_any_tree_is_shown_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, format: ArchiveFormat, contents: dict[str, bytes]
) -> None:
    """Every file is found by walking from the root, and nothing else but its parents."""
    contents = {path: data for path, data in contents.items() if not any(p.startswith(path + "/") for p in contents)}
    if format.is_tar:
        archive = PACK[format](b"".join(file(path.encode(), data) for path, data in contents.items()) + END)
    else:
        archive = (make_zip if format is ArchiveFormat.ZIP else make_7z)(*(Member(p, d) for p, d in contents.items()))
    tree = browse(archive, format, tmp_path_factory.mktemp("tree"))
    found, todo = {}, [b""]
    while todo:
        entries = tree.list(todo.pop())
        keys = [(one.kind is not EntryKind.DIRECTORY, one.path.lower(), one.path) for one in entries]
        assert keys == sorted(keys)
        for entry in entries:
            assert tree.stat(entry.path) == entry
            if entry.kind is EntryKind.DIRECTORY:
                todo.append(entry.path)
            else:
                found[entry.path.decode()] = read(tree, entry.path)
    assert found == contents
    tree.close()


def test_an_archive_without_entries(tmp_path: Path) -> None:
    for format in ArchiveFormat:
        empty = make_zip() if format is ArchiveFormat.ZIP else make_7z()
        tree = browse(PACK[format](END) if format.is_tar else empty, format, tmp_path)
        assert tree.list(b"") == []
        tree.close()


def test_bytes_that_are_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(io.BytesIO(b"no archive").getvalue())
    for format in (ArchiveFormat.ZIP, ArchiveFormat.SEVEN_ZIP):
        with pytest.raises(Damaged):
            open_tree(tmp_path / "a", format, None)
    with pytest.raises(ValueError, match="index"):
        open_tree(tmp_path / "a", ArchiveFormat.TAR, None)
