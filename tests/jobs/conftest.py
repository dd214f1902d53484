"""A started job manager on a store of its own."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from wings.jobs.events import EventBus
from wings.jobs.manager import JobManager
from wings.store.database import Database
from wings.store.jobs import JobStore


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "wings.db")
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def events() -> EventBus:
    return EventBus()


@pytest_asyncio.fixture
async def manager(store: JobStore, events: EventBus) -> AsyncIterator[JobManager]:
    made = JobManager(store, events, keep=timedelta(days=7), progress_interval=0.05, save_retries=(0.01,))
    await made.start()
    yield made
    await made.stop(1)
