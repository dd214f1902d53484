"""An open file, or a stretch of one, with a position of its own."""

import os


class PositionedFile:
    """Reads ``size`` bytes of a descriptor from ``start`` on as if they were a file.

    ``before`` and ``behind`` are put around them. Several may share a descriptor, in several threads: nothing
    moves its own position. With ``owned`` the descriptor is closed with it.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        start: int = 0,
        size: int | None = None,
        before: bytes = b"",
        behind: bytes = b"",
        owned: bool = False,
    ) -> None:
        self._descriptor = descriptor
        self._start = start
        self._size = os.fstat(descriptor).st_size - start if size is None else size
        self._before = before
        self._behind = behind
        self._owned = owned
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end."""
        left = self._length - self._at
        if 0 <= size < left:
            left = size
        pieces = []
        while left > 0 and (piece := self._piece(left)):
            pieces.append(piece)
            self._at += len(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position."""
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def tell(self) -> int:
        """The position of the next byte."""
        return self._at

    def close(self) -> None:
        """Let go of the descriptor. Safe to call twice."""
        if self._owned and self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    @property
    def _length(self) -> int:
        return len(self._before) + self._size + len(self._behind)

    def _piece(self, size: int) -> bytes:
        at = self._at
        if at < len(self._before):
            return self._before[at : at + size]
        at -= len(self._before)
        if at < self._size:
            return os.pread(self._descriptor, min(size, self._size - at), self._start + at)
        at -= self._size
        return self._behind[at : at + size]
