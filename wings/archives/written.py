"""What writing an archive comes to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """A finished archive.

    ``size`` is its length in bytes and ``sha256`` its checksum in hex. ``files`` counts distinct entries that
    are not directories, ``entries`` all distinct ones, ``content_bytes`` what the files take when unpacked.
    """

    size: int
    sha256: str
    files: int
    entries: int
    content_bytes: int
