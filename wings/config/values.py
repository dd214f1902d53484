"""The types that keys of the configuration have: a Python type and the parser that makes it."""

import ipaddress
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import PlainValidator

from wings.archives.formats import ArchiveFormat, CompressionLevel
from wings.config.parsers import (
    Address,
    CidrText,
    Decimal,
    IpText,
    MapNumber,
    Network,
    OneOf,
    PlainText,
    RateText,
    SecretText,
    SizeText,
    TrueOrFalse,
    UuidText,
    WholeNumber,
)
from wings.config.quantities import Rate, Secret, Size

_U32 = 2**32 - 1


class DiskLimiterMode(StrEnum):
    """How the disk limit of a server is enforced (cli-and-host §8)."""

    NONE = "none"
    BTRFS_SUBVOLUME = "btrfs_subvolume"
    ZFS_DATASET = "zfs_dataset"
    XFS_QUOTA = "xfs_quota"
    FUSE_QUOTA = "fuse_quota"


class ChunkCompression(StrEnum):
    """Compression of new ddup-bak chunks (config §7.2; ``zstd`` is a later addition)."""

    DEFLATE = "deflate"
    NONE = "none"
    GZIP = "gzip"
    BROTLI = "brotli"
    ZSTD = "zstd"


class RestoreMode(StrEnum):
    """What a restore does with the files that are there."""

    AUTO = "auto"
    STAGED = "staged"
    STRAIGHT = "straight"


class UnreadableFiles(StrEnum):
    """What a backup does about files it cannot read."""

    FAIL = "fail"
    SKIP = "skip"


Flag = Annotated[bool, PlainValidator(TrueOrFalse())]
Count = Annotated[int, PlainValidator(WholeNumber())]
AtLeastOne = Annotated[int, PlainValidator(WholeNumber(floor=1, note=", 0 counts as 1"))]
U32 = Annotated[int, PlainValidator(WholeNumber(0, _U32))]
Signed = Annotated[int, PlainValidator(WholeNumber(-(2**63), 2**63 - 1))]
ZstdLevel = Annotated[int, PlainValidator(WholeNumber(1, 22))]
Port = Annotated[int, PlainValidator(WholeNumber(0, 65535))]
Seconds = Annotated[int, PlainValidator(WholeNumber(unit="seconds"))]
AtLeastOneSecond = Annotated[int, PlainValidator(WholeNumber(unit="seconds", floor=1, note=", 0 counts as 1"))]
Milliseconds = Annotated[int, PlainValidator(WholeNumber(unit="milliseconds"))]
Microseconds = Annotated[int, PlainValidator(WholeNumber(unit="microseconds"))]
Days = Annotated[int, PlainValidator(WholeNumber(unit="days"))]
Mebibytes = Annotated[int, PlainValidator(WholeNumber(unit="MiB"))]
Bytes = Annotated[int, PlainValidator(WholeNumber(unit="bytes"))]
Percent = Annotated[int, PlainValidator(WholeNumber(unit="percent"))]
Multiplier = Annotated[float, PlainValidator(Decimal())]
MemoryKey = Annotated[int, PlainValidator(MapNumber())]
Text = Annotated[str, PlainValidator(PlainText())]
MapText = Annotated[str, PlainValidator(PlainText(lenient=True))]
SecretValue = Annotated[Secret, PlainValidator(SecretText())]
SecretMapValue = Annotated[Secret, PlainValidator(SecretText(lenient=True))]
NodeUuid = Annotated[UUID, PlainValidator(UuidText())]
Ip = Annotated[Address, PlainValidator(IpText())]
Cidr = Annotated[Network, PlainValidator(CidrText())]
ByteRate = Annotated[Rate, PlainValidator(RateText())]
ByteSize = Annotated[Size, PlainValidator(SizeText())]
Level = Annotated[CompressionLevel, PlainValidator(OneOf(CompressionLevel, CompressionLevel.BEST_SPEED))]
StoredFormat = Annotated[ArchiveFormat, PlainValidator(OneOf(ArchiveFormat, ArchiveFormat.TAR_GZ))]
Limiter = Annotated[DiskLimiterMode, PlainValidator(OneOf(DiskLimiterMode, DiskLimiterMode.NONE))]
Chunks = Annotated[ChunkCompression, PlainValidator(OneOf(ChunkCompression, ChunkCompression.DEFLATE))]
Restoring = Annotated[RestoreMode, PlainValidator(OneOf(RestoreMode, RestoreMode.AUTO))]
Unreadable = Annotated[UnreadableFiles, PlainValidator(OneOf(UnreadableFiles, UnreadableFiles.FAIL))]


def networks(*texts: str) -> tuple[Network, ...]:
    """Networks from text, for defaults."""
    return tuple(ipaddress.ip_network(text) for text in texts)
