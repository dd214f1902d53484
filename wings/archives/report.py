"""What a walk or an extraction met that it could not take as it was: counts and first examples."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from wings.errors import shown

EXAMPLES = 20  # per kind; a world with a million broken names must not fill the memory or the answer


class Trouble(StrEnum):
    """Why an entry is not stored, or not stored as it was."""

    SPECIAL = "special"  # fifo, socket, device: never stored
    IGNORED = "ignored"  # left out by an ignore rule
    VANISHED = "vanished"  # gone between being listed and being opened (W-2)
    UNREADABLE_FILE = "unreadable file"
    UNREADABLE_DIRECTORY = "unreadable directory"  # still there, could not be listed (W-1)
    TORN = "torn"  # came out shorter than announced, padded with zeros (W-3)
    CHANGED = "changed while read"  # the size or the time of the file moved under our hands
    UNSTORABLE_NAME = "unstorable name"  # the format cannot express this name


@dataclass(slots=True)
class Example:
    """One case of a trouble, for people to look at."""

    path: bytes
    reason: str


@dataclass(slots=True)
class SourceReport:
    """Sums of a walk. Filled by the one thread that walks; read when it is done."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    content_bytes: int = 0
    counts: Counter[Trouble] = field(default_factory=Counter)
    examples: dict[Trouble, list[Example]] = field(default_factory=dict)

    def note(self, trouble: Trouble, path: bytes, reason: str = "") -> None:
        """Count one case; the first ones are kept as examples."""
        self.counts[trouble] += 1
        kept = self.examples.setdefault(trouble, [])
        if len(kept) < EXAMPLES:
            kept.append(Example(path, reason))

    def withdraw(self, trouble: Trouble, path: bytes) -> None:
        """Take one case back, as when a torn file came out whole at the second try."""
        self.counts[trouble] -= 1
        self.examples[trouble] = [one for one in self.examples.get(trouble, []) if one.path != path]

    def sentences(self, *troubles: Trouble) -> list[str]:
        """One readable line per trouble that occurred: ``3 torn: a/b (shrank), c, d``."""
        lines = []
        for trouble in troubles or tuple(Trouble):
            if count := self.counts[trouble]:
                some = ", ".join(
                    f"{shown(one.path)} ({one.reason})" if one.reason else shown(one.path)
                    for one in self.examples.get(trouble, [])[:5]
                )
                lines.append(f"{count} {trouble}: {some}{', …' if count > 5 else ''}")
        return lines
