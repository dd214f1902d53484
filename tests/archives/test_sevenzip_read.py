"""Reading 7z of every writer: kinds, names, methods, and damage (W-12, W-57)."""

import contextlib
import io
import random
import stat
import struct
import subprocess
import zlib
from pathlib import Path

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archives.crafted import Member, bits, make_7z, number, seven_zip
from tests.archives.listed import Counted
from tests.archives.reading import Found, everything
from tests.trees import differences, snapshot
from wings.archives.formats import ArchiveFormat
from wings.archives.refusals import Refusal
from wings.archives.sevenzip_read import SevenZipReader
from wings.archives.work import Unwatched
from wings.errors import Cancelled, Damaged, Unsupported, WingsError

DATA = b"some content, some content, some content" * 50
DIRECTORY = stat.S_IFDIR | 0o750


def read(archive: bytes) -> dict[bytes, Found]:
    return everything(archive, ArchiveFormat.SEVEN_ZIP)


def open_7z(archive: bytes) -> SevenZipReader:
    return SevenZipReader(io.BytesIO(archive), Unwatched())


def expect_damage(archive: bytes) -> str:
    with pytest.raises(Damaged) as caught:
        read(archive)
    return str(caught.value)


def test_kinds_modes_and_empty_things() -> None:
    found = read(
        make_7z(
            Member("dir", mode=DIRECTORY),
            Member("dir/file", DATA, stat.S_IFREG | 0o4755),
            Member("dir/empty"),
            Member("link", b"../some target \xff", stat.S_IFLNK | 0o777),
            Member("no mode", b"x", 0),
            Member("empty without mode", b"", 0),
        )
    )
    assert {path: (one.kind, one.mode, one.data or one.target) for path, one in found.items()} == {
        b"dir": ("directory", 0o750, b""),
        b"dir/file": ("file", 0o4755, DATA),
        b"dir/empty": ("file", 0o644, b""),
        b"link": ("symlink", 0o777, b"../some target \xff"),
        b"no mode": ("file", 0o644, b"x"),
        b"empty without mode": ("file", 0o644, b""),
    }


def test_anti_directories_are_directories() -> None:
    """W-57: the reference marks directories as "anti" items, so that 7-Zip does not create them; we do."""
    found = read(make_7z(Member("anti", mode=DIRECTORY), Member("file", b"x"), anti=True))
    assert found[b"anti"].kind == "directory"


def test_specials_and_impossible_links_are_refused() -> None:
    archive = make_7z(
        Member("pipe", b"x", stat.S_IFIFO | 0o600),
        Member("device", b"x", stat.S_IFBLK | 0o600),
        Member("long link", b"x" * 5000, stat.S_IFLNK | 0o777),
        Member("empty link", b"", stat.S_IFLNK | 0o777),
        Member("file", b"content"),
    )
    reader = open_7z(archive)
    items = [(one.entry.path, one.content.read(100) if one.content else b"") for one in reader]
    assert items == [(b"file", b"content")]
    assert reader.refusals.counts == {Refusal.SPECIAL: 2, Refusal.LINK: 2}


def test_names() -> None:
    """Backslashes stay; what 7-Zip escapes because it is no UTF-8 comes back as the bytes it was."""
    names = {
        "back\\slash": b"back\\slash",
        "Müll 🎮": "Müll 🎮".encode(),
        "latin \uefe9": b"latin \xe9",
        "\uef80\uefff": b"\x80\xff",
        "private \ue000\uf05c": "private \ue000\uf05c".encode(),
        "lone \ud800": b"lone \xed\xa0\x80",
    }
    assert list(read(make_7z(*(Member(name, b"x") for name in names)))) == list(names.values())


def test_unread_and_half_read_contents_are_skipped() -> None:
    archive = make_7z(*(Member(f"f{one}", bytes([one]) * 1000) for one in range(1, 30)))
    seen = []
    for at, item in enumerate(open_7z(archive)):
        assert item.content is not None
        if at % 3 == 0:
            assert item.content.read(10) == bytes([at + 1]) * 10
        elif at % 3 == 1:
            assert item.content.read(5000) == bytes([at + 1]) * 1000
        seen.append(item.entry.path)
    assert len(seen) == 29


def test_wrong_checksums_are_damage() -> None:
    """W-12: of a content, of the header, of the start."""
    archive = make_7z(Member("a", DATA), Member("b", b"other"))
    for position, message in ((40, "checksum"), (len(archive) - 10, "header"), (20, "start"), (2, "start")):
        damaged = bytearray(archive)
        damaged[position] ^= 4
        assert message in expect_damage(bytes(damaged))


def test_truncation_is_damage() -> None:
    """W-12: the header stands at the end; without it nothing is left."""
    archive = make_7z(Member("a", DATA), Member("b", b"other"))
    for cut in (0, 1, 31, 32, 100, len(archive) - 30, len(archive) - 1):
        expect_damage(archive[:cut])


def test_an_archive_of_nothing() -> None:
    assert read(seven_zip(b"", b"")) == {}
    assert read(make_7z()) == {}


def test_every_flipped_bit_is_noticed() -> None:
    """W-12: every byte of a 7z archive of 7-Zip's form is covered by a checksum."""
    archive = make_7z(Member("a", DATA), Member("dir", mode=DIRECTORY), Member("c", b"x"))
    for position in range(len(archive)):
        if position in (6, 7):
            continue  # the version of the writer
        damaged = bytearray(archive)
        damaged[position] ^= 1 << position % 8
        expect_damage(bytes(damaged))


def test_headers_that_lie_are_damage() -> None:
    """Counts, sizes and positions that cannot be, with right checksums around them."""
    names = b"\x11" + number(7) + b"\0" + "ab\0".encode("utf-16-le")

    def files(count: int, properties: bytes) -> bytes:
        return b"\x05" + number(count) + properties + b"\0"

    streams = b"\x04\x06" + number(0) + number(1) + b"\x09" + number(4) + b"\0"
    copy = b"\x07\x0b" + number(1) + b"\0" + number(1) + b"\x01\x00"
    many_coders = copy.replace(b"\x01\x01\x00", number(33) + b"\x01\x00" * 33)
    size = b"\x0c" + number(4) + b"\0\0"
    for header in (
        b"\x01" + files(1, names) + b"\0",  # a file with content, but there is none
        b"\x01" + files(1 << 40, names) + b"\0",
        b"\x01" + files(2, names) + b"\0",
        b"\x01" + files(0, names) + b"\0",
        b"\x01" + files(1, b"") + b"\0",
        b"\x01" + files(1, b"\x0e" + number(1) + b"\x80" + b"\x11" + number(1 << 60)) + b"\0",
        b"\x01" + files(1, b"\x0e" + number(1) + b"\x80" + names),  # no end
        b"\x01" + streams + copy + size + b"\0",  # a content without a file
        b"\x01" + streams + copy + size + files(1, b"\x0e" + number(1) + b"\x80" + names) + b"\0",
        b"\x01" + streams.replace(number(4) + b"\0", number(99) + b"\0") + copy + size + files(1, names) + b"\0",
        b"\x01" + streams + copy.replace(b"\x01\x01\x00", b"\x00") + size + files(1, names) + b"\0",
        b"\x01" + streams + many_coders + size + files(1, names) + b"\0",
        b"\x01" + streams + b"\x07\x0b" + number(1 << 50) + b"\0",
        b"\x17" + streams[1:] + copy + b"\x0c" + number(1 << 50) + b"\0\0",
        b"\x02\x01",
        b"\x33",
    ):
        expect_damage(seven_zip(b"pack", header))
    good = b"\x01" + streams + copy + size + files(1, names) + b"\0"
    assert read(seven_zip(b"pack", good))[b"ab"].data == b"pack"


def with_coders(coders: bytes, packed: bytes = b"pack", size: int = 4) -> bytes:
    """A folder with any coders around one file."""
    return seven_zip(
        packed,
        b"\x01\x04\x06" + number(0) + number(1) + b"\x09" + number(len(packed)) + b"\0"
        b"\x07\x0b" + number(1) + b"\0" + coders + b"\x0c" + number(size) + b"\0\0"
        b"\x05" + number(1) + b"\x11" + number(7) + b"\0" + "ab\0".encode("utf-16-le") + b"\0\0",
    )


@pytest.mark.parametrize(
    ("coders", "message"),
    [
        (b"\x01\x24\x06\xf1\x07\x01\x01\x00", "encrypted"),
        (b"\x01\x03\x03\x04\x01", "PPMd"),
        (b"\x01\x04\x04\xf7\x11\x02", "Brotli"),
        (b"\x01\x02\x77\x77", "7777"),
        (b"\x01\x14\x03\x03\x01\x1b\x04\x01\0\0\0\0", "several streams"),
        (b"\x01\x21\x21\x01\x28", "dictionary of 4095 MiB"),
        (b"\x01\x23\x03\x01\x01\x05\x5d\xff\xff\xff\xff", "dictionary of 4095 MiB"),
    ],
)
def test_what_cannot_be_read_is_told(coders: bytes, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        read(with_coders(coders))


@pytest.mark.parametrize(
    "coders", [b"\x01\x21\x21\x01\x18", b"\x01\x03\x04\x01\x08", b"\x01\x03\x04\x02\x02", b"\x01\x04\x04\xf7\x11\x01"]
)
def test_garbage_for_every_decoder_is_damage(coders: bytes) -> None:
    """W-12: contents without a checksum, and bytes that no decoder made."""
    chance = random.Random(6)
    for _ in range(20):
        expect_damage(with_coders(coders, chance.randbytes(50), 1000))


def test_sizes_that_lie_are_damage() -> None:
    packed = zlib.compress(DATA)[2:-4]
    assert read(with_coders(b"\x01\x03\x04\x01\x08", packed, len(DATA)))[b"ab"].data == DATA
    for size in (len(DATA) + 1, 1 << 40):
        expect_damage(with_coders(b"\x01\x03\x04\x01\x08", packed, size))


def test_a_bomb_comes_out_piece_by_piece() -> None:
    """P6: no decoder gives more than a bounded piece at once."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=[{"id": py7zr.FILTER_DEFLATE}]) as writer:
        writer.writestr(bytes(40_000_000), "zeros")
    reader = open_7z(out.getvalue())
    total = 0
    for item in reader:
        assert item.content is not None
        while part := item.content.read(1 << 30):
            assert len(part) <= 1 << 20
            total += len(part)
    assert total == reader.content_bytes == 40_000_000


def test_progress_and_cancelling() -> None:
    """Backup-drivers §12: unpacked bytes count; P7."""
    archive = make_7z(Member("a", bytes(3_000_000)), Member("b", DATA))
    work = Counted()
    for item in SevenZipReader(io.BytesIO(archive), work):
        while item.content is not None and item.content.read(1 << 20):
            pass
    assert work.bytes == 3_000_000 + len(DATA)
    work = Counted(limit=1_000_000)
    with pytest.raises(Cancelled):
        for item in SevenZipReader(io.BytesIO(archive), work):
            while item.content is not None and item.content.read(1 << 20):
                pass


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_random_headers_give_our_errors_only(header: bytes, packed: bytes) -> None:
    """Anything behind right checksums: our errors or entries."""
    for start in (b"", b"\x01", b"\x17", b"\x01\x04", b"\x01\x05", b"\x01\x05" + number(1)):
        with contextlib.suppress(WingsError):
            read(seven_zip(packed, start + header))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8))
def test_a_changed_header_gives_our_errors_only(position: int, change: bytes) -> None:
    """A real header with some bytes changed and its checksums made right again."""
    archive = make_7z(Member("dir", mode=DIRECTORY), Member("a", DATA), Member("b", b"x"), Member("l", b"t", 0o120777))
    offset, size = struct.unpack_from("<QQ", archive, 12)
    packed, header = archive[32 : 32 + offset], bytearray(archive[32 + offset :])
    assert len(header) == size
    header[position % size : position % size + len(change)] = change
    with contextlib.suppress(WingsError):
        read(seven_zip(packed, bytes(header)))


def test_bit_vectors_are_as_the_format_has_them() -> None:
    """The builder of these tests itself: highest bit first."""
    assert bits([True, False, False, False, False, False, False, True, True]) == b"\x81\x80"


@pytest.mark.parametrize("solid", ["on", "off"])
@pytest.mark.parametrize(
    "method", ["LZMA2", "LZMA", "Copy", "Deflate", "Deflate64", "BZip2", "LZMA -mf=BCJ", "LZMA2 -mf=Delta:4"]
)
@pytest.mark.peer("7zz")
def test_methods_of_7zip(method: str, solid: str, tmp_path: Path) -> None:
    """What the real 7-Zip makes with every method we claim, solid or not, filters for code included."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "text").write_bytes(DATA * 500)
    (tree / "code").write_bytes(b"\xe8\x01\x02\x03\x00" * 20_000 + random.Random(7).randbytes(50_001))
    (tree / "empty").touch()
    (tree / "hollow").mkdir()
    (tree / "link").symlink_to("sub/text")
    command = f"7zz a -bd -snl -mx=1 -ms={solid} -m0={method} {tmp_path / 'a.7z'} ."
    subprocess.run(command.split(), cwd=tree, check=True, stdout=subprocess.DEVNULL)
    found = read((tmp_path / "a.7z").read_bytes())
    assert found[b"sub/text"].data == DATA * 500
    assert found[b"code"].data == (tree / "code").read_bytes()
    assert found[b"empty"].data == b""
    assert found[b"hollow"].kind == "directory"
    assert found[b"link"].target == b"sub/text"
    assert found[b"code"].mtime_ns // 10**6 == (tree / "code").stat().st_mtime_ns // 10**6


@pytest.mark.peer("7zz")
def test_bcj2_of_7zip_is_told(tmp_path: Path) -> None:
    (tmp_path / "code").write_bytes(b"\xe8\x01\x02\x03\x00" * 20_000)
    command = f"7zz a -bd -mf=BCJ2 {tmp_path / 'a.7z'} code"
    subprocess.run(command.split(), cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(Unsupported, match="BCJ2"):
        read((tmp_path / "a.7z").read_bytes())


@pytest.mark.peer("7zz")
def test_many_folders(tmp_path: Path) -> None:
    """W-57: one block per file, as the reference writes, and more of them than py7zr reads."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for one in range(2000):
        (tree / f"{one:05}").write_bytes(b"%d" % one)
    command = f"7zz a -bd -mx=1 -ms=off {tmp_path / 'a.7z'} ."
    subprocess.run(command.split(), cwd=tree, check=True, stdout=subprocess.DEVNULL)
    found = read((tmp_path / "a.7z").read_bytes())
    assert {path: one.data for path, one in found.items()} == {b"%05d" % one: b"%d" % one for one in range(2000)}


def test_archives_of_py7zr(tmp_path: Path) -> None:
    """The library that other programs use, with links and directories."""
    tree = tmp_path / "tree"
    (tree / "sub" / "hollow").mkdir(parents=True)
    (tree / "sub" / "text").write_bytes(DATA)
    (tree / "link").symlink_to("sub/text")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as writer:
        writer.writeall(tree, "")
    found = read((tmp_path / "a.7z").read_bytes())
    assert found[b"sub/text"].data == DATA
    assert found[b"link"].target == b"sub/text"
    assert found[b"sub/hollow"].kind == "directory"
    assert differences(snapshot(tree), snapshot(tree)) == []
