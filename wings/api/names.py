"""Names of files in JSON, which holds only text, and back.

A name that is UTF-8 without control characters is itself. Any other is shown escaped (``\\xNN``), for
people, beside its raw bytes in base64, for programs.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wings.errors import InvalidInput, shown
from wings.jobs.model import JsonObject, JsonValue


class NamedPath(NamedTuple):
    """``text`` can always be shown; ``encoded`` is there when it does not say everything."""

    text: str
    encoded: str | None

    @classmethod
    def of(cls, raw: bytes) -> "NamedPath":
        """The two forms of a raw name."""
        text = raw.decode("utf-8", "surrogateescape")
        if text.isprintable():  # surrogates are not
            return cls(text, None)
        return cls(shown(raw), base64.b64encode(raw).decode())


def decode_path(text: str | None, encoded: str | None) -> bytes | None:
    """Raw bytes from either form, the encoded one first. Raises ``InvalidInput`` for what no path can be."""
    if encoded is not None:
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInput(f"the path is not base64: {error}") from None
    elif text is not None:
        raw = text.encode("utf-8", "surrogateescape")
    else:
        return None
    if b"\0" in raw:
        raise InvalidInput("no path holds a NUL byte")
    return raw


def plain(text: str) -> str:
    """The text, or where it holds undecodable bytes of a file's name, the text with those escaped."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return shown(text)
    return text


def presentable(document: JsonObject) -> JsonObject:
    """The same with every text encodable, so that a stray file name in a message cannot spoil an answer."""
    return {name: _presentable(value) for name, value in document.items()}


def _presentable(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return presentable(value)
    if isinstance(value, Sequence):
        return [_presentable(one) for one in value]
    return value
