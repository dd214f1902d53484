"""Reading zip: names, kinds, times and methods of every writer, and lies about sizes (W-55, W-57)."""

import bz2
import contextlib
import io
import lzma
import random
import stat
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archives.listed import Counted
from tests.archives.reading import Found, everything
from wings.archives.formats import ArchiveFormat
from wings.archives.refusals import Refusal
from wings.archives.work import Unwatched
from wings.archives.zip_read import ZipReader
from wings.errors import Cancelled, Damaged, Unsupported, WingsError

DATA = b"some content, some content, some content" * 50


def read(archive: bytes) -> dict[bytes, Found]:
    return everything(archive, ArchiveFormat.ZIP)


def make(*entries: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as writer:
        for info, data in entries:
            known = zipfile.ZipInfo(info) if isinstance(info, str) else info
            known.compress_type = method
            writer.writestr(known, data)
    return out.getvalue()


def unix(name: str, mode: int, **facts: object) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2))
    info.create_system = 3
    info.external_attr = mode << 16
    for key, value in facts.items():
        setattr(info, key, value)
    return info


def expect_damage(archive: bytes) -> str:
    with pytest.raises(Damaged) as caught:
        read(archive)
    return str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_zipfile(method: int) -> None:
    found = read(make(("a", DATA), ("empty", b""), ("b", b"x"), method=method))
    assert {path: one.data for path, one in found.items()} == {b"a": DATA, b"empty": b"", b"b": b"x"}


def other_method(method: int, packed: bytes) -> bytes:
    """An archive whose single entry claims another method and holds what is given."""
    archive = bytearray(make(("a", packed), method=zipfile.ZIP_STORED))
    directory = archive.find(b"PK\1\2")
    for header, at in ((0, 8), (directory, 10)):
        struct.pack_into("<H", archive, header + at, method)
        struct.pack_into("<I", archive, header + at + 6, zlib.crc32(DATA))
        struct.pack_into("<I", archive, header + at + 14, len(DATA))
    return bytes(archive)


@pytest.mark.parametrize(
    ("method", "pack"),
    [(93, zstandard.ZstdCompressor().compress), (95, lzma.compress), (12, bz2.compress)],
)
def test_methods_of_newer_writers(method: int, pack: Callable[[bytes], bytes]) -> None:
    """Zstd and xz inside zip, as the reference and newer tools write them."""
    assert read(other_method(method, pack(DATA)))[b"a"].data == DATA


def test_deflate64() -> None:
    """What Windows makes of files over 2 GiB."""
    from inflate64 import Deflater

    deflater = Deflater()
    packed = deflater.deflate(DATA) + deflater.flush()
    assert read(other_method(9, packed))[b"a"].data == DATA
    expect_damage(other_method(9, packed[:-3]))


def test_unknown_methods_and_encryption_are_told() -> None:
    with pytest.raises(Unsupported, match="method 97"):
        read(other_method(97, b"x"))
    archive = bytearray(make(("secret", b"x")))
    archive[archive.find(b"PK\1\2") + 8] |= 1
    with pytest.raises(Unsupported, match=r"encrypted.*secret"):
        read(bytes(archive))


def test_kinds_and_modes() -> None:
    """Directories by name, by mode or by DOS attribute; modes where a Unix made the entry."""
    dos_directory = zipfile.ZipInfo("dos directory")
    dos_directory.create_system, dos_directory.external_attr = 0, 0x10
    from_dos = zipfile.ZipInfo("from dos")
    from_dos.create_system, from_dos.external_attr = 0, 0x20
    found = read(
        make(
            (unix("dir/", stat.S_IFDIR | 0o1750), b""),
            (dos_directory, b""),
            (from_dos, b"x"),
            (unix("setuid", stat.S_IFREG | 0o4755), b"x"),
            (unix("no format", 0o600), b"x"),
            (unix("link", stat.S_IFLNK | 0o777), b"some/../target \xff"),
            method=zipfile.ZIP_STORED,
        )
    )
    assert {path: (one.kind, one.mode, one.target) for path, one in found.items()} == {
        b"dir/": ("directory", 0o1750, b""),
        b"dos directory": ("directory", 0o755, b""),
        b"from dos": ("file", 0o644, b""),
        b"setuid": ("file", 0o4755, b""),
        b"no format": ("file", 0o600, b""),
        b"link": ("symlink", 0o777, b"some/../target \xff"),
    }


def test_specials_and_impossible_links_are_refused() -> None:
    archive = make(
        (unix("pipe", stat.S_IFIFO | 0o600), b""),
        (unix("device", stat.S_IFCHR | 0o600), b""),
        (unix("empty link", stat.S_IFLNK | 0o777), b""),
        (unix("long link", stat.S_IFLNK | 0o777), b"x" * 5000),
        ("file", b"x"),
    )
    reader = ZipReader(io.BytesIO(archive), Unwatched())
    assert [one.entry.path for one in reader] == [b"file"]
    assert reader.refusals.counts == {Refusal.SPECIAL: 2, Refusal.LINK: 2}


def test_times() -> None:
    """W-57: NTFS times, extended timestamps, DOS times as UTC, and DOS times that are none."""
    year_1960, year_2050 = -315_619_200, 2_524_608_000
    ntfs = struct.pack("<HHIHHQQQ", 0x0A, 32, 0, 1, 24, 116_444_736_000_000_000 + 12_345_678, 0, 0)
    late = struct.pack("<HHBI", 0x5455, 5, 1, year_2050)
    found = read(
        make(
            (unix("dos", 0o644), b""),
            (unix("ntfs", 0o644, extra=struct.pack("<HHBi", 0x5455, 5, 1, 7) + ntfs), b""),
            (unix("extended", 0o644, extra=struct.pack("<HHBi", 0x5455, 5, 1, year_1960)), b""),
            (unix("late", 0o644, extra=late, date_time=(2050, 1, 1, 0, 0, 0)), b""),
            (unix("no day", 0o644, date_time=(1980, 0, 0, 0, 0, 0)), b""),
            (unix("access only", 0o644, extra=struct.pack("<HHBi", 0x5455, 5, 2, 7)), b""),
        )
    )
    assert {path: one.mtime_ns for path, one in found.items()} == {
        b"dos": 1_580_608_922 * 10**9,
        b"ntfs": 1_234_567_800,
        b"extended": year_1960 * 10**9,
        b"late": year_2050 * 10**9,
        b"no day": 315_532_800 * 10**9,
        b"access only": 1_580_608_922 * 10**9,
    }


def raw_named(name: bytes, extra: bytes = b"", utf8: bool = False, system: int = 0) -> bytes:
    """An archive with one entry of exactly these bytes as its name."""
    info = zipfile.ZipInfo("N" * len(name))
    info.create_system = system
    info.extra = extra
    archive = bytearray(make((info, b"x")).replace(b"N" * len(name), name))
    if utf8:
        archive[7] |= 8
        archive[archive.find(b"PK\1\2") + 9] |= 8
    return bytes(archive)


def test_names() -> None:
    """UTF-8 with and without being called so, Info-ZIP's Unicode field, code page 437, backslashes, NUL."""
    unicode_field = struct.pack("<HHBI", 0x7075, 9, 1, zlib.crc32(b"M\x81ll")) + "Mü".encode() + b"!"
    stale_field = struct.pack("<HHBI", 0x7075, 9, 1, zlib.crc32(b"other")) + b"Moo!"
    assert list(read(raw_named("Müll".encode(), utf8=True))) == ["Müll".encode()]
    assert list(read(raw_named("Müll".encode()))) == ["Müll".encode()]
    assert list(read(raw_named(b"M\x81ll"))) == ["Müll".encode()]
    assert list(read(raw_named(b"M\x81ll", unicode_field))) == ["Mü!".encode()]
    assert list(read(raw_named(b"M\x81ll", stale_field))) == ["Müll".encode()]
    assert list(read(raw_named(b"back\\slash"))) == [b"back\\slash"]
    assert list(read(raw_named(b"nul\0inside"))) == [b"nul\0inside"]
    assert list(read(raw_named(b"not utf-8 \xff", system=3))) == [b"not utf-8 \xff"]
    assert list(read(raw_named(b"not utf-8 \xff", utf8=True))) == [b"not utf-8 \xff"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("claimed", [0, 1, len(DATA) - 1, len(DATA) + 1, 10 * len(DATA), 0xFFFF_FFF0])
def test_lies_about_the_unpacked_size_are_damage(method: int, claimed: int) -> None:
    """More or less than announced, in both headers alike: never written as if it were right."""
    archive = bytearray(make(("a", DATA), ("b", b"y"), method=method))
    for header, at in ((0, 22), (archive.find(b"PK\1\2"), 24)):
        struct.pack_into("<I", archive, header + at, claimed)
    assert "damaged" in expect_damage(bytes(archive))


@pytest.mark.parametrize("change", [-1, 1, 1000, 1 << 30])
def test_lies_about_the_packed_size_are_damage(change: int) -> None:
    archive = bytearray(make(("a", DATA), ("b", b"y")))
    directory = archive.find(b"PK\1\2")
    packed = struct.unpack_from("<I", archive, 18)[0]
    for header, at in ((0, 18), (directory, 20)):
        struct.pack_into("<I", archive, header + at, packed + change)
    expect_damage(bytes(archive))


def test_wrong_checksums_are_damage() -> None:
    """W-12: the reference only logs a wrong checksum and keeps the file."""
    archive = bytearray(make(("a", DATA), method=zipfile.ZIP_STORED))
    archive[archive.find(DATA) + 5] ^= 1
    assert "checksum" in expect_damage(bytes(archive))


def test_headers_that_disagree_with_the_directory_are_damage() -> None:
    """What one program lists and another unpacks must be the same thing."""
    archive = make(("innocent", DATA))
    for at, value in ((30, b"I"), (8, b"\0"), (14, b"\0"), (0, b"Q")):
        changed = bytearray(archive)
        assert changed[at : at + 1] != value
        changed[at : at + 1] = value
        assert "disagree" in expect_damage(bytes(changed))


def test_overlapping_entries_are_damage() -> None:
    """Bombs that let thousands of entries share the same bytes."""
    archive = bytearray(make(("aaaa", DATA), ("bbbb", DATA)))
    first = archive.find(b"PK\1\2")
    second = archive.find(b"PK\1\2", first + 4)
    archive[second + 42 : second + 46] = archive[first + 42 : first + 46]
    assert "overlap" in expect_damage(bytes(archive))


def test_truncation_is_damage() -> None:
    """W-12: without its directory a zip is nothing."""
    archive = make(("a", DATA), ("b", DATA))
    for cut in (0, 1, 30, 100, len(archive) - 30, len(archive) - 1):
        expect_damage(archive[:cut])


def test_a_directory_that_lies_about_its_size_costs_no_memory() -> None:
    """A zip64 end record that announces an exabyte."""
    archive = make(("a", DATA))
    end = archive.rfind(b"PK\5\6")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 1 << 60, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    expect_damage(archive[:end] + record + locator + archive[end:])


def test_zip64_and_data_behind_and_before() -> None:
    """Zip64 fields though nothing is large (as the reference writes), a comment, and a stub in front."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as writer:
        with writer.open(zipfile.ZipInfo("a"), "w", force_zip64=True) as entry:
            entry.write(DATA)
        writer.comment = b"a comment"
    assert read(out.getvalue())[b"a"].data == DATA
    assert read(b"#!/bin/sh\nexit\n" + out.getvalue())[b"a"].data == DATA


def test_archives_written_to_a_pipe() -> None:
    """Sizes behind the data (streamed downloads, W-55)."""

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes, /) -> int:  # type: ignore[override]  # only ever given bytes
            self.data += data
            return len(data)

    out = Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("a", DATA)
        writer.writestr("b", b"")
    assert {path: one.data for path, one in read(out.data).items()} == {b"a": DATA, b"b": b""}


def test_flipped_bits_never_give_other_content() -> None:
    """W-12: a flipped bit is found, or touches only what the format does not protect (time and mode)."""
    archive = make(("a", DATA), ("dir/b", random.Random(5).randbytes(1000)), ("c", b""))
    expected = {path: (one.kind, one.data) for path, one in read(archive).items()}
    caught = 0
    for position in range(len(archive)):
        damaged = bytearray(archive)
        damaged[position] ^= 1 << position % 8
        try:
            found = {path: (one.kind, one.data) for path, one in read(bytes(damaged)).items()}
        except WingsError:
            caught += 1
            continue
        unprotected = {path: one for path, one in found.items() if one[0] == "file"}
        assert {**expected, **unprotected} == expected, position
    assert caught > len(archive) * 0.9


def test_progress_and_cancelling() -> None:
    """Backup-drivers §12: unpacked bytes count; P7: cancelling works in the middle of a file."""
    archive = make(("a", bytes(5_000_000)), ("b", DATA))
    work = Counted()
    with ZipReader(io.BytesIO(archive), work) as reader:
        assert reader.content_bytes == 5_000_000 + len(DATA)
        for item in reader:
            while item.content is not None and item.content.read(1 << 20):
                pass
    assert work.bytes == 5_000_000 + len(DATA)
    work = Counted(limit=1_000_000)
    with ZipReader(io.BytesIO(archive), work) as reader, pytest.raises(Cancelled):
        for item in reader:
            while item.content is not None and item.content.read(1 << 20):
                pass
    assert work.bytes < 2_000_000


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 60))
def test_random_bytes_give_our_errors_only(noise: bytes, at: int, cut: int) -> None:
    archive = bytearray(make(("a", DATA), (unix("link", stat.S_IFLNK | 0o777), b"target")))
    archive[at : at + cut] = noise
    for data in (noise, bytes(archive)):
        with contextlib.suppress(WingsError):
            read(data)


@pytest.mark.peer("zip")
def test_archives_of_info_zip(tmp_path: Path) -> None:
    """Links, modes, times and non-ASCII names of the program that Linux people use."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "ümläut").write_bytes(DATA)
    (tree / "sub" / "ümläut").chmod(0o750)
    (tree / "link").symlink_to("sub/ümläut")
    subprocess.run(["zip", "-qry", tmp_path / "a.zip", "."], cwd=tree, check=True)
    found = read((tmp_path / "a.zip").read_bytes())
    path = "sub/ümläut".encode()
    assert found[path].data == DATA
    assert found[path].mode == 0o750
    assert found[path].mtime_ns == int((tree / "sub" / "ümläut").stat().st_mtime) * 10**9
    assert found[b"link"].target == path
    assert found[b"sub/"].kind == "directory"
