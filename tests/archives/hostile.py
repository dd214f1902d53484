"""The escape corpus: archives made to write, chmod, link or fill something they must not (P8).

Each case builds an archive that attacks ``outside``, a directory beside the root into which it is extracted;
its path is given absolute and ends in ``outside``. What must come of it: ``refused`` entries at least, or an
error. Files named ``good`` in an archive must arrive all the same.
"""

import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.archives.crafted import END, Member, file, header, long_name, make_7z, make_zip, pax
from wings.archives.formats import ArchiveFormat

LINK = stat.S_IFLNK | 0o777
GOOD = file(b"good", b"good")

Build = Callable[[bytes], bytes]
"""Makes the archive that attacks this directory."""


@dataclass(frozen=True)
class Case:
    """One attack. ``fails``: the archive as a whole is no archive, so extracting must raise ``Damaged``."""

    name: str
    format: ArchiveFormat
    build: Build
    refused: int = 0
    fails: bool = False
    good: bool = True


def symlink(name: bytes, target: bytes) -> bytes:
    return (long_name(target, b"K") if len(target) > 100 else b"") + header(name, kind=b"2", link=target[:100])


def hard_link(name: bytes, target: bytes) -> bytes:
    return (long_name(target, b"K") if len(target) > 100 else b"") + header(name, kind=b"1", link=target[:100])


def directory(name: bytes, mode: bytes = b"0000777\0") -> bytes:
    return header(name, kind=b"5", mode=mode)


def named(name: bytes, data: bytes = b"evil") -> bytes:
    return (long_name(name) if len(name) > 100 else b"") + file(name[:100], data)


def tar(name: str, *entries: bytes | Build, refused: int = 0, fails: bool = False, good: bool = True) -> Case:
    """A tar of these entries, with a good one in front and one behind."""

    def build(outside: bytes) -> bytes:
        middle = b"".join(one if isinstance(one, bytes) else one(outside) for one in entries)
        return file(b"first good", b"good") + middle + GOOD + END

    return Case(f"tar: {name}", ArchiveFormat.TAR, build, refused, fails, good and not fails)


def zipped(name: str, *members: Member | Callable[[str], Member], refused: int = 0, fails: bool = False) -> Case:
    def build(outside: bytes) -> bytes:
        found = [one if isinstance(one, Member) else one(os.fsdecode(outside)) for one in members]
        return make_zip(*found, Member("good", b"good"))

    return Case(f"zip: {name}", ArchiveFormat.ZIP, build, refused, fails, not fails)


def seven(name: str, *members: Member | Callable[[str], Member], refused: int = 0) -> Case:
    def build(outside: bytes) -> bytes:
        found = [one if isinstance(one, Member) else one(os.fsdecode(outside)) for one in members]
        return make_7z(*found, Member("good", b"good"))

    return Case(f"7z: {name}", ArchiveFormat.SEVEN_ZIP, build, refused)


_TAR = [
    tar("absolute path", lambda outside: named(outside + b"/evil")),
    tar("absolute path with many slashes", lambda outside: named(b"//" + outside + b"//canary")),
    tar("dot dot", named(b"../outside/evil"), refused=1),
    tar("dot dot to a file that exists", named(b"../outside/canary"), refused=1),
    tar("dot dot in the middle", named(b"a/../../outside/evil"), refused=1),
    tar("dot dot behind dots", named(b"././../outside/evil"), refused=1),
    tar("dot dot behind a slash", named(b"/../outside/evil"), refused=1),
    tar("only dot dot", named(b".."), directory(b".."), directory(b"../"), refused=3),
    tar("chmod of the parent", directory(b"..", b"0000777\0"), directory(b"a/../..", b"0000777\0"), refused=2),
    tar("the root itself as a file", named(b"."), named(b"/"), named(b"./"), refused=3),
    tar("the root itself as a link", lambda outside: symlink(b".", outside) + symlink(b"./", outside), refused=2),
    tar("no name", named(b""), refused=1),
    tar("link, then through it", lambda outside: symlink(b"link", outside), named(b"link/evil"), refused=1),
    tar("link, then through it to a file", lambda outside: symlink(b"l", outside), named(b"l/canary"), refused=1),
    tar("link, then a directory through it", lambda outside: symlink(b"l", outside), directory(b"l/new"), refused=1),
    tar("link, then a link through it", lambda outside: symlink(b"l", outside), symlink(b"l/new", b"x"), refused=1),
    tar("link, then a file of its name", lambda outside: symlink(b"link", outside + b"/canary"), named(b"link")),
    tar("link, then a directory of its name", lambda outside: symlink(b"l", outside) + directory(b"l") + named(b"l/x")),
    tar("links in a chain", symlink(b"a", b"."), symlink(b"a/b", b".."), named(b"a/b/outside/evil"), refused=2),
    tar("link upwards", directory(b"d"), symlink(b"d/l", b"../.."), named(b"d/l/outside/evil"), refused=1),
    tar("link to the root of all", symlink(b"slash", b"/"), named(b"slash/tmp/evil of the corpus"), refused=1),
    tar("link to itself", symlink(b"loop", b"loop"), named(b"loop/evil"), refused=1),
    tar("link into /proc", symlink(b"self", b"/proc/self/cwd"), named(b"self/evil"), refused=1),
    tar("hard link to an absolute path", lambda outside: hard_link(b"hard", outside + b"/canary"), refused=1),
    tar("hard link with dot dot", hard_link(b"hard", b"../outside/canary"), named(b"hard"), refused=1),
    tar(
        "hard link over a link",
        lambda outside: symlink(b"l", outside) + hard_link(b"hard", b"l/canary"),
        named(b"hard"),
        refused=1,
    ),
    tar(
        "hard link to a link, then a file of its name",
        lambda outside: symlink(b"l", outside + b"/canary") + hard_link(b"hard", b"l"),
        named(b"hard"),
        refused=1,
    ),
    tar("hard link to nothing, itself, a directory, the root",
        hard_link(b"h1", b"nothing"),
        hard_link(b"h2", b"h2"),
        directory(b"d"),
        hard_link(b"h3", b"d"),
        hard_link(b"h4", b"."),
        refused=4,
    ),
    tar("hard link, then the file again", named(b"a"), hard_link(b"b", b"a"), named(b"a", b"again")),
    tar("devices", header(b"null", kind=b"3"), header(b"disk", kind=b"4"), refused=2),
    tar("fifo, and writing into it", header(b"pipe", kind=b"6"), named(b"pipe"), refused=1),
    tar("a path of all kinds",
        named(b"x"),
        directory(b"x"),
        symlink(b"x", b"/etc"),
        named(b"x", b"last"),
        refused=2,
    ),
    tar("a file as a directory", named(b"a"), named(b"a/b"), named(b"a/b/c")),
    tar("a directory as a file", named(b"a/b"), named(b"a"), symlink(b"a", b"/etc"), refused=2),
    tar("newlines and escapes in names", named(b"new\nline\r\x1b[2J\x07"), symlink(b"\n", b"\x1b]0;x\x07")),
    tar("case games", named(b"Case"), named(b"case"), lambda outside: symlink(b"CASE", outside), named(b"cASE/x")),
    tar("encoded and lookalike dots", named(b"..%2foutside%2fevil"), named("．．／outside".encode()), named(b"...")),
    tar("backslashes and drives", named(b"..\\..\\outside\\evil"), named(b"C:\\evil"), named(b"C:/evil")),
    tar("a part of 256 bytes", named(b"n" * 256), named(b"d/" + b"n" * 300 + b"/x"), refused=2),
    tar("a path of 6,000 bytes", named((b"d" * 99 + b"/") * 60 + b"x")),
    tar("set-user-id and all bits", file(b"suid", b"x", mode=b"0007777\0"), directory(b"d", b"0007777\0")),
    tar("pax path", pax({b"path": b"../outside/evil"}), named(b"innocent"), refused=1),
    tar("pax path with NUL", pax({b"path": b"in\0nocent"}), named(b"innocent"), refused=1),
    tar("pax path for all", pax({b"path": b"../outside/evil"}, b"g"), named(b"innocent"), refused=1, good=False),
    tar("pax link path", lambda outside: pax({b"linkpath": outside + b"/canary"}), hard_link(b"h", b"good"), refused=1),
    tar("pax link path with NUL", pax({b"linkpath": b"a\0b"}), header(b"l", kind=b"2", link=b"x"), refused=1),
    tar("pax sparse name",
        pax({b"GNU.sparse.major": b"0", b"GNU.sparse.size": b"0", b"GNU.sparse.name": b"../outside/evil",
             b"GNU.sparse.map": b""}),
        header(b"innocent"),
        refused=1,
    ),
    tar("pax size that swallows the next header", pax({b"size": b"512"}), header(b"swallower"), fails=True),
    tar("GNU long name", long_name(b"../" * 100 + b"outside/evil"), header(b"innocent"), refused=1),
    tar("GNU long link", long_name(b"../" * 50 + b"x", b"K"), header(b"h", kind=b"1", link=b"good"), refused=1),
    tar("link without target, with a long one",
        header(b"l", kind=b"2"), symlink(b"m", b"x" * 4096), symlink(b"n", b"x" * 4095), refused=2
    ),
    tar("negative size", header(b"x", size=b"\xff" * 12), fails=True),
    tar("size of an exabyte", header(b"x", size=b"\x80\0\0\0\x0f" + b"\xff" * 7), fails=True),
    tar("size beyond the archive", header(b"x", size=b"00000100000\0"), fails=True),
    tar("sparse file of an exabyte",
        header(b"x", kind=b"S", sparse=bytes(97) + b"\x80\0\0\0\x0f" + b"\xff" * 7),
        fails=True,
    ),
    tar("entries of GNU's other kinds", header(b"../outside/evil/", kind=b"D"), header(b"x", kind=b"Z"), refused=2),
]  # fmt: skip


def _zip_of_duplicates(outside: bytes) -> bytes:
    """A link, then a file of its name, which ``zipfile`` would warn about."""
    members = [Member("a", outside + b"/canary", LINK), Member("b", b"evil"), Member("good", b"good")]
    archive = bytearray(make_zip(*members))
    local = archive.find(b"PK\3\4", 4)
    central = archive.find(b"PK\1\2", archive.find(b"PK\1\2") + 4)
    archive[local + 30 : local + 31] = b"a"
    archive[central + 46 : central + 47] = b"a"
    return bytes(archive)


_ZIP = [
    zipped("dot dot", Member("../outside/evil", b"evil"), refused=1),
    zipped("dot dot in the middle", Member("a/../../outside/evil", b"evil"), refused=1),
    zipped("absolute path", lambda outside: Member(outside + "/evil", b"evil")),
    zipped("backslashes", Member("..\\..\\outside\\evil", b"evil")),
    zipped("NUL in the name", Member("in\0nocent", b"evil"), refused=1),
    zipped("link, then through it", lambda out: Member("l", out.encode(), LINK), Member("l/evil", b"x"), refused=1),
    zipped("link of a link", Member("a", b"..", LINK), Member("b", b"a/outside", LINK), Member("b/e", b"x"), refused=1),
    zipped("devices and pipes", Member("d", b"", 0o20666), Member("p", b"", 0o10666), refused=2),
    zipped("directory through a link", lambda out: Member("l", out.encode(), LINK), Member("l/", b"", 0o40777)),
    zipped("set-user-id", Member("suid", b"x", stat.S_IFREG | 0o7777)),
    zipped("links that cannot be", Member("a", b"", LINK), Member("b", b"x" * 5000, LINK), refused=2),
    Case("zip: link, then a file of its name", ArchiveFormat.ZIP, _zip_of_duplicates),
    zipped("link with NUL", Member("a", b"/etc\0/passwd", LINK), refused=1),
]

_SEVEN = [
    seven("dot dot", Member("../outside/evil", b"evil"), refused=1),
    seven("absolute path", lambda outside: Member(outside + "/evil", b"evil")),
    seven("backslashes", Member("..\\..\\outside\\evil", b"evil")),
    seven("link, then through it", lambda out: Member("l", out.encode(), LINK), Member("l/evil", b"x"), refused=1),
    seven("link, then a file", lambda out: Member("l", out.encode() + b"/canary", LINK), Member("l", b"evil")),
    seven("link, then its directory", lambda out: Member("l", out.encode(), LINK), Member("l", b"", 0o40777)),
    seven("devices and pipes", Member("d", b"", 0o20666), Member("p", b"", 0o10666), refused=2),
    seven("directory upwards", Member("..", b"", 0o40777), refused=1),
    seven("escaped bytes", Member("\uefae\uefae/outside/evil", b"evil")),
]


def _zip_case(name: str, change: Callable[[bytearray], None]) -> Case:
    def build(outside: bytes) -> bytes:
        archive = bytearray(make_zip(Member("aaaa", b"x" * 1000), Member("bbbb", b"y" * 1000)))
        change(archive)
        return bytes(archive)

    return Case(f"zip: {name}", ArchiveFormat.ZIP, build, fails=True, good=False)


def _claim(archive: bytearray, size: int) -> None:
    for at in (22, archive.find(b"PK\1\2") + 24):
        struct.pack_into("<I", archive, at, size)


def _overlap(archive: bytearray) -> None:
    first = archive.find(b"PK\1\2")
    second = archive.find(b"PK\1\2", first + 4)
    archive[second + 42 : second + 46] = archive[first + 42 : first + 46]


_LIES = [
    _zip_case("smaller than announced", lambda archive: _claim(archive, 4_000_000_000)),
    _zip_case("larger than announced", lambda archive: _claim(archive, 10)),
    _zip_case("overlapping entries", _overlap),
    _zip_case("another name in the header", lambda archive: archive.__setitem__(slice(30, 34), b"../x")),
]

CASES = [*_TAR, *_ZIP, *_SEVEN, *_LIES]
