"""Work for jobs to do in tests."""

import asyncio

from wings.jobs.context import JobContext
from wings.jobs.model import JsonObject


async def nothing(job: JobContext) -> JsonObject:
    return {}


class Gate:
    """Work that begins, waits for ``open`` and obeys cancellation; tells whether it has begun."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def __call__(self, job: JobContext) -> JsonObject:
        self.begun.set()
        job.stage("waiting at the gate")
        while not self._open.is_set():
            job.check()
            await asyncio.sleep(0.005)
        return {"through": True}


async def deaf(job: JobContext) -> JsonObject:
    """Work that never looks whether it was cancelled."""
    await asyncio.sleep(3600)
    return {}
