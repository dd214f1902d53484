"""The API over a real socket, with everything real behind it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.backups.conftest import House, build_house
from wings.api.application import build_application
from wings.api.listener import Listener
from wings.api.services import Services
from wings.telemetry.metrics import Metrics
from wings.version import VERSION

TOKEN = "a-token-for-tests"


@dataclass
class Api:
    """A session that is allowed in, what is behind it, and the switch of the daemon's phase."""

    session: aiohttp.ClientSession
    house: House
    socket: Path
    services: Services
    listener: Listener
    phase: str = "ready"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with build_house(tmp_path) as house:
        socket = tmp_path / "api.sock"
        async with aiohttp.ClientSession(
            "http://wings",
            connector=aiohttp.UnixConnector(str(socket)),
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as session:
            services = Services(
                directory=house.directory,
                backups=house.service,
                jobs=house.jobs,
                events=house.events,
                metrics=Metrics(),
                phase=lambda: api.phase,
                token=TOKEN,
                version=VERSION,
            )
            listener = Listener(build_application(services), str(socket), 0)
            api = Api(session, house, socket, services, listener)
            await listener.start()
            yield api
            await listener.stop()
            assert not socket.exists()
