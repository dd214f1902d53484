"""One daemon per root directory."""

import contextlib
import fcntl
import os
from pathlib import Path

from wings.errors import Conflict, Unavailable, shown


class AlreadyRunning(Conflict):
    """Another daemon owns this root directory."""

    code = "already_running"


class InstanceLock:
    """Held from ``acquire`` to ``release`` or to the end of the process, however it ends: the kernel lets go.

    The file stays: removing it would let two daemons hold a lock on two files of the same name. It holds
    the owner's process id for people and messages; the lock is what counts.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> "InstanceLock":
        """Take the lock (file mode 0600) or raise ``AlreadyRunning`` at once. Never waits."""
        try:
            # Not inherited by children: a program left behind must not keep the lock.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Unavailable(
                f"the lock file {shown(path)} cannot be used: {error.strerror}; check its directory and permissions"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise AlreadyRunning(
                f"another wings daemon{f' (process {owner})' if owner else ''} already runs on {shown(path.parent)}; "
                f"stop it first{f' (systemctl stop wings, or kill {owner})' if owner else ''}, "
                "or give this one another directory with --root"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise Unavailable(f"{shown(path)} cannot be locked: {error.strerror}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(path, descriptor)

    def release(self) -> None:
        """Let go. Safe to call twice."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # a full disk must not keep the lock
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def _owner(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
