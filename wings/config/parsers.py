"""Parsers for single values: each turns what was written into a typed value, or says what is allowed.

A parser accepts a ``Scalar`` from a file and the equal Python value (from JSON, or when a section is built in
code). It never guesses: ``yes`` is no boolean, ``0x10`` no number, and quotes make text of anything.
"""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable
from uuid import UUID

from pydantic_core import PydanticCustomError

from wings.config.quantities import Rate, Secret, Size, parse_bytes
from wings.config.tree import BOOLEANS, ListNode, MapNode, Scalar

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_WHOLE = re.compile(r"[-+]?[0-9]{1,20}")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_U64 = 2**64 - 1
_SHOWN = 60  # characters of a wrong value that a message repeats


@runtime_checkable
class Parser(Protocol):
    """What all parsers below are: callable, and able to say in words what they accept."""

    @property
    def allowed(self) -> str:
        """For messages and the reference, after "expected"."""

    def __call__(self, value: object) -> object:
        """The typed value, or ``PydanticCustomError``."""


def wrong(value: object, allowed: str) -> PydanticCustomError:
    """The error for a value that does not fit; repeats the value, so never use it for a secret."""
    return PydanticCustomError(
        "setting", "{shown} does not fit, expected {allowed}", {"shown": _shown(value), "allowed": allowed}
    )


def kind_of(value: object) -> str:
    """What a value is, in words and without its content."""
    if value is None or (isinstance(value, Scalar) and value.is_null):
        return "an empty value"
    if isinstance(value, (dict, MapNode)):
        return "a mapping"
    if isinstance(value, (list, tuple, ListNode)):
        return "a list"
    return "a single value"


def _shown(value: object) -> str:
    if not isinstance(value, (Scalar, str, int, float)):
        return kind_of(value)
    if isinstance(value, Scalar):
        if value.is_null:
            return kind_of(value)
        text = value.text if value.plain else f"'{value.text}' (text, because of the quotes)"
    else:
        text = repr(value)
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


@dataclass(frozen=True)
class TrueOrFalse:
    """Booleans of the core schema."""

    allowed = "true or false"

    def __call__(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, Scalar) and value.plain and value.text in BOOLEANS:
            return BOOLEANS[value.text]
        raise wrong(value, self.allowed)


@dataclass(frozen=True)
class WholeNumber:
    """Decimal integers between two bounds. ``floor``: smaller allowed values count as this one."""

    lowest: int = 0
    highest: int = _U64
    unit: str = ""
    floor: int | None = None
    note: str = ""

    @property
    def allowed(self) -> str:
        of = f" of {self.unit}" if self.unit else ""
        if self.highest == _U64:
            bounds = "" if self.lowest == 0 else f" from {self.lowest} up"
        else:
            bounds = f" from {self.lowest} to {self.highest}"
        return f"a whole number{of}{bounds}{self.note}"

    def __call__(self, value: object) -> int:
        number: int | None = None
        if isinstance(value, Scalar):
            number = int(value.text) if value.plain and _WHOLE.fullmatch(value.text) else None
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        if number is None or not self.lowest <= number <= self.highest:
            raise wrong(value, self.allowed)
        return number if self.floor is None else max(number, self.floor)


@dataclass(frozen=True)
class MapNumber:
    """Integer keys of a mapping: numbers in YAML, text in JSON."""

    allowed = "a whole number"

    def __call__(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
            return int(value)
        raise wrong(value, self.allowed)


@dataclass(frozen=True)
class Decimal:
    """Finite floats from 0 up; integers are accepted."""

    allowed = "a number from 0 up, such as 1.05"

    def __call__(self, value: object) -> float:
        number: float | None = None
        if isinstance(value, Scalar):
            number = float(value.text) if value.plain and _DECIMAL.fullmatch(value.text) else None
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
        if number is None or not 0 <= number < float("inf"):
            raise wrong(value, self.allowed)
        return number


@dataclass(frozen=True)
class PlainText:
    """Text exactly as written, whatever it looks like. ``lenient``: numbers, booleans and nothing, too."""

    lenient: bool = False
    secret: bool = False

    allowed = "text"

    def __call__(self, value: object) -> str:
        text: str | None = None
        if isinstance(value, Scalar):
            text = "" if value.is_null and self.lenient else None if value.is_null else value.text
        elif isinstance(value, str):
            text = value
        elif self.lenient and isinstance(value, bool):
            text = "true" if value else "false"
        elif self.lenient and isinstance(value, (int, float)):
            text = str(value)
        if text is None:
            what = kind_of(value) if self.secret else _shown(value)
            raise PydanticCustomError(
                "setting", "{what} does not fit, expected {allowed}", {"what": what, "allowed": self.allowed}
            )
        if "\0" in text or not _is_unicode(text):
            # Neither YAML nor the environment of a process could carry it.
            raise PydanticCustomError("setting", "holds characters that cannot be stored, expected text")
        return text


@dataclass(frozen=True)
class SecretText:
    """Text that must not be shown, in messages neither."""

    lenient: bool = False

    allowed = "text (kept secret)"

    def __call__(self, value: object) -> Secret:
        return value if isinstance(value, Secret) else Secret(PlainText(self.lenient, secret=True)(value))


@dataclass(frozen=True)
class UuidText:
    """A UUID with hyphens."""

    allowed = "a UUID such as 7dbbbb63-1734-48c4-e1de-d1a65f62cada"

    def __call__(self, value: object) -> UUID:
        if isinstance(value, UUID):
            return value
        text = value.text if isinstance(value, Scalar) else value
        if not isinstance(text, str):
            raise wrong(value, self.allowed)
        try:
            return UUID(text)
        except ValueError:
            raise wrong(value, self.allowed) from None


@dataclass(frozen=True)
class IpText:
    """One address, v4 or v6."""

    allowed = "an IP address"

    def __call__(self, value: object) -> Address:
        if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
            return value
        text = value.text if isinstance(value, Scalar) else value
        if not isinstance(text, str):
            raise wrong(value, self.allowed)
        try:
            return ipaddress.ip_address(text)
        except ValueError:
            raise wrong(value, self.allowed) from None


@dataclass(frozen=True)
class CidrText:
    """A network; a bare address is one of a single address, host bits are masked off (config §2)."""

    allowed = "a network such as 10.0.0.0/8 or fd00::/8, or an IP address"

    def __call__(self, value: object) -> Network:
        if isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
            return value
        text = value.text if isinstance(value, Scalar) else value
        if not isinstance(text, str):
            raise wrong(value, self.allowed)
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise wrong(value, self.allowed) from None


@dataclass(frozen=True)
class RateText:
    """MiB per second as a number, or text with a unit."""

    allowed = "MiB per second as a whole number, or bytes per second with a unit such as 50MiB; 0 = no limit"

    def __call__(self, value: object) -> Rate:
        if isinstance(value, Rate):
            return value
        written = _number_or_text(value, self.allowed)
        try:
            parsed = Rate(written)
            _ = parsed.bytes_per_second
        except ValueError:
            raise wrong(value, self.allowed) from None
        return parsed


@dataclass(frozen=True)
class SizeText:
    """Bytes as a number, or text with a unit."""

    allowed = "bytes as a whole number, or with a unit such as 512MiB"

    def __call__(self, value: object) -> Size:
        if isinstance(value, Size):
            return value
        written = _number_or_text(value, self.allowed)
        if isinstance(written, str):
            try:
                parse_bytes(written)
            except ValueError:
                raise wrong(value, self.allowed) from None
        return Size(written)


E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class OneOf(Generic[E]):
    """A word of an enumeration; ``first`` is named first, the others in their own order."""

    words: type[E]
    first: E

    @property
    def allowed(self) -> str:
        others = [word.value for word in self.words if word is not self.first]
        return "one of " + ", ".join([self.first.value, *others])

    def __call__(self, value: object) -> E:
        text = value.text if isinstance(value, Scalar) else value
        if isinstance(text, str):  # members are strings, too
            try:
                return self.words(text)
            except ValueError:
                pass
        raise wrong(value, self.allowed)


def _number_or_text(value: object, allowed: str) -> int | str:
    text = value.text.strip() if isinstance(value, Scalar) else value
    if isinstance(text, str) and not (isinstance(value, Scalar) and value.is_null):
        # Quoted digits are a plain number all the same: there is nothing else they could mean.
        return int(text) if _WHOLE.fullmatch(text) and int(text) >= 0 else text
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    raise wrong(value, allowed)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
