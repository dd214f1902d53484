"""Writes the configuration back: whole, in fixed order, and so that a crash leaves the old or the new file."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wings.config.document import document, to_yaml
from wings.config.models import Config
from wings.config.tree import ListNode, MapNode, Scalar, Tree
from wings.config.yaml_loader import parse_document
from wings.errors import ConfigurationError, shown

# A single file mounted into a container can be written, but not replaced.
_NOT_REPLACEABLE = frozenset({errno.EBUSY, errno.EXDEV})
# Its directory may be read-only or belong to somebody else meanwhile.
_NO_NEIGHBOUR = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Written:
    """Whether the file changed, and what the operator should hear."""

    changed: bool
    warning: str | None = None


def write(path: Path, config: Config, rename: Callable[[Path, Path], None] = os.rename) -> Written:
    """Write ``config`` to ``path`` unless the file says the same already, whatever its order and comments.

    A new file has mode 0600, an existing one keeps mode and owner, a symlink stays and its target is
    written. Parent directories are not made. A read-only file system is a warning: many mount the file so
    on purpose. Raises ``ConfigurationError`` when it cannot be written for another reason. ``rename`` moves
    the finished file into place.
    """
    text = to_yaml(document(config))
    target = Path(os.path.realpath(path))
    try:
        if _says_the_same(target, text):
            return Written(changed=False)
        with _only_writer(target.parent):
            _replace(target, text.encode(), rename)
    except OSError as error:
        if error.errno == errno.EROFS:
            return Written(False, f"{shown(path)} is on a read-only file system; changes are not kept")
        raise ConfigurationError(f"{shown(path)} cannot be written: {error.strerror}") from error
    return Written(changed=True)


def create(path: Path, text: str) -> bool:
    """Write a new file with mode 0600; ``False``, and nothing changed, when there is one already.

    It appears with all its content or not at all. Raises ``OSError``.
    """
    with _only_writer(path.parent):
        if os.path.lexists(path):
            return False
        os.rename(_temporary(path, text.encode()), path)
        _sync_directory(path.parent)
    return True


def _replace(target: Path, content: bytes, rename: Callable[[Path, Path], None]) -> None:
    try:
        temporary = _temporary(target, content)
    except OSError as error:
        if error.errno in _NO_NEIGHBOUR and target.exists():
            return _overwrite(target, content)
        raise
    try:
        with suppress(FileNotFoundError):
            old = target.stat()
            os.chmod(temporary, old.st_mode & 0o7777)
            with suppress(PermissionError):  # only root can keep somebody else's file theirs
                os.chown(temporary, old.st_uid, old.st_gid)
        rename(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in _NOT_REPLACEABLE:
            return _overwrite(target, content)
        raise
    return _sync_directory(target.parent)


def _temporary(target: Path, content: bytes) -> Path:
    """A finished neighbour of ``target``. One left behind by a crash is replaced: nobody else writes now."""
    path = target.with_name(target.name + ".tmp")
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path


def _overwrite(target: Path, content: bytes) -> None:
    # Not safe against a crash in between, but the only way with a file that is a mount point.
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CLOEXEC), "wb") as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _only_writer(directory: Path) -> Iterator[None]:
    """Keep other processes that write here waiting: daemon and command line may save at the same moment."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # file systems without locks: then the last one wins
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _says_the_same(target: Path, text: str) -> bool:
    try:
        old, problems = parse_document(target.read_bytes().decode("utf-8-sig"), str(target))
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    new, _ = parse_document(text, str(target))
    return not problems and _same(old, new)


def _same(old: Tree, new: Tree) -> bool:
    match old, new:
        case MapNode(), MapNode():
            return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in new)
        case ListNode(), ListNode():
            return len(old) == len(new) and all(map(_same, old, new))
        case Scalar(), Scalar():
            # Quotes do not matter where the text is the same: the key's type decides what it means. 1 is 1.0.
            one, other = old.value, new.value
            return old.text == new.text or (one == other and isinstance(one, bool) == isinstance(other, bool))
    return False
