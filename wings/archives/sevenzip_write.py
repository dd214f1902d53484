"""Writing a 7z: solid folders of LZMA2, Unix modes, links, exact times (W-23, W-57).

Files come only from the source, never from a path, so the program 7zz cannot do it. LZMA2 blocks that
begin with a reset of the dictionary, as every stream of liblzma does, can be joined when the end mark of each but
the last is left out; so a folder is packed by several threads. Folders are small enough that taking one
file out of an archive is cheap. Large files that do not compress get a folder that stores them.
"""

import errno
import hashlib
import lzma
import stat
from collections.abc import Callable
from dataclasses import dataclass

from wings.archives.blocks import Block, BlockPipeline, Encoding, Pieces, SeekableSink, Sink
from wings.archives.deflate import crc32
from wings.archives.encoders import CHEAPEST_LZMA2, lzma2_filters, lzma_block_size
from wings.archives.entry import Content, Entry, EntryKind, Source
from wings.archives.filling import BlockFiller
from wings.archives.formats import Compression, CompressionLevel
from wings.archives.levels import level_number
from wings.archives.probing import STEP, Prober
from wings.archives.sevenzip_contents import SIGNATURE_SIZE, Filters, SevenZipContents, SolidFolder
from wings.archives.text_names import TextNames
from wings.archives.work import Work
from wings.archives.written import Written
from wings.errors import Unsupported

MIB = 1 << 20
SOLID = 32 * MIB  # a folder gets no further file beyond this size; one file may be larger
_PROBED_FROM = MIB  # files from this size on may get a folder of their own
_END_MARK = b"\0"  # the last byte of every LZMA2 stream
_READ_BACK = MIB

_KIND_BITS = {EntryKind.FILE: stat.S_IFREG, EntryKind.DIRECTORY: stat.S_IFDIR, EntryKind.SYMLINK: stat.S_IFLNK}
# Attributes of Windows, and the flag that says that the upper half holds a Unix mode (p7zip, 7-Zip since 21).
_READ_ONLY, _IS_DIRECTORY, _ARCHIVE, _UNIX = 0x01, 0x10, 0x20, 0x8000

# 7-Zip's level 1 has a dictionary of 256 KiB and looks only once or twice; this is liblzma's nearest.
_FASTEST: Filters = [
    {
        "id": lzma.FILTER_LZMA2,
        "dict_size": 256 << 10,
        "mode": lzma.MODE_FAST,
        "mf": lzma.MF_HC4,
        "nice_len": 32,
        "depth": 2,
    }
]


def write_seven_zip(source: Source, sink: Sink, *, level: CompressionLevel, threads: int, work: Work) -> Written:
    """Write all of ``source`` as one 7z. The sink must be a ``SeekableSink``, else ``Unsupported`` is raised.

    The first bytes of a 7z say where its end lies. They are written last, and for that reason alone the checksum is
    taken by reading the archive once more.
    """
    if not isinstance(sink, SeekableSink):
        raise Unsupported("a 7z archive cannot be written as a stream; choose another format for this storage")
    number = level_number(Compression.XZ, level)
    filters = _FASTEST if number <= 1 else lzma2_filters(number)
    contents = SevenZipContents()
    # At the fastest level the dictionary is small, so that little is lost by cutting a block into runs.
    least = 2 * STEP if number <= 1 else MIB
    encoding: Encoding[_Note] = Encoding(
        lzma_block_size(number), lambda: _encoder(filters, least), head=bytes(SIGNATURE_SIZE)
    )
    with BlockPipeline(sink, encoding, threads=threads, work=work, assemble=_assemble, checksum=False) as pipeline:
        writer = _SevenZipWriter(source, pipeline, work, contents, filters)
        writer.write()
        pipeline.drain()
        signature = contents.write(pipeline.size, pipeline.append)
        size, _ = pipeline.finish()
    sink.seek(0)
    sink.write(signature)
    return Written(size, _checksum(sink, size, work), writer.files, writer.entries, writer.content_bytes)


@dataclass(slots=True)
class _Note:
    """Whose content a block holds, and whether it is the last of it."""

    folder: SolidFolder
    last: bool


class _SevenZipWriter(BlockFiller[_Note]):
    """The calling thread's part: walks, reads, fills blocks and decides which folder a file goes to."""

    def __init__(
        self, source: Source, pipeline: BlockPipeline[_Note], work: Work, contents: SevenZipContents, filters: Filters
    ) -> None:
        super().__init__(source, pipeline, work)
        self._contents = contents
        self._filters = filters
        self._names = TextNames(source.report)
        self._prober = Prober(_PROBED_FROM)
        self._folder: SolidFolder | None = None
        self._begun = False  # whether a block of it was sent

    def write(self) -> None:
        """Send everything off."""
        self._store_all()
        self._close_folder()

    def _store_plain(self, entry: Entry) -> None:
        """The content of a link is its target."""
        self._begin_entry(entry)
        target = entry.target
        if not target:
            self._contents.no_content(directory=entry.kind is EntryKind.DIRECTORY)
            return
        folder = self._begin(len(target))
        if len(target) > self._limit - self._at:
            self._send()
        self._view[self._at : self._at + len(target)] = target
        self._at += len(target)
        self._contents.content(folder, len(target), crc32(target))

    def _store_file(self, entry: Entry, content: Content) -> None:
        self._begin_entry(entry)
        announced = entry.size
        if not announced:
            self._contents.no_content(directory=False)
            return
        size = crc = 0
        folder = self._begin(announced)
        if announced >= _PROBED_FROM:
            if self._limit - self._at < _PROBED_FROM:
                self._send()
            size = self._read(content, min(self._limit - self._at, announced))
            folder = self._settle(folder, size)
            crc = crc32(self._view[self._at - size : self._at])
        while size < announced:
            if self._at == self._limit:
                self._send()
            wanted = min(self._limit - self._at, announced - size)
            got = self._read(content, wanted)
            crc = crc32(self._view[self._at - got : self._at], crc)
            size += got
            if got < wanted:
                break
        if size:
            self._contents.content(folder, size, crc)
        else:
            self._contents.no_content(directory=False)
        self.content_bytes += size
        if size < announced:
            self._cut(entry, size)

    def _begin_entry(self, entry: Entry) -> None:
        self._contents.entry(self._names.of(entry.path), _attributes(entry), entry.mtime_ns)

    def _begin(self, size: int) -> SolidFolder:
        """The folder that takes ``size`` bytes more, a new one where the current one is full."""
        folder = self._folder
        if folder is None or folder.filters is None or (folder.size and folder.size + size > SOLID):
            self._close_folder()
            folder = self._folder = SolidFolder(self._filters)
        return folder

    def _settle(self, folder: SolidFolder, size: int) -> SolidFolder:
        """Move the file whose first ``size`` bytes were read to a folder that stores it, if that is best."""
        start, end = self._at - size, self._at
        if size < _PROBED_FROM or any(
            compressible for _, _, compressible in self._prober.runs(self._block.buffer, start, end)
        ):
            return folder
        data = bytes(self._view[start:end])
        self._at = start
        self._close_folder()
        folder = self._folder = SolidFolder(None)
        self._view[:size] = data
        self._at = size
        return folder

    def _close_folder(self) -> None:
        if self._at or self._begun:
            self._send(last=True)
        self._folder = None
        self._begun = False

    def _send(self, *, last: bool = False) -> None:
        assert self._folder is not None
        self._hand_over(_Note(self._folder, last))
        self._begun = True
        self._next_block()


def _encoder(filters: Filters, least: int) -> Callable[[Block[_Note]], Pieces]:
    """One encoding thread's part: LZMA2 without its end mark."""
    prober = Prober(least)

    def encode(block: Block[_Note]) -> Pieces:
        assert block.note is not None
        with memoryview(block.buffer) as view:
            if block.note.folder.filters is None:
                return [memoryview(block.buffer)[: block.length]]
            pieces = []
            for start, end, compressible in prober.runs(block.buffer, 0, block.length):
                if start < end:
                    chosen = [*filters] if compressible else CHEAPEST_LZMA2
                    packed = lzma.compress(view[start:end], lzma.FORMAT_RAW, filters=chosen)
                    assert packed.endswith(_END_MARK)
                    pieces.append(memoryview(packed)[: -len(_END_MARK)])
            return pieces

    return encode


def _assemble(block: Block[_Note], start: int, position: int) -> Pieces:
    """The writing thread's part: end each folder, and sum up what became of it."""
    note = block.note
    assert note is not None
    pieces = list(block.pieces)
    if note.last and note.folder.filters is not None:
        pieces.append(_END_MARK)
    note.folder.packed += sum(map(len, pieces))
    return pieces


def _attributes(entry: Entry) -> int:
    mode = _KIND_BITS[entry.kind] | entry.mode & 0o7777
    attributes = _IS_DIRECTORY if entry.kind is EntryKind.DIRECTORY else _ARCHIVE
    if not mode & 0o222:
        attributes |= _READ_ONLY
    return mode << 16 | _UNIX | attributes


def _checksum(sink: SeekableSink, size: int, work: Work) -> str:
    digest = hashlib.sha256()
    sink.seek(0)
    left = size
    while left and (data := sink.read(min(left, _READ_BACK))):
        work.check()
        digest.update(data)
        left -= len(data)
    if left:
        raise OSError(errno.EIO, "what was written cannot be read back")
    return digest.hexdigest()
