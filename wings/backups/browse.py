"""Open insides of backups, kept for a while: ten clicks in a file list open an archive once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from wings.backups.protocol import BackupTree

KEPT = 64  # trees, backup-drivers §9
IDLE_SECONDS = 300.0


class _Slot:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.tree: BackupTree | None = None
        self.users = 0
        self.stale = False
        self.used = time.monotonic()


class TreeCache:
    """Opens trees on demand, one build at a time per backup; closes what is idle, surplus or forgotten.

    Keyed by adapter and uuid (W-19). A tree in use is never closed under its user.
    """

    def __init__(self, *, kept: int = KEPT, idle: float = IDLE_SECONDS) -> None:
        self._kept = kept
        self._idle = idle
        self._slots: OrderedDict[tuple[str, UUID], _Slot] = OrderedDict()

    @asynccontextmanager
    async def borrow(
        self, adapter: str, uuid: UUID, build: Callable[[], Awaitable[BackupTree]]
    ) -> AsyncIterator[BackupTree]:
        """The tree of this backup, built by ``build`` when it is not open yet."""
        key = (adapter, uuid)
        slot = self._slots.setdefault(key, _Slot())
        slot.users += 1
        try:
            async with slot.lock:
                if slot.tree is None:
                    slot.tree = await build()
            yield slot.tree
        finally:
            slot.users -= 1
            slot.used = time.monotonic()
            if slot.tree is None and slot.users == 0:
                self._drop(key, slot)
            else:
                if self._slots.get(key) is slot:
                    self._slots.move_to_end(key)
                if slot.stale and slot.users == 0:
                    _close(slot)
            self._shrink()

    def forget(self, adapter: str, uuid: UUID) -> None:
        """Do not serve this tree any more; it is closed as soon as nobody uses it."""
        slot = self._slots.pop((adapter, uuid), None)
        if slot is not None:
            slot.stale = True
            if slot.users == 0:
                _close(slot)

    def close_idle(self) -> None:
        """Close what nobody has used for a while. Called from time to time by the service."""
        before = time.monotonic() - self._idle
        for key, slot in list(self._slots.items()):
            if slot.users == 0 and slot.used < before:
                self._drop(key, slot)

    def close(self) -> None:
        """Forget everything."""
        for adapter, uuid in list(self._slots):
            self.forget(adapter, uuid)

    def _shrink(self) -> None:
        for key, slot in list(self._slots.items()):
            if len(self._slots) <= self._kept:
                return
            if slot.users == 0:
                self._drop(key, slot)

    def _drop(self, key: tuple[str, UUID], slot: _Slot) -> None:
        if self._slots.get(key) is slot:
            del self._slots[key]
        _close(slot)


def _close(slot: _Slot) -> None:
    tree, slot.tree = slot.tree, None
    if tree is not None:
        tree.close()
