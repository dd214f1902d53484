"""Telling systemd how the daemon is doing (sd_notify: datagrams to ``NOTIFY_SOCKET``)."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Without systemd every method does nothing. Nothing here ever fails or waits."""

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        # "@" stands for the NUL byte that begins an abstract socket's name.
        self._address = f"\0{address[1:]}" if address and address[0] == "@" else address
        self._watchdog = watchdog

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        """As systemd set it up for this process; anything else it may find there counts as absent."""
        address = environment.get("NOTIFY_SOCKET")
        if not address or address[0] not in "/@":
            return cls(None)
        limit = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(limit) / 1e6 if limit.isdigit() and int(limit) and ours else None)

    def ready(self, status: str = "") -> None:
        """Started, or reloaded."""
        self._send("READY=1", *([f"STATUS={status}"] if status else []))

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """Settings are being read again; ``ready`` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """On the way down."""
        self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Show the watchdog that the event loop turns, twice per period, for ever; ends at once without one."""
        while self._watchdog is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        text = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as sender:
                sender.sendto(text.encode(), self._address)
        except OSError:
            return  # systemd is not listening; it will find out by itself what it needs to know
