"""The application: settings in, one Starlette out, with every route of the service and of the control API."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Unpack

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.types import Scope

from sora_mock.api import errors
from sora_mock.api.cors import Cors
from sora_mock.api.endpoint import Operation, ServiceRoute
from sora_mock.api.exchange import ExchangeMiddleware
from sora_mock.callbacks.scheduler import Scheduler
from sora_mock.config.options import Options, with_options
from sora_mock.config.settings import Settings
from sora_mock.control import account, clock, deliveries, inbox, requests, scenarios
from sora_mock.control import tasks as control_tasks
from sora_mock.control.access import AccessMiddleware, AccessRule
from sora_mock.control.errors import ControlError, error_response, handle_control_error
from sora_mock.control.lists import Lists
from sora_mock.domain.contract import CREATE, CREDITS, QUERY
from sora_mock.domain.delivery import delivery_id
from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import CONTROL_PREFIX, Exchange
from sora_mock.service import credits, files, tasks, videos
from sora_mock.service.composition import build_service
from sora_mock.service.context import Service


def create_app(settings: Settings | None = None, **options: Unpack[Options]) -> Starlette:
    """The server as an ASGI application, for uvicorn or an in-process transport; asyncio only.

    options: change the settings. Raises SettingError for what cannot be used or cannot go together.
    `app.state` holds `service`, `scheduler`, `events` (the event bus) and `seed`.
    """
    service = build_service(with_options(settings or Settings(), options))
    scheduler = Scheduler(service)
    rule = AccessRule(service.settings.host, service.settings.public_url, service.settings.control_token)
    app = Starlette(
        routes=[
            # the emulated service
            ServiceRoute("/v1/videos/generations", Operation(service, videos.create, CREATE), methods=["POST"]),
            ServiceRoute("/v1/tasks/{task_id}", Operation(service, tasks.query, QUERY), methods=["GET"]),
            ServiceRoute("/v1/credits", Operation(service, credits.show, CREDITS), methods=["GET"]),
            ServiceRoute(
                "/files/{account}/videos/{year}/{month}/{day}/{file_name}.mp4",
                Operation(service, files.download),
                methods=["GET", "HEAD"],
            ),
            # the control API
            Mount(
                "/__mock",
                Router(
                    redirect_slashes=False,
                    routes=[
                        Route("/health", account.health),
                        Route("/clock", clock.show),
                        Route("/clock", clock.change, methods=["PATCH"]),
                        Route("/clock/advance", clock.advance, methods=["POST"]),
                        Route("/account", account.show),
                        Route("/account", account.change, methods=["PATCH"]),
                        Route("/scenarios", scenarios.show),
                        Route("/scenarios", scenarios.queue, methods=["POST"]),
                        Route("/scenarios", scenarios.empty_queue, methods=["DELETE"]),
                        Route("/tasks", control_tasks.show),
                        Route("/tasks/{task_id}/finish", control_tasks.finish, methods=["POST"]),
                        Route("/requests", requests.show),
                        Route("/deliveries", deliveries.show),
                        Route("/deliveries/{delivery_id}/redeliver", deliveries.redeliver, methods=["POST"]),
                        Route("/callback-routes", deliveries.set_routes, methods=["PUT"]),
                        Route("/inbox/{name:path}", inbox.show),
                        Route("/inbox/{name:path}", inbox.receive, methods=["POST"]),
                        Route("/inbox/{name:path}", inbox.set_replies, methods=["PUT"]),
                        Route("/reset", account.reset, methods=["POST"]),
                    ],
                    middleware=[Middleware(AccessMiddleware, rule)],
                ),
            ),
        ],
        middleware=[
            *([Middleware(Cors, service.settings.cors)] if service.settings.cors else []),
            Middleware(ExchangeMiddleware, service, _callback_wait(service, scheduler)),
            Middleware(errors.BugMiddleware, service, _CONTROL_BUG),
        ],
        exception_handlers={
            ApiError: errors.handle_api_error,
            ControlError: handle_control_error,
            404: _not_found,
            405: _method_not_allowed,
        },
    )
    # A path with a slash at its end is an unknown route of the service. Starlette would redirect it with 307.
    app.router.redirect_slashes = False
    # Starlette builds the middleware with the first request. The journal has to know a malformed one that comes before.
    app.middleware_stack = app.build_middleware_stack()
    app.state.service, app.state.scheduler, app.state.lists = service, scheduler, Lists()
    app.state.events, app.state.seed = service.events, service.seed
    return app


_CONTROL_BUG = error_response(ControlError(500, "internal_error", "a bug of sora-mock; see its output"))


def _is_control(request: Request) -> bool:
    path: str = request.scope["path"]
    return path.startswith(CONTROL_PREFIX)


async def _not_found(request: Request, error: Exception) -> Response:
    if _is_control(request):
        return error_response(ControlError(404, "unknown_route", f"there is no {request.scope['path'][:200]} here"))
    return errors.not_found(request)


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    # a mount has changed the scope's root path
    scope = {**request.scope, "root_path": request.scope.get("app_root_path", "")}
    allowed = sorted(set(_methods(request.app.routes, scope)))
    if _is_control(request):
        # HEAD works wherever GET does, and says nothing about a resource
        names = ", ".join(name for name in allowed if name != "HEAD")
        return error_response(ControlError(405, "method_not_allowed", f"allowed: {names}"), {"allow": names})
    return errors.method_not_allowed(request, allowed)


def _methods(routes: Iterable[BaseRoute], scope: Scope) -> Iterable[str]:
    """The methods of every route with this path. Starlette's own error names those of the first one alone."""
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.NONE:
            continue
        if isinstance(route, Mount):
            yield from _methods(route.routes, {**scope, **child})
        elif isinstance(route, Route):
            yield from route.methods or ()


def _callback_wait(service: Service, scheduler: Scheduler) -> Callable[[Exchange], Awaitable[None]]:
    async def wait(exchange: Exchange) -> None:
        account = service.storage.account_by_name(exchange.account or "")
        if account is not None and exchange.task_id is not None:
            await scheduler.attempts_finished(account, delivery_id(exchange.task_id))

    return wait
