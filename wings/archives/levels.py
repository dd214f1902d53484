"""What a compression level means for each engine (backup-drivers §2, zstd as the current reference daemon)."""

from wings.archives.formats import Compression, CompressionLevel

_ORDER = (
    CompressionLevel.STORE,
    CompressionLevel.BEST_SPEED,
    CompressionLevel.GOOD_SPEED,
    CompressionLevel.GOOD_COMPRESSION,
    CompressionLevel.BEST_COMPRESSION,
)

# STORE is the fastest setting where an engine has no "do not compress".
_NUMBERS = {
    Compression.NONE: (0, 0, 0, 0, 0),
    Compression.GZ: (0, 1, 4, 6, 9),
    Compression.XZ: (0, 1, 4, 6, 9),
    Compression.LZIP: (0, 1, 4, 6, 9),
    Compression.BZ2: (1, 1, 4, 6, 9),
    Compression.LZ4: (1, 1, 5, 8, 12),
    Compression.ZSTD: (1, 1, 8, 13, 19),
}


def level_number(compression: Compression, level: CompressionLevel) -> int:
    """The engine's own number for a level. Deflate (gzip, zip) counts as gz, LZMA2 (7z) as xz."""
    return _NUMBERS[compression][_ORDER.index(level)]
