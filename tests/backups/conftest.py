"""A service with everything real around it, in one directory."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conformance.cases import local_driver
from wings.backups.registry import Registry
from wings.backups.service import BackupPolicy, BackupService
from wings.backups.wrappers.logged import LoggedDriver
from wings.host.threads import Pools
from wings.jobs.events import EventBus
from wings.jobs.manager import JobManager
from wings.jobs.model import JobRecord
from wings.servers.directory import Server, ServerDirectory
from wings.store.backups import Catalogue
from wings.store.database import Database
from wings.store.jobs import JobStore
from wings.store.servers import ServerStore
from wings.telemetry.metrics import Metrics


@dataclass
class House:
    """The parts a test looks at."""

    service: BackupService
    jobs: JobManager
    directory: ServerDirectory
    catalogue: Catalogue
    events: EventBus
    backups: Path
    root: Path

    async def done(self, job: Awaitable[JobRecord]) -> JobRecord:
        """Wait for a job's end, whatever it is."""
        return await self.jobs.wait((await job).id, 20)

    async def server(self, name: str, files: dict[str, bytes]) -> Server:
        """A registered server with these files."""
        path = self.root / name
        for inner, data in files.items():
            (path / inner).parent.mkdir(parents=True, exist_ok=True)
            (path / inner).write_bytes(data)
        return await self.directory.add(name, path)


@asynccontextmanager
async def build_house(root: Path, *, skip_unreadable_files: bool = False) -> AsyncIterator[House]:
    """Put a house together as the composition root does, and take it down again."""
    node = root / "node"
    node.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        pools = stack.enter_context(Pools(archive=4))
        database = await Database.open(node / "wings.db")
        stack.push_async_callback(database.close)
        metrics = Metrics()
        events = EventBus()
        jobs = JobManager(JobStore(database), events, keep=timedelta(days=1))
        directory = ServerDirectory(ServerStore(database), pools, reserved=[node])
        catalogue = Catalogue(database)
        service = BackupService(
            Registry([LoggedDriver(local_driver(node, pools))]),
            catalogue,
            jobs,
            directory,
            pools,
            metrics,
            BackupPolicy(
                default_adapter="wings",
                restore_mode="auto",
                skip_unreadable_files=skip_unreadable_files,
                reserve=0,
                owner=None,
            ),
        )
        await jobs.start()
        stack.push_async_callback(jobs.stop, 5)
        await service.start()
        stack.push_async_callback(service.close)
        yield House(service, jobs, directory, catalogue, events, node / "backups", root)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with build_house(tmp_path) as house:
        yield house
