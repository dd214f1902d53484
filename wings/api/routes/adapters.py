"""``/api/local/adapters``: the storages of this node, and whether they can work."""

from aiohttp import web
from pydantic import BaseModel

from wings.api.routing import Route
from wings.api.services import Services
from wings.backups.protocol import CheckReport


class CheckItem(BaseModel):
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


class CheckDocument(BaseModel):
    """The state of one storage; ``ok`` when every item is."""

    adapter: str
    ok: bool
    items: list[CheckItem]

    @classmethod
    def of(cls, report: CheckReport) -> "CheckDocument":
        """As it goes out."""
        items = [CheckItem(what=what, ok=fine, detail=detail) for what, fine, detail in report.items]
        return cls(adapter=report.adapter, ok=report.ok, items=items)


async def list_adapters(request: web.Request, services: Services) -> list[str]:
    """Their names."""
    return services.backups.adapters()


async def check_adapters(request: web.Request, services: Services) -> list[CheckDocument]:
    """Look at all of them."""
    return [CheckDocument.of(report) for report in await services.backups.check(None)]


async def check_adapter(request: web.Request, services: Services) -> CheckDocument:
    """Look at one."""
    (report,) = await services.backups.check(request.match_info["adapter"])
    return CheckDocument.of(report)


ROUTES = [
    Route("GET", "/api/local/adapters", list_adapters, "Names of the storages", answer=list[str]),
    Route("POST", "/api/local/adapters/check", check_adapters, "Check all storages", answer=list[CheckDocument]),
    Route("POST", "/api/local/adapters/{adapter}/check", check_adapter, "Check one storage", answer=CheckDocument),
]
