"""Requests that wait: long polls and event streams, and that neither holds up a stop of the daemon."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.api.conftest import Api
from wings.api.sse import stream_events
from wings.jobs.context import JobContext
from wings.jobs.events import Event, EventBus
from wings.jobs.manager import JobSpec
from wings.jobs.model import JobKind, JobRecord, JsonObject


@asynccontextmanager
async def long_job(api: Api) -> AsyncIterator[JobRecord]:
    """A job that ends when it is cancelled."""

    async def run(job: JobContext) -> JsonObject:
        await job.until_cancelled()
        job.check()
        return {}

    record = await api.house.jobs.submit(JobSpec(JobKind.VERIFY), run)
    yield record
    if not (await api.house.jobs.get(record.id)).state.ended:
        await api.house.jobs.cancel(record.id)


async def test_a_long_poll_ends_with_the_job_or_with_its_time(api: Api) -> None:
    """P7: an answer at once when there is news, none before."""
    async with long_job(api) as job:
        begun = time.monotonic()
        async with api.session.get(f"/api/jobs/{job.id}?wait=0.2") as response:
            assert (await response.json())["state"] == "running"
        assert 0.15 < time.monotonic() - begun < 2
        waiting = asyncio.ensure_future(api.session.get(f"/api/jobs/{job.id}?wait=60"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        async with api.session.delete(f"/api/jobs/{job.id}") as response:
            assert (await response.json())["state"] == "cancelled"
        async with await waiting as response:
            told = await response.json()
        assert (told["state"], told["error_code"], told["error_status"]) == ("cancelled", "cancelled", 409)


async def test_nonsense_is_refused(api: Api) -> None:
    for query in ("wait=soon", "wait=nan", "wait=-1"):
        async with api.session.get(f"/api/jobs/00000000-0000-4000-8000-000000000000?{query}") as response:
            assert response.status == 400 and "'wait'" in (await response.json())["error"], query
    for query in ("limit=0", "limit=1001", "limit=x", "limit=٣", "state=asleep", "kind=nap", "backup=x"):
        async with api.session.get(f"/api/jobs?{query}") as response:
            assert response.status == 400, query


async def test_jobs_are_filtered(api: Api) -> None:
    server = await api.house.server("world", {"a": b"1"})
    async with long_job(api) as running, long_job(api) as queued:
        for query, wanted in [
            ("state=queued,running", {running.id, queued.id}),
            ("state=queued", {queued.id}),
            ("kind=verify&limit=1", {queued.id}),
            ("kind=create", set()),
            (f"server={server.name}", set()),
            ("backup=00000000-0000-4000-8000-000000000000", set()),
        ]:
            async with api.session.get(f"/api/jobs?{query}") as response:
                assert {job["id"] for job in await response.json()} == {str(one) for one in wanted}, query
        async with api.session.get("/api/jobs?server=nobody") as response:
            assert response.status == 404


async def test_waiting_requests_do_not_hold_up_the_stop(api: Api) -> None:
    """A stream ends cleanly, a long poll with the job as it is."""
    async with long_job(api) as job, api.session.get("/api/events") as stream:
        assert await stream.content.readline() == b": listening\n"
        waiting = asyncio.ensure_future(api.session.get(f"/api/jobs/{job.id}?wait=60"))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await api.listener.stop()
        assert time.monotonic() - begun < 2
        await asyncio.wait_for(stream.content.read(), 2)
        async with await waiting as response:
            assert (await response.json())["state"] == "running"


async def test_the_stream_shows_that_it_lives() -> None:
    """A comment in every silence, so that proxies and clients know; text that is none is escaped."""
    bus = EventBus()

    async def handler(request: web.Request) -> web.StreamResponse:
        async with bus.subscribe() as news:
            return await stream_events(request, news, heartbeat=0.05)

    application = web.Application()
    application.router.add_get("/", handler)
    async with (
        TestServer(application) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/")) as stream,
    ):
        assert await stream.content.readuntil(b"\n\n") == b": listening\n\n"
        assert await stream.content.readuntil(b"\n\n") == b": alive\n\n"
        bus.publish(Event("job.state", {"error": "bad \udcff\n", "n": [1]}))
        seen = b""
        while b"data" not in seen:
            seen = await stream.content.readuntil(b"\n\n")
        assert seen == b'event: job.state\ndata: {"error":"bad \\\\xff\\\\x0a","n":[1]}\n\n'
        bus.close()
        rest = await stream.content.read()
        assert rest.replace(b": alive\n\n", b"") == b""
