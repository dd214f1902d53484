"""What long synchronous work owes to whoever watches it: progress, and stopping when told to."""

from typing import Protocol


class Work(Protocol):
    """Handed into every loop that may run long. All methods are safe from any thread and cheap."""

    def check(self) -> None:
        """Raise ``wings.errors.Cancelled`` once cancellation was asked for. Call per MiB or entry."""

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        """Add to the processed counters (backup-drivers §12)."""


class Unwatched:
    """Work nobody watches: for tests, tools and short jobs."""

    def check(self) -> None:
        """Never cancelled."""

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        """Counted by nobody."""
