"""How commands fail: what the command line adds to the daemon's errors, and which exit code belongs to which."""

import errno

from wings.errors import (
    Cancelled,
    Conflict,
    Damaged,
    InvalidInput,
    NoSpace,
    NotFound,
    Refused,
    Unavailable,
    Unsupported,
    WingsError,
    shown,
)

USAGE = 2  # the command line itself is wrong
USAGE_CODE = "usage"
INTERRUPTED = 130  # Ctrl-C, as shells report it

KINDS: tuple[type[WingsError], ...] = (
    InvalidInput,
    NotFound,
    Conflict,
    Unavailable,
    NoSpace,
    Damaged,
    Refused,
    Cancelled,
    Unsupported,
)

# Statuses that no kind has of its own, and the kind they belong to.
_FURTHER_STATUSES = {401: Refused, 405: Unsupported, 413: InvalidInput, 416: InvalidInput}

_OS_ERRORS = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EACCES: Refused,
    errno.EPERM: Refused,
    errno.ENOENT: NotFound,
    errno.EEXIST: Conflict,
}


class NotRunning(Unavailable):
    """Nobody answers at the daemon's address."""

    code = "not_running"


class TransferBroken(Unavailable):
    """Not all bytes arrived."""

    code = "transfer_broken"


class Failed(WingsError):
    """A failure whose code is only known at run time."""

    def __init__(self, message: str, code: str, exit_code: int) -> None:
        super().__init__(message)
        self.told_code = code
        self.told_exit_code = exit_code


class ServerError(Failed):
    """What the daemon answered with, or a job ended with; ``status`` is the HTTP status that goes with it."""

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message, code, exit_code_for(code, status))


class LeftRunning(Failed):
    """Waiting was given up with Ctrl-C; the job goes on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "left_running", INTERRUPTED)


class Verdict(Exception):  # not an error of ours: the answer itself
    """The answer has been printed, and it is a bad one: end with this code and one line for people on stderr."""

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code


def exit_code_for(code: str, status: int) -> int:
    """The exit code of an error of the daemon: by its code, or for codes of a finer kind by its HTTP status."""
    for kind in KINDS:
        if kind.code == code:
            return kind.exit_code
    for kind in KINDS:
        if kind.http_status == status:
            return kind.exit_code
    further = _FURTHER_STATUSES.get(status, WingsError)
    return further.exit_code


def describe(error: Exception) -> tuple[str, str, int]:
    """Text, code and exit code of anything a command may end with."""
    if isinstance(error, Failed):
        return str(error), error.told_code, error.told_exit_code
    if isinstance(error, WingsError):
        return str(error), error.code, error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        kind = _OS_ERRORS.get(error.errno, WingsError)
        name = f"{shown(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{name}{error.strerror}", kind.code, kind.exit_code
    text = f"unexpected {type(error).__name__}: {shown(str(error))}; --debug shows where"
    return text, WingsError.code, WingsError.exit_code
