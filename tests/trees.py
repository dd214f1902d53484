"""Trees to be stored and restored: one as nasty as a server's user can make it, and how to compare two.

``build_nasty`` makes the tree of design §8, ``snapshot`` looks at a tree with nothing of ours in between,
``differences`` says in words what differs. What changes a tree while it is read is in ``tests.meddling``.
"""

import hashlib
import os
import random
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Names that break shells, terminals, formats, other systems, or careless code. None needs root.
NASTY_NAMES = (
    b"new\nline",
    b"ends in newline\n",
    b'double"quote',
    b"single'quote",
    b"-rf",
    b"--checkpoint-action=exec",
    b" leading and trailing space ",
    b"tab\there",
    b"back\\slash",
    b"control \x01\x1b[31m\x7f",
    b"not \xff\xfe utf-8",
    b"half \xf0\x9f emoji",
    "emoji 🎮.dat".encode(),
    "ünïcödé and 日本語".encode(),
    b"n" * 255,
    "ß".encode() * 127,
    b"...",
    b"..data",
    b".hidden",
    b"C:drive",
    b"con",
    b"ends in dot.",
    b"CASE",
    b"case",
    b"%2e%2e%2f",
    b"*",
    b"[a-z]?",
    b"#hash",
    b"!bang",
    b"~",
    b"$HOME `id`",
)

SYMLINKS = {
    b"relative": b"data.bin",
    b"relative to a directory": b"sub",
    b"upwards inside": b"../files/data.bin",
    b"absolute": b"/etc/hostname",
    b"dangling": b"nowhere/at all",
    b"loop": b"loop",
    b"loop a": b"loop b",
    b"loop b": b"loop a",
    b"out of the root": b"../../../../../../../../etc/passwd",
    b"root": b"/",
    b"120 bytes": b"t" * 120,
    b"1000 bytes": b"/".join([b"deep"] * 200) + b"!",
    b"not \xff utf-8": b"target \xfe",
}


@dataclass(frozen=True)
class Nasty:
    """Where the parts are that tests ask for by name; paths are relative to ``root``.

    ``specials`` are the entries that no driver stores. ``deepest`` is a file whose path is longer than
    4096 bytes, ``sparse`` one that is (nearly) all hole.
    """

    root: Path
    deepest: bytes
    sparse: bytes
    specials: frozenset[bytes]


def build_nasty(root: Path, *, many: int = 200, sparse: int = 1 << 30) -> Nasty:
    """Build the tree in ``root``, which is made if it is missing.

    ``many`` small files stand in directories of 50; ``sparse`` is the size of the sparse file in bytes, of
    which only some KiB at its middle and end are data. What only root can make or read (devices, modes
    without any right) is there when root runs this. A name that the file system refuses raises ``OSError``.
    """
    base = os.fsencode(root)
    os.makedirs(base, exist_ok=True)
    for directory in (b"files/sub", b"names", b"links", b"empty directory", b"many", b"special", b"times", b"modes"):
        os.makedirs(base + b"/" + directory)
    _write(base + b"/files/data.bin", random.Random(1).randbytes(200_000))
    _write(base + b"/files/text.txt", b"The quick brown fox jumps over the lazy dog.\n" * 5000)
    _write(base + b"/files/empty", b"")
    _write(base + b"/files/one byte", b"x")
    _write(base + b"/files/512", b"y" * 512)
    _write(base + b"/files/65536", b"z" * 65536)
    os.link(base + b"/files/data.bin", base + b"/files/sub/hard link")
    for name in NASTY_NAMES:
        _write(base + b"/names/" + name, b"named " + name)
    os.makedirs(base + b"/names/directory \xff\n/inner")
    _write(base + b"/names/directory \xff\n/inner/file", b"below an odd name")
    for name, target in SYMLINKS.items():
        os.symlink(target, base + b"/links/" + name)
    _build_many(base + b"/many", many)
    _build_sparse(base + b"/files/sparse", sparse)
    _build_times(base + b"/times")
    _build_modes(base + b"/modes")
    with suppress(OSError):  # some file systems have none; drivers do not store them anyway
        os.setxattr(base + b"/files/text.txt", "user.comment", b"not stored")
    medium = b"/".join([b"path over a hundred bytes"] * 5)
    os.makedirs(base + b"/" + medium)
    _write(base + b"/" + medium + b"/file", b"medium")
    deepest = build_deep(root, b"deep " + b"d" * 195, 25)
    return Nasty(root, deepest, b"files/sparse", _build_specials(base))


def build_deep(root: Path, name: bytes, levels: int) -> bytes:
    """Nest ``levels`` directories of one name with a file in the last; return its path. Any depth works."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = inner
    file = os.open(b"bottom", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=fd)
    os.write(file, b"the very bottom")
    os.close(file)
    os.close(fd)
    return b"/".join([name] * levels + [b"bottom"])


def build_small(root: Path, files: int, directories: int) -> None:
    """``files`` files of 0.5 to 4 KiB in ``directories`` directories, 20 of these in each of the first level."""
    content = random.Random(2)
    paths = [root / f"d{number // 20}" / f"e{number}" for number in range(directories)]
    for path in paths:
        path.mkdir(parents=True)
    for number in range(files):
        path = paths[number % directories] / f"f{number}.dat"
        path.write_bytes(content.randbytes(content.randint(512, 4096)))


def _write(path: bytes, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)


def _build_many(base: bytes, many: int) -> None:
    content = random.Random(3)
    for number in range(many):
        directory = base + b"/%03d" % (number // 50)
        if number % 50 == 0:
            os.mkdir(directory)
        _write(directory + b"/%05d.dat" % number, content.randbytes(content.randint(0, 4096)))


def _build_sparse(path: bytes, size: int) -> None:
    with open(path, "xb") as file:
        file.truncate(size)
        for position in (size // 2, size - 4096):
            if position >= 0:
                file.seek(position)
                file.write(b"data" * 1024)


def _build_times(base: bytes) -> None:
    for name, seconds in (
        (b"1901", -2_100_000_000),
        (b"1969", -86_400),
        (b"1970", 0),
        (b"1979", 300_000_000),
        (b"2040", 2_222_222_222),
        (b"2109", 4_400_000_000),
    ):
        _write(base + b"/" + name, name)
        os.utime(base + b"/" + name, ns=(seconds * 10**9, seconds * 10**9))
    _write(base + b"/fraction", b"fraction")
    os.utime(base + b"/fraction", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    os.mkdir(base + b"/directory of 1969")
    os.utime(base + b"/directory of 1969", (-86_400, -86_400))


def _build_modes(base: bytes) -> None:
    for mode in (0o400, 0o444, 0o640, 0o755, 0o777, 0o4755, 0o2755, 0o6711):
        _write(base + b"/%04o" % mode, b"mode %o" % mode)
        os.chmod(base + b"/%04o" % mode, mode)
    for mode in (0o700, 0o755, 0o1777, 0o2775):
        os.mkdir(base + b"/d%04o" % mode)
        _write(base + b"/d%04o/inside" % mode, b"inside")
        os.chmod(base + b"/d%04o" % mode, mode)
    if os.geteuid() == 0:  # anybody else could not read them
        _write(base + b"/0000", b"no rights")
        os.chmod(base + b"/0000", 0)
        os.mkdir(base + b"/d0000")
        _write(base + b"/d0000/inside", b"inside")
        os.chmod(base + b"/d0000", 0)


def _build_specials(base: bytes) -> frozenset[bytes]:
    specials = [b"special/fifo", b"special/socket"]
    os.mkfifo(base + b"/special/fifo")
    os.mknod(base + b"/special/socket", stat.S_IFSOCK | 0o600)
    if os.geteuid() == 0:
        os.mknod(base + b"/special/character device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(base + b"/special/block device", stat.S_IFBLK | 0o600, os.makedev(7, 250))
        specials += [b"special/character device", b"special/block device"]
    return frozenset(specials)


# Looking at trees


@dataclass(frozen=True)
class Facts:
    """What a tree says about one entry.

    ``kind`` is ``file``, ``directory``, ``symlink`` or the name of a special kind. ``digest`` stands for a
    file's content: equal exactly when the bytes are, holes or not (it is no SHA-256 of the plain bytes).
    """

    kind: str
    mode: int
    mtime_ns: int
    size: int = 0
    digest: str = ""
    target: bytes = b""


Snapshot = dict[bytes, Facts]

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def snapshot(root: Path) -> Snapshot:
    """Every entry below ``root`` (itself left out), of any depth, by relative path. Raises what the disk raises."""
    found: Snapshot = {}
    levels: list[tuple[bytes, int, list[str]]] = []
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    levels.append((b"", fd, os.listdir(fd)))
    while levels:
        prefix, fd, names = levels[-1]
        if not names:
            levels.pop()
            os.close(fd)
            continue
        name = names.pop()
        path = prefix + os.fsencode(name)
        facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        found[path] = _facts(fd, name, facts)
        if stat.S_ISDIR(facts.st_mode):
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            levels.append((path + b"/", inner, os.listdir(inner)))
    return found


def storable(tree: Snapshot) -> Snapshot:
    """The part of a tree that a backup gives back: all but fifos, sockets and devices."""
    return {path: facts for path, facts in tree.items() if facts.kind in ("file", "directory", "symlink")}


def differences(
    expected: Mapping[bytes, Facts],
    actual: Mapping[bytes, Facts],
    *,
    modes: bool = True,
    mtime_step: int = 1,
    mtime_range: tuple[int, int] | None = None,
    skip: Callable[[bytes, Facts], bool] = lambda path, facts: False,
) -> list[str]:
    """Say in one line each what differs; an empty list means equal.

    ``mtime_step``: times count as equal within this many seconds, rounded down; 0 leaves times out, which
    symlinks' times always are. ``mtime_range``: the first and last second that the format can hold, times
    beyond are expected at its edge. ``skip``: leave out what this says yes to.
    """
    lines = []
    for path in sorted({*expected, *actual}):
        one, other = expected.get(path), actual.get(path)
        if one is None or other is None:
            known = one or other
            assert known is not None
            if not skip(path, known):
                lines.append(f"{path!r}: {known.kind} {'missing' if other is None else 'not expected'}")
            continue
        if skip(path, one):
            continue
        if one.kind != other.kind:
            lines.append(f"{path!r}: {one.kind} expected, is {other.kind}")
            continue
        if (one.size, one.digest, one.target) != (other.size, other.digest, other.target):
            lines.append(f"{path!r}: content differs ({one.size} {one.target!r}, is {other.size} {other.target!r})")
        if one.kind == "symlink":
            continue
        if modes and one.mode != other.mode:
            lines.append(f"{path!r}: mode {one.mode:04o} expected, is {other.mode:04o}")
        if mtime_step and _held(one, mtime_step, mtime_range) != _held(other, mtime_step, mtime_range):
            lines.append(f"{path!r}: time {one.mtime_ns} expected, is {other.mtime_ns}")
    return lines


def _held(facts: Facts, step: int, limits: tuple[int, int] | None) -> int:
    seconds = facts.mtime_ns // 10**9
    if limits is not None:
        seconds = min(max(seconds, limits[0]), limits[1])
    return seconds // step


def _facts(dir_fd: int, name: str, facts: os.stat_result) -> Facts:
    kind = _KINDS[stat.S_IFMT(facts.st_mode)]
    mode = stat.S_IMODE(facts.st_mode)
    if kind == "file":
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
        try:
            return Facts(kind, mode, facts.st_mtime_ns, facts.st_size, _digest(fd, facts.st_size))
        finally:
            os.close(fd)
    if kind == "symlink":
        return Facts(kind, mode, facts.st_mtime_ns, target=os.readlink(os.fsencode(name), dir_fd=dir_fd))
    return Facts(kind, mode, facts.st_mtime_ns)


_BLOCK = 64 << 10
_ZEROS = bytes(_BLOCK)


def _digest(fd: int, size: int) -> str:
    """Hash the blocks that are not zeros, each with its place; holes are not even read."""
    digest = hashlib.sha256()
    position = 0
    while position < size:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:  # no data any more
            break
        hole = os.lseek(fd, data, os.SEEK_HOLE)
        position = max(position, data // _BLOCK * _BLOCK)
        while position < hole:
            block = os.pread(fd, _BLOCK, position)
            if block != _ZEROS[: len(block)]:
                digest.update(position.to_bytes(8, "big") + block)
            position += _BLOCK
    return digest.hexdigest()
