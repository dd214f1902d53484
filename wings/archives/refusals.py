"""What a reader or the extractor kept out of a restore: counts and first examples, never silence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from wings.archives.report import EXAMPLES, Example
from wings.errors import shown

_SHOWN = 5


class Refusal(StrEnum):
    """Why an entry was not written."""

    NAME = "with a hostile name"
    LINK = "a link that cannot be made"
    SPECIAL = "a device, fifo or socket"
    KIND = "of an unknown kind"
    SPARSE = "a sparse file in an unknown form"
    DENIED = "on the denylist"
    BLOCKED = "blocked by what is there"


@dataclass(slots=True)
class Refusals:
    """Filled by the one thread that reads; the extractor merges in what its writers met."""

    counts: Counter[Refusal] = field(default_factory=Counter)
    examples: dict[Refusal, list[Example]] = field(default_factory=dict)

    def note(self, refusal: Refusal, path: bytes, reason: str = "") -> None:
        """Count one entry; the first ones are kept as examples."""
        self.counts[refusal] += 1
        kept = self.examples.setdefault(refusal, [])
        if len(kept) < EXAMPLES:
            kept.append(Example(path, reason))

    def take_over(self, other: "Refusals") -> None:
        """Add what somebody else noted."""
        self.counts.update(other.counts)
        for refusal, examples in other.examples.items():
            kept = self.examples.setdefault(refusal, [])
            kept.extend(examples[: EXAMPLES - len(kept)])

    @property
    def total(self) -> int:
        """All entries kept out."""
        return self.counts.total()

    def sentences(self) -> Sequence[str]:
        """One readable line per kind: ``2 refused with a hostile name: ../a (leads out with ..), b``."""
        lines = []
        for refusal in Refusal:
            if count := self.counts[refusal]:
                some = ", ".join(
                    f"{shown(one.path)} ({one.reason})" if one.reason else shown(one.path)
                    for one in self.examples[refusal][:_SHOWN]
                )
                lines.append(f"{count} refused, {refusal}: {some}{', …' if count > _SHOWN else ''}")
        return lines
