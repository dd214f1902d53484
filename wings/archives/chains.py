"""Decoding a chain of compressed members, in order or with several members at a time.

All compressors can be run in pieces whose results are concatenated, and parallel ones (pigz in places,
pbzip2, plzip, our own writers) do just that. Decoding in order is what counts; decoding ahead only saves
time: a piece is cut where a member seems to start, and used if the members before it end exactly there.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain as concatenated

from wings.archives.members import LANDMARK, Codec, Member
from wings.errors import Damaged, Unsupported

STEP = 256 << 10  # bytes of output at a time: stays in the cache until it is written
READ = 256 << 10
_SHORTEST_PIECE = 128 << 10
_LONGEST_PIECE = 8 << 20
_AHEAD = 16 << 20  # bytes that one piece is decoded ahead at most

Event = bytes | int
"""Decoded bytes, or the position in the archive at which the member of the following bytes starts."""

Read = Callable[[int], bytes]
"""Reads up to so many bytes of the archive; ``b""`` at its end."""


class MemberChain:
    """Decodes one member after the other. Raises ``Damaged`` with the position for everything that is no member.

    Zero bytes behind the last member are padding; anything else there is damage, for a flipped bit in
    a member's first bytes looks the same.
    """

    def __init__(self, codec: Codec, position: int = 0) -> None:
        """``position`` in the archive of the first byte that will be fed."""
        self._codec = codec
        self._end = position
        self._member: Member | None = None
        self._carry = b""
        self._padding = 0
        self._begun = position > 0

    @property
    def clean(self) -> bool:
        """Whether all that was fed is decoded and a new member may start."""
        return self._member is None and not self._carry and not self._padding

    def feed(self, data: bytes) -> Iterator[Event]:
        """Decode the next bytes of the archive."""
        self._end += len(data)
        if self._carry:
            data, self._carry = self._carry + data, b""
        while True:
            if self._member is None:
                data = self._strip(data)
                if len(data) < self._codec.head:
                    self._carry = data
                    return
                self._member = self._start(data)
                yield self._end - len(data)
            out = self._decode(self._member, data)
            if out:
                yield out
            if self._member.eof:
                data = self._member.unused_data
                self._member = None
                if not data:
                    return
            elif self._member.needs_input:
                return
            else:
                data = b""

    def finish(self) -> None:
        """The archive has no more bytes: raise ``Damaged`` unless it ends here properly."""
        if self._carry:
            self._wrong(f"{len(self._carry)} bytes that belong to nothing", len(self._carry))
        if not self._begun:
            self._wrong("it is empty")
        if self._member is not None and not self._codec.unmarked_end(self._member):
            self._wrong("it ends too early, the rest is missing")

    def _strip(self, data: bytes) -> bytes:
        if not data.startswith(b"\0") or not self._begun:
            return data
        rest = data.lstrip(b"\0")
        self._padding += len(data) - len(rest)
        if rest:
            if not self._codec.inner_padding or self._padding % 4:
                self._wrong("a hole of zero bytes", len(rest))
            self._padding = 0
        return rest

    def _start(self, data: bytes) -> Member:
        if self._padding:
            self._wrong("a hole of zero bytes", len(data))
        if not self._codec.magic.match(data):
            self._wrong("no further part starts there" if self._begun else "it does not start like one", len(data))
        self._begun = True
        return self._codec.open(data[: self._codec.head])

    def _decode(self, member: Member, data: bytes) -> bytes:
        try:
            return member.decompress(data, STEP)
        except self._codec.errors as error:
            if "memory" in str(error).lower():
                raise Unsupported(
                    f"this {self._codec.name} archive needs more memory to unpack than is allowed here: {error}"
                ) from error
            raise Damaged(f"{self._codec.name} data is damaged shortly before byte {self._end}: {error}") from error

    def _wrong(self, what: str, before_end: int = 0) -> None:
        raise Damaged(f"{self._codec.name} data is damaged at byte {self._end - before_end}: {what}")


def decode(read: Read, codec: Codec) -> Iterator[Event]:
    """Decode from the current position to the end, in order."""
    chain = MemberChain(codec)
    while data := read(READ):
        yield from chain.feed(data)
    chain.finish()


def decode_ahead(read: Read, codec: Codec, executor: Executor, threads: int) -> Iterator[Event]:
    """The same with up to ``threads`` pieces decoded at a time; equal in every result and every error."""
    chain = MemberChain(codec)
    waiting: deque[tuple[_Piece, Future[_Ahead] | None]] = deque()
    pieces = _pieces(read, codec)
    try:
        while True:
            while len(waiting) <= threads and (piece := next(pieces, None)) is not None:
                future = executor.submit(_decode_piece, codec, piece) if piece.starts else None
                waiting.append((piece, future))
            if not waiting:
                break
            piece, future = waiting.popleft()
            if future is not None and chain.clean:
                ahead = future.result()
                chain = ahead.chain
                yield from ahead.events
            else:
                # Either a long member goes on, or what looked like a start was in the middle of one.
                if future is not None:
                    future.cancel()
                yield from chain.feed(piece.data)
        chain.finish()
    finally:
        for _, future in waiting:
            if future is not None:
                future.cancel()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the archive; ``starts``: it seems to begin with a member and to end with one."""

    data: bytes
    position: int
    starts: bool


@dataclass(slots=True)
class _Ahead:
    """What came out of a piece: the first events, those still to be made, and the chain to go on with."""

    events: Iterator[Event]
    chain: MemberChain


def _decode_piece(codec: Codec, piece: _Piece) -> _Ahead:
    chain = MemberChain(codec, piece.position)
    rest = chain.feed(piece.data)
    done: list[Event] = []
    size = 0
    for event in rest:
        done.append(event)
        if not isinstance(event, int):
            size += len(event)
            if size >= _AHEAD:
                break
    return _Ahead(concatenated(done, rest), chain)


def _pieces(read: Read, codec: Codec) -> Iterator[_Piece]:
    """Cut the archive at likely starts of members, into pieces that fit into memory."""
    assert codec.landmark is not None
    buffer = bytearray()
    position = 0
    starts = True
    searched = _SHORTEST_PIECE
    while True:
        found = codec.landmark.search(buffer, searched)
        if found is not None:
            cut = found.start()
            found = None  # it would keep the buffer from being resized
            next_starts = True
        else:
            searched = max(len(buffer) - LANDMARK, searched)
            if len(buffer) >= _LONGEST_PIECE or (not starts and len(buffer) > STEP):
                starts = next_starts = False
                cut = searched
            elif data := read(READ):
                buffer += data
                continue
            else:
                break
        if cut:
            yield _Piece(bytes(memoryview(buffer)[:cut]), position, starts)
            del buffer[:cut]
            position += cut
        starts = next_starts
        searched = _SHORTEST_PIECE if starts else 0
    if buffer:
        yield _Piece(bytes(buffer), position, starts)
