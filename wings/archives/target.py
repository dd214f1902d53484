"""Where extraction writes. ``wings.files`` implements it beneath a server's jail."""

from collections.abc import Iterable
from typing import Protocol


class Target(Protocol):
    """Writes entries beneath one root; nothing is followed, nothing outside is touched (P8).

    Paths are relative, raw bytes, already judged by the extractor: no empty, ``.`` or ``..`` part, no NUL,
    not absolute. Missing parents are created with mode 0755. An entry that is in the way is replaced when
    it is not a directory; a directory in the way of anything but a directory is an error for that entry.
    All methods may be called from several threads at once, for different paths. Errors: ``OSError`` of
    the operation (``ENOSPC`` and ``EDQUOT`` end the extraction, others are that entry's own); ``Refused``
    for an entry below a symbolic link that exists, that entry's own; ``NoSpace`` when a limit is reached,
    which ends the extraction.
    """

    def directory(self, path: bytes, mode: int, mtime_ns: int) -> None:
        """Create or keep a directory; mode and time are applied in ``finish`` so that children can be written."""

    def file(self, path: bytes, mode: int, mtime_ns: int, chunks: Iterable[bytes]) -> int:
        """Create a regular file exclusively and write ``chunks``; return the number of bytes written.

        If ``chunks`` raises, the half-written file is removed and the exception passes through.
        """

    def symlink(self, path: bytes, target: bytes, mtime_ns: int) -> None:
        """Create a symbolic link with this text; it is never resolved."""

    def hardlink(self, path: bytes, existing: bytes) -> None:
        """Make ``path`` a second name of ``existing``, which this extraction wrote before."""

    def denied(self, path: bytes) -> bool:
        """Whether the server's denylist keeps this path from being written."""

    def finish(self) -> None:
        """Apply directory modes and times, deepest first, and make what was written durable."""
