"""Writing an archive in any of the stored formats: the one entry point."""

from wings.archives.blocks import Block, BlockPipeline, Encoding, Pieces, SeekableSink, Sink
from wings.archives.encoders import encoding_for
from wings.archives.entry import Source
from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.archives.index import IndexWriter
from wings.archives.sevenzip_write import write_seven_zip
from wings.archives.tar_write import write_tar
from wings.archives.work import Work
from wings.archives.written import Written
from wings.archives.zip_write import write_zip

__all__ = ["SeekableSink", "Sink", "Written", "write_archive"]


def write_archive(
    source: Source,
    sink: Sink,
    *,
    format: ArchiveFormat,
    level: CompressionLevel,
    threads: int,
    work: Work,
    index: IndexWriter | None = None,
) -> Written:
    """Write all of ``source`` to ``sink``, compressing in ``threads`` threads beside the caller's and one that writes.

    No thread outlives the call. Raises what the source, the sink or an engine raised, ``Cancelled`` when
    ``work`` says so; the sink then holds a piece of an archive that is the caller's to remove. ``index``,
    for tar formats only, learns of every entry and block; the caller finishes it. 7z needs a ``SeekableSink``,
    else ``Unsupported`` is raised.
    """
    compression = format.compression
    if compression is not None:
        return _tar(source, sink, encoding_for(compression, level), threads, work, index)
    if index is not None:
        raise ValueError(f"{format} has its own table of contents and takes no index")
    write = write_zip if format is ArchiveFormat.ZIP else write_seven_zip
    return write(source, sink, level=level, threads=threads, work=work)


def _tar(
    source: Source, sink: Sink, encoding: Encoding[None], threads: int, work: Work, index: IndexWriter | None
) -> Written:
    def note(block: Block[None], start: int, position: int) -> Pieces:
        if index is not None:
            index.block(start, position)
        return block.pieces

    with BlockPipeline(sink, encoding, threads=threads, work=work, assemble=note) as pipeline:
        stored = write_tar(source, pipeline, work, index)
        size, sha256 = pipeline.finish()
    return Written(size, sha256, stored.files, stored.entries, stored.content_bytes)
