"""The application: every route table in one list, so that a newcomer sees what there is."""

from aiohttp import web

from wings.api import closing
from wings.api.access import account_for, tell_id
from wings.api.errors import translate_errors
from wings.api.routes import adapters, documentation, events, health, jobs, local_backups, local_servers, metrics
from wings.api.routing import SERVICES, Route, register
from wings.api.services import Services

LARGEST_BODY = 1 << 20  # bytes; our own requests are small, uploads will bring their own limit


def route_table(*, with_metrics: bool = True, with_documentation: bool = True) -> list[Route]:
    """Every operation there is, but for those that the configuration switches off."""
    tables = [
        health.ROUTES,
        local_servers.ROUTES,
        local_backups.ROUTES,
        adapters.ROUTES,
        jobs.ROUTES,
        events.ROUTES,
        *([metrics.ROUTES] if with_metrics else []),
        *([documentation.ROUTES] if with_documentation else []),
    ]
    return [route for table in tables for route in table]


def build_application(services: Services) -> web.Application:
    """Put middlewares and routes together."""
    application = web.Application(middlewares=[account_for, translate_errors], client_max_size=LARGEST_BODY)
    application[SERVICES] = services
    closing.install(application)
    application.on_response_prepare.append(tell_id)
    routes = route_table(with_metrics=services.metrics is not None, with_documentation=services.documentation)
    application[documentation.TABLE] = routes
    register(application, routes)
    return application
