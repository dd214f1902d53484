"""The base of every error this program raises on purpose, and the kinds that callers tell apart.

A class carries what the outside needs: a stable ``code``, the HTTP status, and the exit code of the
command line. Its message says what happened, to what, and what the operator can do. Packages derive
their own errors from these kinds; handlers raise, and one place per border (HTTP, command line)
translates. ``docs/exit-codes.md`` lists the exit codes; a test compares the two.
"""

import os
from typing import ClassVar


class WingsError(Exception):
    """Base class. Its text is meant for the operator and never holds a secret."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1


class ConfigurationError(WingsError):
    """The configuration cannot be used as it stands."""

    code = "configuration"


class InvalidInput(WingsError):
    """The request itself is wrong: unknown format, ambiguous name, path that cannot be."""

    code = "invalid_input"
    http_status = 400
    exit_code = 3


class NotFound(WingsError):
    """Proven absent (P2). Never raised because something could not be reached."""

    code = "not_found"
    http_status = 404
    exit_code = 4


class Conflict(WingsError):
    """It exists already, or somebody else is working on it."""

    code = "conflict"
    http_status = 409
    exit_code = 5


class Unavailable(WingsError):
    """Cannot be said or done now: a storage, a daemon or a peer does not answer."""

    code = "unavailable"
    http_status = 503
    exit_code = 6


class NoSpace(WingsError):
    """A disk or a limit has no room left for this."""

    code = "no_space"
    http_status = 507
    exit_code = 7


class Damaged(WingsError):
    """Stored data does not check out: checksum, structure or end missing."""

    code = "damaged"
    http_status = 422
    exit_code = 8


class Refused(WingsError):
    """Not permitted: credentials, file permissions, or a path outside its root."""

    code = "refused"
    http_status = 403
    exit_code = 9


class Cancelled(WingsError):
    """Stopped on request before it was complete."""

    code = "cancelled"
    http_status = 409
    exit_code = 10


class Unsupported(WingsError):
    """This host or this storage cannot do that: missing program, missing extra, impossible format."""

    code = "unsupported"
    http_status = 417
    exit_code = 11


def shown(value: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Text of a name for a message: control characters and undecodable bytes escaped, nothing else changed."""
    text = os.fsdecode(value)
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable()
        else f"\\x{ord(char) & 0xFF:02x}"
        if ord(char) < 0x100 or 0xDC80 <= ord(char) <= 0xDCFF
        else f"\\u{ord(char):04x}"
        for char in text
    )
