"""Reading tar of every kind, and refusing to take damage for an end (W-12)."""

import contextlib
import io
import random
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.archives.crafted import END, file, header, long_name, padded, pax
from tests.archives.reading import Found, everything
from wings.archives.decoders import open_decoder
from wings.archives.entry import EntryKind
from wings.archives.formats import ArchiveFormat, Compression
from wings.archives.refusals import Refusal
from wings.archives.tar_parse import BLOCK, parse_header
from wings.archives.tar_read import TarReader
from wings.archives.work import Unwatched
from wings.errors import Damaged, Unsupported, WingsError


def read(archive: bytes) -> dict[bytes, Found]:
    return everything(archive, ArchiveFormat.TAR)


def open_tar(archive: bytes) -> TarReader:
    return TarReader(open_decoder(io.BytesIO(archive), Compression.NONE, threads=1, work=Unwatched()))


def expect_damage(archive: bytes) -> str:
    with pytest.raises(Damaged) as caught:
        read(archive)
    return str(caught.value)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_tarfile_writes(format: int) -> None:
    """All three formats in use, with everything that they can hold."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as writer:
        info = tarfile.TarInfo("dir")
        info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o1750, 1_000_000_000
        writer.addfile(info)
        info = tarfile.TarInfo("dir/" + "d" * 90 + "/" + "f" * 99)
        info.size, info.mode, info.mtime = 1000, 0o4755, 1_600_000_000
        writer.addfile(info, io.BytesIO(b"y" * 1000))
        info = tarfile.TarInfo("dir/link")
        info.type, info.linkname = tarfile.SYMTYPE, "../" + "t" * (90 if format == tarfile.USTAR_FORMAT else 300)
        writer.addfile(info)
        info = tarfile.TarInfo("hard")
        info.type, info.linkname = tarfile.LNKTYPE, "dir/" + "d" * 90
        writer.addfile(info)
        info = tarfile.TarInfo("odd \udcff")
        writer.addfile(info)
    found = read(out.getvalue())
    long = b"dir/" + b"d" * 90 + b"/" + b"f" * 99
    assert list(found) == [b"dir/", long, b"dir/link", b"hard", b"odd \xff"]
    assert found[b"dir/"] == Found("directory", 0o1750, 10**18, 0, b"", None)
    assert found[long] == Found("file", 0o4755, 1_600_000_000 * 10**9, 1000, b"", b"y" * 1000)
    assert found[b"dir/link"].kind == "symlink" and found[b"dir/link"].target.startswith(b"../ttt")
    assert len(found[b"dir/link"].target) == (93 if format == tarfile.USTAR_FORMAT else 303)
    assert found[b"hard"].kind == "hardlink" and found[b"hard"].target == b"dir/" + b"d" * 90


def test_v7_archives() -> None:
    """No magic, a directory is a name with a slash."""
    archive = header(b"old/", kind=b"\0", magic=b"") + file(b"old/file", b"content", kind=b"\0", magic=b"") + END
    found = read(archive)
    assert [(path, one.kind, one.data) for path, one in found.items()] == [
        (b"old/", "directory", None),
        (b"old/file", "file", b"content"),
    ]


def test_prefixes_of_ustar_and_of_star_and_none_of_gnu() -> None:
    archive = (
        header(b"a", prefix=b"some/prefix")
        + header(b"b", prefix=b"p" * 131 + b"\0")
        + header(b"c", magic=b"ustar  \0", prefix=b"12345670000\0")  # GNU keeps access times there
        + END
    )
    assert list(read(archive)) == [b"some/prefix/a", b"p" * 131 + b"/b", b"c"]


def test_numbers_in_binary() -> None:
    """GNU's base 256: times before 1970, after 2242, and sizes over 8 GiB."""
    early = b"\xff" + (-86_400).to_bytes(11, "big", signed=True)
    late = b"\x80" + (8_589_934_592).to_bytes(11, "big")
    archive = header(b"early", mtime=early) + header(b"late", mtime=late, size=b"\x80" + bytes(10) + b"\0") + END
    found = read(archive)
    assert found[b"early"].mtime_ns == -86_400 * 10**9
    assert found[b"late"].mtime_ns == 8_589_934_592 * 10**9


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 12,
        b"\xff" + (-512).to_bytes(11, "big", signed=True),
        b"\x80" + b"\x7f" * 11,
        b"\x80\x00\x00\x00\x7f" + b"\xff" * 7,
        b"-0000000001\0",
        b"0x000000001\0",
        b"1_0\0",
        b"99999999999\0",
    ],
)
def test_impossible_sizes_are_damage(size: bytes) -> None:
    """Negative, absurd and garbled sizes: no loop, no allocation, no silence."""
    assert "damaged" in expect_damage(header(b"x", size=size) + END)


def test_a_size_beyond_the_archive_is_damage() -> None:
    """An exabyte announced, nothing there."""
    assert "missing" in expect_damage(header(b"x", size=b"\x80\0\0\0\x0f" + b"\xff" * 7) + b"y" * 10_000)


def test_checksums_as_signed_numbers_are_accepted_and_wrong_ones_are_not() -> None:
    block = bytearray(header("ü".encode()))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    block[148:156] = b"%06o\0 " % signed
    assert list(read(bytes(block) + END)) == ["ü".encode()]
    block[148:156] = b"%06o\0 " % (signed + 1)
    assert "checksum" in expect_damage(bytes(block) + END)


def test_the_end_must_be_there() -> None:
    """W-12: an archive without its end is one whose rest is missing."""
    whole = file(b"a", b"x" * 600) + file(b"b", b"y" * 600)
    assert len(read(whole + END)) == 2
    assert len(read(whole + END + bytes(9000))) == 2
    assert len(read(whole + bytes(BLOCK))) == 2  # some writers leave it at one block
    for cut in (whole, whole[:-BLOCK], whole[:-1], whole[: BLOCK * 3], whole[:700], whole[:1], b""):
        expect_damage(cut)
    expect_damage(whole + END[:100])
    assert read(END) == {}


def test_data_behind_the_end_is_damage() -> None:
    """W-12: entries behind the end would be lost without a word."""
    assert "behind the end" in expect_damage(file(b"a", b"x") + END + file(b"b", b"y") + END)
    assert "behind the end" in expect_damage(file(b"a", b"x") + bytes(BLOCK) + file(b"b", b"y") + END)
    assert "behind the end" in expect_damage(file(b"a", b"x") + END + bytes(5000) + b"x")


def test_a_long_name_without_an_entry_is_damage() -> None:
    for lonely in (long_name(b"x" * 200), pax({b"path": b"x"})):
        assert "next entry" in expect_damage(lonely + END)


def test_every_flipped_bit_of_a_header_is_noticed() -> None:
    """W-12: the checksum of a header covers every bit; one that turns into another valid form changes nothing."""
    whole = long_name(b"n" * 150) + file(b"n" * 100, b"content") + header(b"dir/", kind=b"5") + END
    expected = read(whole)
    for position in [*range(BLOCK), *range(2 * BLOCK, 3 * BLOCK), *range(4 * BLOCK, 5 * BLOCK)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        try:
            assert read(bytes(damaged)) == expected
            assert 148 <= position % BLOCK < 156  # only how the checksum itself is written may vary
        except Damaged:
            pass


def test_gnu_long_names_and_links() -> None:
    archive = (
        long_name(b"link/" + b"l" * 300)
        + long_name(b"target/" + b"t" * 1000, b"K")
        + header(b"link/lll", kind=b"2", link=b"target/ttt")
        + header(b"after")
        + END
    )
    found = read(archive)
    assert found[b"link/" + b"l" * 300].target == b"target/" + b"t" * 1000
    assert list(found) == [b"link/" + b"l" * 300, b"after"]


def test_pax_overrides() -> None:
    """Path, link, size and time of a pax header win, for one entry, over global ones and the header's own."""
    archive = (
        pax({b"path": b"of all", b"mtime": b"77", b"comment": b"x"}, b"g")
        + file(b"short", b"")
        + pax({b"path": b"p\xff" * 200, b"mtime": b"-1.25", b"size": b"700", b"uid": b"x", b"SCHILY.xattr.a": b"\n="})
        + header(b"other")
        + padded(b"z" * 700)
        + pax({b"linkpath": b"t" * 200, b"path": b"link", b"mtime": b"12.3456789876"}, b"X")
        + header(b"x", kind=b"2", link=b"no")
        + END
    )
    found = read(archive)
    assert list(found) == [b"of all", b"p\xff" * 200, b"link"]
    assert found[b"of all"].mtime_ns == 77 * 10**9
    assert found[b"p\xff" * 200].data == b"z" * 700
    assert found[b"p\xff" * 200].mtime_ns == -1_250_000_000
    assert found[b"link"].target == b"t" * 200
    assert found[b"link"].mtime_ns == 12_345_678_987


@pytest.mark.parametrize(
    "records",
    [
        b"5 a=b\n",
        b"7 a=b\n",
        b"x a=b\n",
        b"a=b\n",
        b"6 a=b ",
        b"6 aab\n",
        b"999999999999 a=b\n",
        b"0 \n",
        b"-6 a=b\n",
        b"11 size=-1\n",
        b"28 size=99999999999999999999\n",
        b"11 mtime=x\n",
    ],
)
def test_garbled_pax_headers_are_damage(records: bytes) -> None:
    assert "damaged" in expect_damage(file(b"pax", records, kind=b"x") + header(b"x") + END)


def test_metadata_is_bounded() -> None:
    """A name of 4 GiB is not read into memory."""
    expect_damage(header(b"././@LongLink", kind=b"L", size=b"40000000000\0") + END)


def test_hard_links_with_and_without_content() -> None:
    """A hard link's size may be that of the file it names, or of content that follows: look what is there."""
    without = header(b"link", kind=b"1", link=b"a", size=b"00000000007\0")
    with_content = file(b"link", b"content", kind=b"1", link=b"a")
    for archive in (
        file(b"a", b"content") + without + file(b"b", b"x") + END,
        file(b"a", b"content") + without + END,
        file(b"a", b"content") + with_content + file(b"b", b"x") + END,
        file(b"a", b"content") + with_content + END,
    ):
        found = read(archive)
        assert found[b"link"].kind == EntryKind.HARDLINK and found[b"link"].target == b"a"
        assert (b"b" in found) == (len(archive) > 6 * BLOCK) or found[b"a"].data == b"content"


def test_devices_and_unknown_kinds_are_refused_by_name() -> None:
    archive = (
        header(b"tty", kind=b"3")
        + header(b"disk", kind=b"4")
        + header(b"pipe", kind=b"6")
        + file(b"odd", b"some data", kind=b"Q")
        + header(b"label", kind=b"V")
        + file(b"dump/", b"Yfile\0\0", kind=b"D")
        + file(b"contiguous", b"data", kind=b"7")
        + END
    )
    reader = open_tar(archive)
    assert [(one.entry.path, one.entry.kind) for one in reader] == [(b"dump/", "directory"), (b"contiguous", "file")]
    assert reader.refusals.counts == {Refusal.SPECIAL: 3, Refusal.KIND: 1}
    assert "tty, disk, pipe" in "\n".join(reader.refusals.sentences())
    with pytest.raises(Unsupported, match="several volumes"):
        read(header(b"part", kind=b"M") + END)


def gnu_sparse(segments: list[tuple[int, bytes]], size: int) -> bytes:
    """The old GNU form: four segments in the header, more behind it."""
    fields = [b"%011o\0%011o\0" % (offset, len(data)) for offset, data in segments]
    first, rest = fields[:4], fields[4:]
    tail = b"".join(first).ljust(96, b"\0") + (b"\1" if rest else b"\0") + b"%011o\0" % size
    stored = b"".join(data for _, data in segments)
    blocks = header(b"sparse", kind=b"S", size=b"%011o\0" % len(stored), magic=b"ustar  \0", sparse=tail)
    while rest:
        blocks += b"".join(rest[:21]).ljust(504, b"\0") + (b"\1" if rest[21:] else b"\0") + bytes(7)
        rest = rest[21:]
    return blocks + padded(stored)


def pax_sparse(segments: list[tuple[int, bytes]], size: int, version: str) -> bytes:
    """The three pax forms."""
    stored = b"".join(data for _, data in segments)
    pairs = [(offset, len(data)) for offset, data in segments]
    if version == "1.0":
        lines = [len(pairs), *(number for pair in pairs for number in pair)]
        lead = padded(b"".join(b"%d\n" % number for number in lines))
        records = [(b"major", b"1"), (b"minor", b"0"), (b"name", b"sparse"), (b"realsize", b"%d" % size)]
        stored = lead + stored
    else:
        records = [(b"size", b"%d" % size), (b"numblocks", b"%d" % len(pairs)), (b"name", b"sparse")]
        if version == "0.0":
            for offset, length in pairs:
                records += [(b"offset", b"%d" % offset), (b"numbytes", b"%d" % length)]
        else:
            records.append((b"map", b",".join(b"%d,%d" % pair for pair in pairs)))
    return pax([(b"GNU.sparse." + key, value) for key, value in records]) + file(b"GNUSparseFile/sparse", stored)


FORMS: dict[str, Callable[[list[tuple[int, bytes]], int], bytes]] = {
    "gnu": gnu_sparse,
    "pax 0.0": lambda segments, size: pax_sparse(segments, size, "0.0"),
    "pax 0.1": lambda segments, size: pax_sparse(segments, size, "0.1"),
    "pax 1.0": lambda segments, size: pax_sparse(segments, size, "1.0"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 60])
def test_sparse_files_are_spread_out(form: str, count: int) -> None:
    """All forms of GNU tar's sparse files come out with their holes as zeros."""
    segments = [(number * 10_000 + 5, bytes([number + 1]) * 700) for number in range(count)]
    size = count * 10_000 + 123_456
    expected = bytearray(size)
    for offset, data in segments:
        expected[offset : offset + len(data)] = data
    if not segments and form == "pax 0.0":
        return  # has no way to say that
    found = read(FORMS[form](segments, size) + file(b"next", b"after") + END)
    assert found[b"sparse"].size == size
    assert found[b"sparse"].data == expected
    assert found[b"next"].data == b"after"


@pytest.mark.parametrize("form", FORMS)
def test_contradicting_sparse_maps_are_refused_and_the_rest_is_read(form: str) -> None:
    """A map that overlaps, runs backwards, leaves the file or does not fit the stored bytes."""
    for segments, size in (
        ([(0, b"a" * 600), (100, b"b" * 600)], 10_000),
        ([(5000, b"a" * 600), (0, b"b" * 600)], 10_000),
        ([(9_900, b"a" * 600)], 10_000),
    ):
        reader = open_tar(FORMS[form](segments, size) + file(b"next", b"after") + END)
        assert [one.entry.path for one in reader] == [b"next"]
        assert reader.refusals.counts == {Refusal.SPARSE: 1}


def test_sparse_maps_of_absurd_length_are_bounded() -> None:
    """A sparse map of 1.0 that never ends, and one of the old form, cost bounded memory."""
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"10"}
    archive = pax(records) + file(b"x", b"99999999999999\n" + b"1\n" * 5000) + END
    reader = open_tar(archive)
    assert list(reader) == []
    assert reader.refusals.counts == {Refusal.SPARSE: 1}
    endless = header(b"x", kind=b"S", sparse=bytes(96) + b"\1") + (bytes(504) + b"\1" + bytes(7)) * 70_000
    expect_damage(endless)


def test_unread_content_is_skipped_and_offsets_are_exact() -> None:
    """Content may be left alone or half read; the next entry is found all the same."""
    data = [bytes([number]) * (number * 700) for number in range(20)]
    archive = b"".join(file(b"%d" % number, one) for number, one in enumerate(data)) + END
    reader = open_tar(archive)
    for number, item in enumerate(reader):
        assert item.content is not None
        assert archive[reader.content_offset :].startswith(data[number])
        if number % 3 == 1:
            assert item.content.read(10) == data[number][:10]
    assert number == 19


def test_a_million_entries_are_no_list() -> None:
    """P6: the reader keeps nothing of what it gave out."""
    block = header(b"entry")
    repeated = io.BytesIO()

    class Endless(io.RawIOBase):
        left = 200_000

        def read(self, size: int | None = -1, /) -> bytes:
            many = min(2000, self.left)
            self.left -= many
            return block * many

    reader = TarReader(open_decoder(Endless(), Compression.NONE, threads=1, work=Unwatched()))
    count = 0
    with pytest.raises(Damaged, match="end of the archive is missing"):
        for _ in reader:
            count += 1
    assert count == 200_000
    assert repeated.getvalue() == b""


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000))
@example(b"\0" * 511)
def test_random_bytes_give_our_errors_only(data: bytes) -> None:
    """Whatever the bytes, the reader ends with one of our errors or an honest archive."""
    with contextlib.suppress(WingsError):
        read(data)


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.binary(max_size=8),
        "size": st.one_of(st.binary(max_size=12), st.integers(0, 5000).map(lambda one: b"%011o\0" % one)),
        "mtime": st.binary(max_size=12),
        "kind": st.sampled_from([bytes([one]) for one in b"\x000123456789LKxXgSDVMNA"]),
        "link": st.binary(max_size=100),
        "magic": st.sampled_from([b"ustar\x0000", b"ustar  \0", b""]),
        "prefix": st.binary(max_size=155),
        "sparse": st.binary(max_size=126),
    },
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=100), _FIELDS, st.binary(max_size=1500)), max_size=4))
def test_headers_with_right_checksums_and_wild_fields(entries: list[tuple[bytes, dict[str, bytes], bytes]]) -> None:
    """Random fields behind a right checksum: our errors or entries, never a crash, a hang or another error."""
    archive = b"".join(header(name, **fields) + padded(data) for name, fields, data in entries) + END
    with contextlib.suppress(WingsError):
        read(archive)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(min_size=1, max_size=100).filter(lambda name: b"\0" not in name),
    st.integers(0, 0o7777),
    st.integers(0, 8**11 - 1),
    st.integers(-(10**9), 2**40),
    st.sampled_from([b"0", b"5", b"2", b"1", b"\0"]),
    st.binary(max_size=100).filter(lambda name: b"\0" not in name),
)
def test_headers_mean_what_tarfile_takes_them_for(
    name: bytes, mode: int, size: int, mtime: int, kind: bytes, link: bytes
) -> None:
    """Our parser and Python's agree on every header that Python writes."""
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.mode, info.size, info.mtime, info.type = mode, size, mtime, kind
    info.linkname = link.decode("utf-8", "surrogateescape")
    block = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    if len(block) != BLOCK:
        return  # an extra header for a name or link that became longer
    theirs = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    ours = parse_header(block)
    assert ours.mode == theirs.mode == mode
    assert ours.size == theirs.size
    assert ours.mtime_ns == theirs.mtime * 10**9
    assert ours.link == theirs.linkname.encode("utf-8", "surrogateescape")
    if not (theirs.isdir() and theirs.name != ours.name.decode("utf-8", "surrogateescape")):
        assert ours.name.rstrip(b"/") == theirs.name.encode("utf-8", "surrogateescape").rstrip(b"/")


def test_random_damage_of_a_real_archive() -> None:
    """W-12: bytes overwritten anywhere give our errors or the same number of entries."""
    chance = random.Random(4)
    archive = b"".join(file(b"file %d" % number, chance.randbytes(number * 50)) for number in range(40)) + END
    for _ in range(200):
        damaged = bytearray(archive)
        at = chance.randrange(len(archive))
        damaged[at : at + 30] = chance.randbytes(min(30, len(archive) - at))
        with contextlib.suppress(WingsError):
            assert len(read(bytes(damaged))) == 40
