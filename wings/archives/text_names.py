"""Names for containers that hold text, not bytes: zip and 7z.

A name that is not UTF-8 is stored with ``\\xNN`` for each byte that cannot be read, told apart from
any real name that looks the same, and noted in the report: nothing is dropped silently.
"""

import hashlib

from wings.archives.report import SourceReport, Trouble


class TextNames:
    """Gives every path of one archive its own text. Remembers only names with a ``\\x`` in them, which are rare."""

    def __init__(self, report: SourceReport, *, longest: int | None = None) -> None:
        """``longest`` is what the container takes, in bytes of UTF-8."""
        self._report = report
        self._longest = longest
        self._given: dict[bytes, str] = {}
        self._taken: set[str] = set()

    def of(self, path: bytes) -> str:
        """The name to store. Notes ``Trouble.UNSTORABLE_NAME`` where it is not the one on the disk."""
        try:
            name = path.decode()
        except UnicodeDecodeError:
            name = ""
        if not name or "\\x" in name:
            name = self._escaped(path)
            if name.encode() != path:
                self._report.note(Trouble.UNSTORABLE_NAME, path, f"not UTF-8, stored as {name}")
        if self._longest is not None and len(path) * 4 > self._longest and len(name.encode()) > self._longest:
            short = hashlib.sha256(path).hexdigest()[:32]
            name = f"~{short}/{name.rpartition('/')[2]}"
            self._report.note(Trouble.UNSTORABLE_NAME, path, f"too long, stored as {name}")
        return name

    def _escaped(self, path: bytes) -> str:
        known = self._given.get(path)
        if known is not None:
            return known
        parent, slash, last = path.rpartition(b"/")
        above = (self._escaped(parent) if slash else "") + slash.decode()
        plain = name = above + last.decode("utf-8", "backslashreplace")
        number = 2
        while name in self._taken:
            name = f"{plain}~{number}"
            number += 1
        self._given[path] = name
        self._taken.add(name)
        return name
