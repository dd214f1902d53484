"""Secrets never reach a log (P10): known values, telling names, and parameters of addresses become ``***``."""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from urllib.parse import quote, quote_plus

from structlog.typing import EventDict, WrappedLogger

HIDDEN = "***"
SHORTEST = 4  # characters; hiding every "a" would make logs unreadable and protect nothing

# A name hides its value when one of its words is among these: panel_token, Set-Cookie, s3SecretKey.
_TELLING = frozenset(
    {"token", "secret", "secrets", "password", "passwd", "passphrase", "authorization", "cookie", "cookies"}
    | {"credential", "credentials", "jwt"}
)
# Names of two words that say it only together.
_TELLING_PAIRS = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("encryption", "key")})
# Names that only look like it: token_id is the public half of the panel's token.
_HARMLESS = frozenset({"token_id", "secret_id", "password_file", "cookie_name"})

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_PARAMETER = re.compile(
    r"((?:token|password|passwd|secret|signature|sig|api_?key|access_?key|credential|x-amz-(?:signature|credential|security-token))"
    r"=)[^&\s\"'<>]+",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b([Bb]earer|Basic)\s+[A-Za-z0-9._~+/=|-]{6,}")
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)


class Secrets:
    """The values that must not be seen, registered by whoever reads them. Safe from any thread."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def register(self, value: str) -> None:
        """Hide this value from now on, also where it stands quoted, in an address or in JSON.

        Values shorter than four characters are ignored.
        """
        if len(value) < SHORTEST:
            return
        # One after another in different threads may lose one: registering is done while starting.
        self._values |= {value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
        self._values |= {repr(value)[1:-1], repr(repr(value)[1:-1])[1:-1]}
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def hide(self, text: str) -> str:
        """The text without any secret in it, as far as one can tell."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        if "=" in text:
            text = _PARAMETER.sub(rf"\1{HIDDEN}", text)
        if "://" in text:
            text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
        return _SCHEME.sub(rf"\1 {HIDDEN}", text)

    def processor(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """For structlog: the same event without secrets. Put it behind everything that adds text."""
        for key, value in event.items():
            if key not in ("_record", "_from_structlog"):
                event[key] = self._hidden(key, value)
        return event

    def _hidden(self, key: str, value: object) -> object:
        if value is None or isinstance(value, bool | float):
            return value
        if is_telling(key):
            return HIDDEN
        if isinstance(value, int):
            return value
        if isinstance(value, Mapping):
            return {self.hide(str(name)): self._hidden(str(name), inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._hidden("", inner) for inner in value]
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode("utf-8", "backslashreplace")
        return self.hide(str(value))


def is_telling(name: str) -> bool:
    """Whether a value of this name is to be hidden whatever it is."""
    if name.lower() in _HARMLESS:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _TELLING for word in words) or any(pair in _TELLING_PAIRS for pair in pairwise(words))
