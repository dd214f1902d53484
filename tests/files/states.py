"""What a directory tree holds, as a value that can be compared: every entry with everything we promise."""

import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534

Facts = tuple[str, int, int, int, int, str]


def state_of(root: Path) -> dict[bytes, Facts]:
    """Kind, mode, owner, time and content of everything below ``root``; ``b""`` is the root itself."""
    found = {b"": _facts(os.fsencode(root))}
    for above, directories, files in os.walk(os.fsencode(root)):
        for name in directories + files:
            path = os.path.join(above, name)
            found[os.path.relpath(path, os.fsencode(root))] = _facts(path)
    return found


def without_root(state: dict[bytes, Facts]) -> dict[bytes, Facts]:
    """The same without the root itself, whose time moves when something in it is renamed."""
    return {path: facts for path, facts in state.items() if path}


def _facts(path: bytes) -> Facts:
    facts = os.lstat(path)
    kind = stat.S_IFMT(facts.st_mode)
    content = ""
    if kind == stat.S_IFREG:
        content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    elif kind == stat.S_IFLNK:
        content = os.fsdecode(os.readlink(path))
    mode = stat.S_IMODE(facts.st_mode)
    return (oct(kind), mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, content)


@contextmanager
def small_disk(place: Path, options: str) -> Iterator[Path]:
    """A tmpfs of its own at ``place``; needs root."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def in_child(work: Callable[[], None], *, uid: int | None = None) -> int:
    """Run ``work`` in a forked process, as another user if given; its exit status as ``waitpid`` tells it.

    The child ends with 0, or with 1 and a traceback when ``work`` raises.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


@contextmanager
def ordinary_user(otherwise: Path) -> Iterator[tuple[Path, Callable[[Callable[[], None]], int]]]:
    """A place that an ordinary user owns, and a way to run something as him; ourselves when we are one."""
    if os.geteuid() != 0:
        yield otherwise, in_child
        return
    with tempfile.TemporaryDirectory(prefix="wings-test-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        os.chown(place, NOBODY, NOBODY)
        yield place, lambda work: in_child(work, uid=NOBODY)
