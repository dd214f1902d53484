"""sd_notify against a real datagram socket."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wings.host.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        if request.param == "path":
            address = str(tmp_path / "notify")
            server.bind(address)
        else:
            address = f"@wings-test-{os.getpid()}"
            server.bind(f"\0{address[1:]}")
        server.settimeout(2)
        yield address, server


def test_messages_are_those_of_systemd(listener: tuple[str, socket.socket]) -> None:
    address, server = listener
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready("wings is ready\nREADY=0")
    assert server.recv(1000) == b"READY=1\nSTATUS=wings is ready READY=0"
    notifier.ready()
    assert server.recv(1000) == b"READY=1"
    notifier.status("2 jobs")
    assert server.recv(1000) == b"STATUS=2 jobs"
    notifier.reloading()
    assert server.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.stopping()
    assert server.recv(1000) == b"STOPPING=1"


async def test_the_watchdog_is_fed_twice_per_period(listener: tuple[str, socket.socket]) -> None:
    address, server = listener
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    feeding = asyncio.create_task(Notifier.from_environment(environment).keep_alive())
    await asyncio.sleep(0.12)
    feeding.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await feeding
    server.setblocking(False)
    fed = 0
    with contextlib.suppress(BlockingIOError):
        while server.recv(100) == b"WATCHDOG=1":
            fed += 1
    assert 2 <= fed <= 4


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "/" + "x" * 500},
    ],
)
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environment)
    notifier.ready("x")
    notifier.status("x")
    notifier.reloading()
    notifier.stopping()


@pytest.mark.parametrize(
    "extra", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
async def test_without_a_watchdog_there_is_nothing_to_feed(tmp_path: Path, extra: dict[str, str]) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify"), **extra})
    await asyncio.wait_for(notifier.keep_alive(), 1)
