"""Opening paths beneath one root so that nothing outside is ever reached (P8).

A server's files belong to its user, who may put a symlink where a directory stood a moment ago. So a path
is never checked first and opened later: the kernel resolves it with ``openat2``, which refuses to follow any
link or to leave the root; where that call is missing (before Linux 5.6, or filtered by a container
runtime) each part is opened on its own below the descriptor of its parent, which comes to the same.
"""

import ctypes
import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from wings.errors import InvalidInput, Refused, Unsupported, shown

# linux/openat2.h; the number of the call is the same on every architecture Debian builds for.
_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08

# PATH_MAX is 4096 with the final NUL; longer paths are walked in pieces of at most this many bytes.
_PIECE = 4095

# EAGAIN says that something was renamed or mounted while the kernel resolved; a try takes microseconds.
_TRIES = 1000

_UNUSABLE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EINVAL}


class OutsideJail(Refused):
    """The path leads out of its root, or over a symbolic link."""

    code = "outside_root"


class UnusableRoot(InvalidInput):
    """The directory that should be the root is missing, is none, or may not be opened."""

    code = "unusable_root"


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Jail:
    """One directory, opened once; every path given is relative to it, raw bytes joined by ``/``.

    No part of a path may be a symbolic link, the last one included. ``..``, an absolute path and NUL are
    refused; empty parts and ``.`` mean nothing. Violations raise ``OutsideJail``; every other failure is
    the ``OSError`` of the call. Paths may be longer than the kernel takes at once (4096 bytes). Mount
    points below the root are crossed. Descriptors belong to the caller and are closed on exec. Safe to
    use from several threads, ``close`` apart.

    ``openat2`` is for tests: ``None`` takes the system call where the kernel offers it.
    """

    def __init__(self, root: Path, *, openat2: bool | None = None) -> None:
        """Open ``root``, through symbolic links if the operator put some in its way.

        Raises ``UnusableRoot`` if it is not a directory that can be opened, ``Unsupported`` if
        ``openat2`` is demanded and missing.
        """
        self.root = root
        try:
            self.root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except ValueError as error:  # NUL in the operator's path
            raise UnusableRoot(f"{shown(root)} cannot be a directory: {error}") from error
        except OSError as error:
            if error.errno not in _UNUSABLE:
                raise
            raise UnusableRoot(f"{shown(root)} cannot be used as a directory: {error.strerror}") from error
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._openat2 = False
        if openat2 is None or openat2:
            self._openat2 = self._has_openat2()
            if openat2 and not self._openat2:
                self.close()
                raise Unsupported("this kernel or container runtime does not offer openat2")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the root; the jail cannot be used afterwards. Safe to call twice."""
        if self.root_fd >= 0:
            os.close(self.root_fd)
            self.root_fd = -1

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """Open ``path`` and return its descriptor; ``flags`` and ``mode`` as for ``os.open``.

        With ``O_PATH | O_NOFOLLOW`` a symbolic link at the end is opened itself. Opening a fifo blocks
        unless ``O_NONBLOCK`` is given.
        """
        parts = self._parts(path)
        if not parts:
            return os.open(b".", flags | os.O_CLOEXEC, mode, dir_fd=self.root_fd)
        try:
            if self._openat2:
                return self._open_by_kernel(parts, flags, mode)
            return self._open_by_parts(parts, flags, mode)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EXDEV):
                raise OutsideJail(f"{shown(path)} leads over a symbolic link or out of the server's files") from error
            raise OSError(error.errno, error.strerror, path) from None

    def open_directory(self, path: bytes) -> int:
        """Open a directory for listing and as ``dir_fd``; ``b""`` is the root, with a position of its own."""
        return self.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def stat(self, path: bytes) -> os.stat_result:
        """Facts about ``path`` itself; a symbolic link at the end is not followed."""
        fd = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def _parts(self, path: bytes) -> list[bytes]:
        if path.startswith(b"/") or b"\0" in path:
            raise OutsideJail(f"{shown(path)} is not a path inside the server's files")
        parts = [part for part in path.split(b"/") if part and part != b"."]
        if b".." in parts:
            raise OutsideJail(f"{shown(path)} leads out of the server's files")
        return parts

    def _has_openat2(self) -> bool:
        try:
            fd = self._call(self.root_fd, b".", os.O_PATH | os.O_DIRECTORY, 0)
        except OSError as error:
            # EPERM is how seccomp filters of container runtimes answer calls they do not know.
            if error.errno in (errno.ENOSYS, errno.EPERM):
                return False
            self.close()
            raise
        os.close(fd)
        return True

    def _call(self, dir_fd: int, path: bytes, flags: int, mode: int) -> int:
        how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
        code = 0
        for _ in range(_TRIES):
            fd: int = self._syscall(
                ctypes.c_long(_OPENAT2),
                ctypes.c_long(dir_fd),
                ctypes.c_char_p(path),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            if code not in (errno.EAGAIN, errno.EINTR):
                break
        raise OSError(code, os.strerror(code))

    def _open_by_kernel(self, parts: list[bytes], flags: int, mode: int) -> int:
        if not flags & os.O_PATH:
            # With O_NOFOLLOW a link in place of a directory is only "not a directory"; RESOLVE_NO_SYMLINKS
            # alone refuses it just as surely and says why.
            flags &= ~os.O_NOFOLLOW
        if not _creates(flags):
            mode = 0  # openat2 takes a mode only with something to apply it to
        parent = self.root_fd
        try:
            while True:
                piece, parts = _first_piece(parts)
                if not parts:
                    return self._call(parent, piece, flags, mode)
                child = self._call(parent, piece, os.O_PATH | os.O_DIRECTORY, 0)
                if parent != self.root_fd:
                    os.close(parent)
                parent = child
        finally:
            if parent != self.root_fd:
                os.close(parent)

    def _open_by_parts(self, parts: list[bytes], flags: int, mode: int) -> int:
        parent = self.root_fd
        try:
            for part in parts[:-1]:
                child = _open_here(parent, part, os.O_PATH | os.O_DIRECTORY, 0)
                if parent != self.root_fd:
                    os.close(parent)
                parent = child
            return _open_here(parent, parts[-1], flags, mode)
        finally:
            if parent != self.root_fd:
                os.close(parent)


def _creates(flags: int) -> bool:
    return bool(flags & os.O_CREAT) or flags & os.O_TMPFILE == os.O_TMPFILE


def _first_piece(parts: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Join as many parts as the kernel takes in one call; return them and the rest."""
    whole = b"/".join(parts)
    if len(whole) <= _PIECE:
        return whole, []
    count, length = 0, -1
    for part in parts:
        length += len(part) + 1
        if length > _PIECE:
            break
        count += 1
    count = max(count, 1)  # a part of over 4095 bytes alone: the kernel answers ENAMETOOLONG
    return b"/".join(parts[:count]), parts[count:]


def _open_here(dir_fd: int, name: bytes, flags: int, mode: int) -> int:
    """Open one name without following it, with the errors that ``openat2`` would give for a link."""
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=dir_fd)
    except NotADirectoryError as error:
        # O_DIRECTORY hides that it was a link.
        if stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        raise
    if flags & os.O_PATH and not flags & os.O_NOFOLLOW and stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return fd
