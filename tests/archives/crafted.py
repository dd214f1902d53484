"""Archives made byte by byte, as no honest program would make them: tar, zip and 7z with any field at will."""

import io
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass

BLOCK = 512
END = bytes(2 * BLOCK)


# tar


def header(name: bytes = b"name", **fields: bytes) -> bytes:
    """A tar header with any field put in as raw bytes, and a right checksum."""
    places = {
        "mode": (100, b"0000644\0"),
        "size": (124, b"00000000000\0"),
        "mtime": (136, b"00000000000\0"),
        "kind": (156, b"0"),
        "link": (157, b""),
        "magic": (257, b"ustar\x0000"),
        "device": (329, b"0000001\x000000003\0"),
        "prefix": (345, b""),
        "sparse": (386, b""),
    }
    block = bytearray(BLOCK)
    block[: len(name)] = name
    for key, (at, default) in places.items():
        value = fields.get(key, default)
        block[at : at + len(value)] = value
    assert len(block) == BLOCK
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def file(name: bytes, data: bytes, **fields: bytes) -> bytes:
    """A tar entry with content."""
    return header(name, size=b"%011o\0" % len(data), **fields) + padded(data)


def padded(data: bytes) -> bytes:
    """Filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def pax(records: dict[bytes, bytes] | list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """A pax header for the next entry."""
    data = b""
    for key, value in records.items() if isinstance(records, dict) else records:
        body = b" " + key + b"=" + value + b"\n"
        size = len(body) + 1
        while len(b"%d" % size) + len(body) != size:
            size = len(b"%d" % size) + len(body)
        data += b"%d" % size + body
    return file(b"././@PaxHeader", data, kind=kind)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's header for a name (``L``) or a link (``K``) that is too long."""
    return file(b"././@LongLink", name + b"\0", kind=kind)


# zip and 7z


@dataclass(frozen=True)
class Member:
    """An entry for ``make_zip`` and ``make_7z``; ``mode`` with its type bits, 0 for none at all."""

    name: str
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644


def make_zip(*members: Member, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive; names may hold what ``zipfile`` would not write, such as NUL."""
    out = io.BytesIO()
    swaps = []
    with zipfile.ZipFile(out, "w") as writer:
        for number, member in enumerate(members):
            raw = member.name.encode()
            name = raw
            if b"\0" in raw:
                name = b"\x01%d" % number + b"\x02" * (len(raw) - 1 - len(b"%d" % number))
                swaps.append((name, raw))
            info = zipfile.ZipInfo(name.decode(), (2020, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = member.mode << 16
            info.compress_type = method
            writer.writestr(info, member.data)
    data = out.getvalue()
    for name, raw in swaps:
        data = data.replace(name, raw)
    return data


def make_7z(*members: Member, anti: bool = False, crcs: bool = True) -> bytes:
    """A 7z archive with everything stored in one folder and a plain header (7zFormat.txt of 7-Zip)."""
    contents = [one.data for one in members if one.data]
    packed = b"".join(contents)
    parts = [b"\x01"]
    if contents:
        parts += [
            b"\x04\x06" + number(0) + number(1) + b"\x09" + number(len(packed)) + b"\0",
            b"\x07\x0b" + number(1) + b"\0" + number(1) + b"\x01\x00",
            b"\x0c" + number(len(packed)) + b"\0",
            b"\x08\x0d" + number(len(contents)),
            b"\x09" + b"".join(number(len(one)) for one in contents[:-1]) if len(contents) > 1 else b"",
            b"\x0a\x01" + b"".join(struct.pack("<I", zlib.crc32(one)) for one in contents) if crcs else b"",
            b"\0\0",
        ]
    empty = [not one.data for one in members]
    no_directory = [not stat.S_ISDIR(one.mode) for one in members if not one.data]
    names = b"\0" + b"".join(one.name.encode("utf-16-le", "surrogatepass") + b"\0\0" for one in members)
    attributes = b"\x01\0" + b"".join(struct.pack("<I", one.mode << 16 | 0x8000 if one.mode else 0) for one in members)
    parts += [b"\x05", number(len(members))]
    if any(empty):
        parts += [_property(0x0E, bits(empty)), _property(0x0F, bits(no_directory))]
        if anti:
            parts.append(_property(0x10, bits([not one for one in no_directory])))
    parts += [_property(0x11, names), _property(0x15, attributes), b"\0\0"]
    return seven_zip(packed, b"".join(parts))


def seven_zip(packed: bytes, parsed_header: bytes) -> bytes:
    """The frame of a 7z archive around packed streams and a header."""
    start = struct.pack("<QQI", len(packed), len(parsed_header), zlib.crc32(parsed_header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + packed + parsed_header


def number(value: int) -> bytes:
    """7z's variable-length number, always in its longest form but for small values."""
    return bytes([value]) if value < 0x80 else b"\xff" + struct.pack("<Q", value)


def bits(values: list[bool]) -> bytes:
    """A bit vector, highest bit first."""
    padded_values = values + [False] * (-len(values) % 8)
    return bytes(
        sum(bit << (7 - at) for at, bit in enumerate(padded_values[start : start + 8]))
        for start in range(0, len(padded_values), 8)
    )


def _property(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + number(len(data)) + data
