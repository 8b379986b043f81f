"""The composition root: every part meets here, as plain constructor calls."""

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from sora_mock import data
from sora_mock.controls import Controls
from sora_mock.domain.contract import Contract
from sora_mock.domain.errors import near_names
from sora_mock.domain.scenario import Scenario
from sora_mock.emulator import Emulator
from sora_mock.settings import SettingError, Settings
from sora_mock.store import Store
from sora_mock.web import api, control, files
from sora_mock.web.origin import Guard


def create_app(settings: Settings | None = None) -> Starlette:
    """The server as an ASGI application, for uvicorn or an in-process transport.

    `app.state.emulator` is the service behind it. Raises SettingError for settings that cannot go together.
    """
    settings = settings or Settings()
    catalogue = built_in_scenarios()
    if settings.scenario not in catalogue:
        raise SettingError(f"unknown scenario {settings.scenario!r}{near_names(settings.scenario, catalogue)}")
    emulator = Emulator(settings, Contract(data.contract_document()), catalogue, Store())
    guard = Guard(settings.host, settings.public_url, settings.control_token)
    app = Starlette(
        routes=[
            *api.routes(emulator),
            *files.routes(emulator),
            *control.routes(Controls(emulator), guard),
            api.anything_else(emulator),
        ],
        middleware=_cors(settings.cors),
    )
    # a path with a slash too many is an unknown route of the service, not a 307
    app.router.redirect_slashes = False
    app.state.emulator = emulator
    return app


def built_in_scenarios() -> dict[str, Scenario]:
    """The catalogue of `fixtures/scenarios/`, by name."""
    return {name: msgspec.convert({"name": name, **table}, Scenario) for name, table in data.scenario_tables().items()}


def _cors(origin: str | None) -> list[Middleware]:
    if origin is None:
        return []
    from starlette.middleware.cors import CORSMiddleware

    exposed: Any = ["Retry-After", "X-Mock-Scenario", "idempotency-replayed", "ETag", "Content-Range"]
    every = ["*"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=[origin],
            allow_methods=every,
            allow_headers=every,
            expose_headers=exposed,
        )
    ]
