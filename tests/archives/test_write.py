"""Writing in every format: results, errors, cancellation, threads, memory."""

import gzip
import io
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archives.listed import Broken, Counted, Listed, MemorySink, StreamSink, directory, file, symlink
from tests.archives.test_encoders import DECODERS, mixed, noise, text
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.formats import ArchiveFormat, Compression, CompressionLevel
from wings.archives.index import IndexReader, IndexWriter
from wings.archives.work import Unwatched
from wings.archives.write import Written, write_archive
from wings.errors import Cancelled, NoSpace

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
BEST_SPEED = CompressionLevel.BEST_SPEED
TARS = [one for one in ArchiveFormat if one.is_tar]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


MIXED = mixed(200_000)
LARGE = bytes(5 * MIB)  # more than any block, and quick to pack
CONTENT_BYTES = 350_000 + 5 * MIB


def tree() -> Listed:
    return Listed(
        [
            directory(b"d"),
            file(b"d/mixed", MIXED),
            symlink(b"d/link", b"../x"),
            file(b"d/large", LARGE),
            file(b"empty"),
            file(b"noise", noise(150_000)),
        ]
    )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("format", ArchiveFormat)
def test_what_is_reported_is_what_was_written(format: ArchiveFormat, threads: int) -> None:
    """W-11: size and SHA-256 come from writing. Only 7z, whose first bytes are known last, is read back."""
    sink = MemorySink()
    work = Counted()
    written = write_archive(tree(), sink, format=format, level=BEST_SPEED, threads=threads, work=work)
    assert written == Written(len(sink.data), sink.sha256, 5, 6, CONTENT_BYTES)
    assert (work.bytes, work.files) == (CONTENT_BYTES, 5)
    assert sink.was_read is (format is ArchiveFormat.SEVEN_ZIP)


@pytest.mark.parametrize("format", TARS)
def test_every_tar_holds_the_same_tar(format: ArchiveFormat) -> None:
    sink = MemorySink()
    write_archive(tree(), sink, format=format, level=BEST_SPEED, threads=2, work=Unwatched())
    assert format.compression is not None
    plain = DECODERS[format.compression](sink.data)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert archive.getnames() == ["d", "d/mixed", "d/link", "d/large", "empty", "noise"]
        stored = archive.extractfile("d/mixed")
        assert stored is not None
        assert stored.read() == MIXED


@pytest.mark.parametrize("format", [one for one in ArchiveFormat if one is not ArchiveFormat.TAR])
def test_every_format_is_packed_by_several_threads(format: ArchiveFormat) -> None:
    """W-24: bz2, lz4 and zip too."""
    seen = []

    def items() -> Iterator[Item]:
        yield file(b"first", bytes(500_000))
        seen.extend(one.name for one in threading.enumerate())

    write_archive(Listed(items()), MemorySink(), format=format, level=BEST_SPEED, threads=3, work=Unwatched())
    assert {f"archive-encode-{number}" for number in range(3)} <= set(seen)


@pytest.mark.parametrize("format", ArchiveFormat)
def test_a_full_disk_is_reported(format: ArchiveFormat) -> None:
    """P1: wherever it happens, also in what is written last."""
    sizes = MemorySink()
    whole = write_archive(tree(), sizes, format=format, level=BEST_SPEED, threads=2, work=Unwatched()).size

    class Full(MemorySink):
        limit = 0

        def write(self, data: bytes | bytearray | memoryview, /) -> None:
            super().write(data)
            if len(self.data) > self.limit:
                raise NoSpace("the disk is full")

    for limit in (0, whole // 2, whole - 1):
        sink = Full()
        sink.limit = limit
        with pytest.raises(NoSpace):
            write_archive(tree(), sink, format=format, level=BEST_SPEED, threads=2, work=Unwatched())


@pytest.mark.parametrize("format", ArchiveFormat)
def test_cancelling_ends_it_in_the_middle(format: ArchiveFormat) -> None:
    """P7: within a block or so."""
    taken = 0

    def endless() -> Iterator[Item]:
        nonlocal taken
        while True:
            taken += 1
            yield file(b"%d" % taken, bytes(500_000))

    with pytest.raises(Cancelled):
        write_archive(
            Listed(endless()), MemorySink(), format=format, level=BEST_SPEED, threads=2, work=Counted(limit=20 * MIB)
        )
    assert 40 < taken < 60


@pytest.mark.parametrize("format", ArchiveFormat)
def test_what_the_source_raises_passes_through(format: ArchiveFormat) -> None:
    broken = Broken()
    items = [file(b"a", text(50_000)), Item(Entry(b"b", EntryKind.FILE, 0o644, 0, 2 * MIB), broken)]
    with pytest.raises(OSError, match="disk is broken"):
        write_archive(Listed(items), MemorySink(), format=format, level=BEST_SPEED, threads=2, work=Unwatched())
    assert broken.closed


@pytest.mark.parametrize("format", TARS)
def test_one_file_costs_the_blocks_it_lies_in(format: ArchiveFormat, tmp_path: Path) -> None:
    """The index leads to a few blocks, and from these alone the file comes back."""
    source = Listed(file(b"d%d/f%d" % (n // 10, n), text(n * 1500 + 1, n)) for n in range(60))
    sink = MemorySink()
    with IndexWriter(tmp_path / "index", format) as index:
        written = write_archive(source, sink, format=format, level=BEST_SPEED, threads=2, work=Unwatched(), index=index)
        index.finish(archive_size=written.size, archive_sha256=written.sha256)
    compression = format.compression
    assert compression is not None
    with IndexReader(tmp_path / "index") as reader:
        found = reader.stat(b"d5/f57")
        blocks = reader.blocks_for(found.offset, found.entry.size)
        assert len(blocks) <= 2
        packed = sink.data[blocks[0].position : blocks[-1].position + blocks[-1].size]
        if compression is Compression.LZ4:
            packed = sink.data[:7] + packed
            if not packed.endswith(sink.data[-4:]):
                packed += bytes(4)
        plain = DECODERS[compression](packed)
        start = found.offset - blocks[0].start
        assert plain[start : start + found.entry.size] == text(57 * 1500 + 1, 57)


def test_an_index_is_for_tars_only(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", ArchiveFormat.TAR) as index, pytest.raises(ValueError, match="no index"):
        write_archive(
            tree(),
            MemorySink(),
            format=ArchiveFormat.ZIP,
            level=BEST_SPEED,
            threads=1,
            work=Unwatched(),
            index=index,
        )


def test_no_format_but_7z_needs_a_sink_that_goes_back() -> None:
    for format in ArchiveFormat:
        if format is not ArchiveFormat.SEVEN_ZIP:
            sink = StreamSink()
            written = write_archive(tree(), sink, format=format, level=BEST_SPEED, threads=1, work=Unwatched())
            assert sink.size == written.size


def test_gzip_none_is_a_gzip_that_is_not_compressed() -> None:
    """Pterodactyl's compression level ``none``."""
    sink = MemorySink()
    write_archive(tree(), sink, format=ArchiveFormat.TAR_GZ, level=CompressionLevel.STORE, threads=2, work=Unwatched())
    assert CONTENT_BYTES < len(sink.data) < CONTENT_BYTES * 1.01
    assert len(gzip.decompress(sink.data)) % 10240 == 0


# Those whose engines take a second for what does not compress.
DEAR = (ArchiveFormat.TAR_XZ, ArchiveFormat.TAR_LZIP, ArchiveFormat.TAR_BZ2, ArchiveFormat.SEVEN_ZIP)

MEASURE = """
import resource, sys
from tests.archives.listed import Listed, StreamSink, Zeros, file
from tests.archives.test_encoders import noise
from wings.archives.entry import Entry, EntryKind, Item
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.work import Unwatched
from wings.archives.write import write_archive

class Null(StreamSink):
    def seek(self, offset, whence=0): self.left = self.size
    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)

def items(size, count, pieces):
    yield Item(Entry(b"zeros", EntryKind.FILE, 0o644, 0, size), Zeros(size))
    piece = noise(1 << 20)
    for number in range(pieces):
        yield file(b"noise%d" % number, piece)
    for number in range(count):
        yield file(b"d%d/f%d" % (number // 100, number))

format, size, count, pieces = sys.argv[1], *map(int, sys.argv[2:])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
work, source = Unwatched(), Listed(items(size, count, pieces))
write_archive(source, Null(), format=ArchiveFormat(format), level=CompressionLevel.BEST_SPEED, threads=4, work=work)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def memory_used(format: ArchiveFormat, size: int, count: int) -> int:
    """MiB that writing took at its peak, in a process of its own."""
    pieces = 4 if format in DEAR else 30
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, format, str(size), str(count), str(pieces)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return int(done.stdout) >> 10


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("format", ArchiveFormat)
def test_memory_depends_neither_on_the_size_nor_on_the_number_of_files(format: ArchiveFormat) -> None:
    """P6: at four threads below 110 MiB; 1 GiB takes no more than 64 MiB does, 50,000 files some MiB more."""
    small = memory_used(format, 64 * MIB, 10)
    large = memory_used(format, (256 if format in DEAR else 1024) * MIB, 10)
    many = memory_used(format, 64 * MIB, 50_000)
    assert max(small, large) < 110
    assert large < small + 16
    assert many < small + 20
