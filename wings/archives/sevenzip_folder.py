"""Unpacking one folder of a 7z archive as a stream, in bounded memory."""

import lzma
from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

from wings.archives.chains import READ, STEP
from wings.archives.decoders import ArchiveFile
from wings.archives.formats import Compression
from wings.archives.members import CODECS, Member
from wings.archives.raw_members import (
    DATA_ERRORS,
    Copied,
    Deflate64,
    bzip2,
    deflate,
    lzma1_filter,
    lzma2_filter,
    lzma_member,
)
from wings.archives.sevenzip_listing import Coder, Folder
from wings.archives.work import Work
from wings.errors import Damaged, Unsupported

_DELTA = b"\x03"
_LZMA1 = b"\x03\x01\x01"
_LZMA2 = b"\x21"
_PLAIN: dict[bytes, Callable[[], Member]] = {
    b"\x00": Copied,
    b"\x04\x01\x08": deflate,
    b"\x04\x01\x09": Deflate64,
    b"\x04\x02\x02": bzip2,
    b"\x04\xf7\x11\x01": lambda: CODECS[Compression.ZSTD].open(b""),
}
_UNSUPPORTED = {
    b"\x03\x04\x01": "PPMd",  # its library does not survive damaged data
    b"\x04\xf7\x11\x02": "Brotli",
    b"\x04\xf7\x11\x04": "LZ4",
    b"\x0a": "ARM64",
    b"\x0b": "RISCV",
}
_BRANCHES = {
    b"\x03\x03\x01\x03": "BCJDecoder",
    b"\x04": "BCJDecoder",
    b"\x03\x03\x02\x05": "PPCDecoder",
    b"\x05": "PPCDecoder",
    b"\x03\x03\x04\x01": "IA64Decoder",
    b"\x06": "IA64Decoder",
    b"\x03\x03\x05\x01": "ARMDecoder",
    b"\x07": "ARMDecoder",
    b"\x03\x03\x07\x01": "ARMTDecoder",
    b"\x08": "ARMTDecoder",
    b"\x03\x03\x08\x05": "SparcDecoder",
    b"\x09": "SparcDecoder",
}
"""Filters for machine code, by their method ids, and the classes of ``bcj`` that undo them."""


class FolderStream:
    """The output of a folder from its start. Reads the archive at its own position, so that several may be open."""

    def __init__(self, file: ArchiveFile, folder: Folder, work: Work) -> None:
        """Raises ``Unsupported`` for coders that cannot be undone here or need too much memory."""
        self._output = _build(_packed(file, folder, work), folder)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; ``b""`` at the end. Raises ``Damaged`` if the data ends early or cannot be unpacked."""
        if not self._rest:
            self._rest = next(self._output, b"")
        if size >= len(self._rest):
            piece, self._rest = self._rest, b""
        else:
            piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        while size:
            piece = self.read(min(size, STEP))
            if not piece:
                raise Damaged("a folder of the 7z archive is shorter than its files")
            size -= len(piece)


def unpack_folder(file: ArchiveFile, folder: Folder, work: Work) -> bytes:
    """All of a small folder at once."""
    stream = FolderStream(file, folder, work)
    parts = []
    while part := stream.read(STEP):
        parts.append(part)
    return b"".join(parts)


def _packed(file: ArchiveFile, folder: Folder, work: Work) -> Iterator[bytes]:
    at, left = folder.position, folder.packed
    while left:
        work.check()
        file.seek(at)
        data = file.read(min(left, READ))
        if not data:
            _damaged(folder, "its packed data ends too early")
        at += len(data)
        left -= len(data)
        yield data


def _build(packed: Iterator[bytes], folder: Folder) -> Iterator[bytes]:
    stream = packed
    coders = list(zip(folder.coders, folder.sizes, strict=True))
    while coders:
        coder, size = coders.pop(0)
        if coder.method in _BRANCHES:
            stream = _undo_branches(stream, folder, _BRANCHES[coder.method], size)
            continue
        filters = _lzma_filters(coder)
        while filters and coders and coders[0][0].method == _DELTA:
            # Delta is only found behind LZMA, whose library undoes both.
            (delta, size), *coders = coders
            filters.insert(0, {"id": lzma.FILTER_DELTA, "dist": delta.properties[0] + 1 if delta.properties else 1})
        stream = _undo(stream, folder, lzma_member(filters) if filters else _member(coder), size)
    return stream


def _lzma_filters(coder: Coder) -> list[dict[str, int]]:
    try:
        if coder.method == _LZMA1:
            return [lzma1_filter(coder.properties)]
        if coder.method == _LZMA2:
            return [lzma2_filter(coder.properties)]
    except ValueError as error:
        raise Damaged(f"the 7z archive is damaged: {error}") from error
    return []


def _member(coder: Coder) -> Member:
    if coder.method in _PLAIN:
        return _PLAIN[coder.method]()
    name = _UNSUPPORTED.get(coder.method, coder.method.hex())
    raise Unsupported(f"the 7z archive is packed with the method {name}, which cannot be read here")


def _undo(stream: Iterator[bytes], folder: Folder, member: Member, size: int) -> Iterator[bytes]:
    left = size
    while left:
        data = b""
        if member.needs_input:
            data = next(stream, b"")
            if not data or member.eof:
                _damaged(folder, "it unpacks to less than announced")
        try:
            out = member.decompress(data, min(left, STEP))
        except DATA_ERRORS as error:
            _damaged(folder, str(error))
        if len(out) > left:
            _damaged(folder, "it unpacks to more than announced")
        left -= len(out)
        if out:
            yield out
        elif member.eof:
            _damaged(folder, "it unpacks to less than announced")


def _undo_branches(stream: Iterator[bytes], folder: Folder, name: str, size: int) -> Iterator[bytes]:
    import bcj  # noqa: PLC0415  # comes with py7zr, needed for executables only

    filter: _BranchDecoder = getattr(bcj, name)(size)
    left = size
    while left:
        data = next(stream, b"")
        out = filter.decode(data)
        if len(out) > left or (not out and not data):
            _damaged(folder, "its size is wrong")
        left -= len(out)
        if out:
            yield out


class _BranchDecoder(Protocol):
    def decode(self, data: bytes) -> bytes: ...


def _damaged(folder: Folder, what: str) -> NoReturn:
    raise Damaged(f"the 7z archive is damaged in the part that starts at byte {folder.position}: {what}")
