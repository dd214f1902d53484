"""An open store in a directory of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from wings.store.database import Database


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "wings.db")
    yield opened
    await opened.close()
