"""The level table of backup-drivers §2."""

import pytest

from wings.archives.formats import Compression, CompressionLevel
from wings.archives.levels import level_number

TABLE = {
    CompressionLevel.BEST_SPEED: {"gz": 1, "xz": 1, "lzip": 1, "bz2": 1, "lz4": 1, "zstd": 1},
    CompressionLevel.GOOD_SPEED: {"gz": 4, "xz": 4, "lzip": 4, "bz2": 4, "lz4": 5, "zstd": 8},
    CompressionLevel.GOOD_COMPRESSION: {"gz": 6, "xz": 6, "lzip": 6, "bz2": 6, "lz4": 8, "zstd": 13},
    CompressionLevel.BEST_COMPRESSION: {"gz": 9, "xz": 9, "lzip": 9, "bz2": 9, "lz4": 12, "zstd": 19},
}


@pytest.mark.parametrize("level", TABLE)
def test_levels_mean_what_the_reference_means(level: CompressionLevel) -> None:
    assert {name: level_number(Compression(name), level) for name in TABLE[level]} == TABLE[level]


def test_store_is_gzip_without_compression_and_the_fastest_elsewhere() -> None:
    """Pterodactyl's ``none`` (config §11)."""
    assert level_number(Compression.GZ, CompressionLevel.STORE) == 0
    for compression in (Compression.BZ2, Compression.LZ4, Compression.ZSTD):
        fastest = level_number(compression, CompressionLevel.BEST_SPEED)
        assert level_number(compression, CompressionLevel.STORE) == fastest
