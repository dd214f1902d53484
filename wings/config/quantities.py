"""Rates and sizes that may be written with a unit, and secrets: values that remember how they were written."""

import re
from dataclasses import dataclass

from pydantic import SecretStr

MEBIBYTE = 1 << 20

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_WITH_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?i?B)(?P<rate>/s)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit for bytes over time. A plain number counts MiB per second, text with a unit bytes per second.

    ``written`` is what goes back into the file.
    """

    written: int | str

    @property
    def bytes_per_second(self) -> int:
        """The limit in bytes per second; 0 means no limit."""
        if isinstance(self.written, int):
            return self.written * MEBIBYTE
        return parse_bytes(self.written, rate=True)


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, written plainly or with a unit. ``written`` is what goes back into the file."""

    written: int | str

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        return self.written if isinstance(self.written, int) else parse_bytes(self.written)


def parse_bytes(text: str, *, rate: bool = False) -> int:
    """Bytes in text such as ``50MiB``, ``10 MB`` or ``1.5 GiB``; with ``rate`` also ``50MiB/s``.

    Raises ``ValueError`` for anything else. A positive amount is never rounded down to 0, which would
    mean "no limit".
    """
    match = _WITH_UNIT.fullmatch(text.strip())
    if match is None or (match["rate"] and not rate):
        raise ValueError("not an amount of bytes with a unit")
    number, unit = match[1], _UNITS[match[2].lower()]
    whole = int(number) * unit if number.isdigit() else int(float(number) * unit)
    return max(whole, 1) if float(number) > 0 else 0


class Secret(SecretStr):
    """A value that no representation shows; ``get_secret_value()`` gives it.

    ``written`` is what the file holds, which differs where the file names a source instead of the value:
    ``file:///run/secrets/token`` or ``$TOKEN`` (config §11).
    """

    def __init__(self, value: str, written: str | None = None) -> None:
        super().__init__(value)
        self.written = value if written is None else written

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Secret)
            and self.get_secret_value() == other.get_secret_value()
            and self.written == other.written
        )

    def __hash__(self) -> int:
        return hash((self.get_secret_value(), self.written))
