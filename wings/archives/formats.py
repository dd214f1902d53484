"""Names, extensions, MIME types and compression levels of the archive formats (backup-drivers §2)."""

from dataclasses import dataclass
from enum import StrEnum


class Compression(StrEnum):
    """A compression stage, named as on the wire."""

    NONE = "none"
    GZ = "gz"
    XZ = "xz"
    LZIP = "lzip"
    BZ2 = "bz2"
    LZ4 = "lz4"
    ZSTD = "zstd"


class CompressionLevel(StrEnum):
    """How much time to spend on size."""

    BEST_SPEED = "best_speed"
    GOOD_SPEED = "good_speed"
    GOOD_COMPRESSION = "good_compression"
    BEST_COMPRESSION = "best_compression"
    STORE = "none"  # Pterodactyl's "none": gzip level 0, other formats at their fastest (config §11)


class ArchiveFormat(StrEnum):
    """Formats a stored archive can have, in the order in which a backup is looked up (backup-drivers §18.1)."""

    TAR = "tar"
    TAR_GZ = "tar_gz"
    TAR_XZ = "tar_xz"
    TAR_LZIP = "tar_lzip"
    TAR_BZ2 = "tar_bz2"
    TAR_LZ4 = "tar_lz4"
    TAR_ZSTD = "tar_zstd"
    ZIP = "zip"
    SEVEN_ZIP = "seven_zip"

    @property
    def extension(self) -> str:
        """File name extension without the leading dot."""
        return _FACTS[self].extension

    @property
    def mime(self) -> str:
        """Value for ``Content-Type``."""
        return _FACTS[self].mime

    @property
    def compression(self) -> Compression | None:
        """The stage around the tar stream; ``None`` for zip and 7z, which compress inside."""
        return _FACTS[self].compression

    @property
    def is_tar(self) -> bool:
        """Whether the container is tar."""
        return self.compression is not None


@dataclass(frozen=True, slots=True)
class _Facts:
    extension: str
    mime: str
    compression: Compression | None


_FACTS = {
    ArchiveFormat.TAR: _Facts("tar", "application/x-tar", Compression.NONE),
    ArchiveFormat.TAR_GZ: _Facts("tar.gz", "application/gzip", Compression.GZ),
    ArchiveFormat.TAR_XZ: _Facts("tar.xz", "application/x-xz", Compression.XZ),
    ArchiveFormat.TAR_LZIP: _Facts("tar.lz", "application/x-lzip", Compression.LZIP),
    ArchiveFormat.TAR_BZ2: _Facts("tar.bz2", "application/x-bzip2", Compression.BZ2),
    ArchiveFormat.TAR_LZ4: _Facts("tar.lz4", "application/x-lz4", Compression.LZ4),
    ArchiveFormat.TAR_ZSTD: _Facts("tar.zst", "application/zstd", Compression.ZSTD),
    ArchiveFormat.ZIP: _Facts("zip", "application/zip", None),
    ArchiveFormat.SEVEN_ZIP: _Facts("7z", "application/x-7z-compressed", None),
}
