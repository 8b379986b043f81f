"""The composition root: every part meets here, as plain constructor calls."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from sora_mock import data
from sora_mock.controls import Controls
from sora_mock.domain.choice import ModerationRule, read_moderation_rule
from sora_mock.domain.contract import Contract
from sora_mock.domain.scenario import Scenario, built_in_catalogue, named, with_own
from sora_mock.emulator import Emulator
from sora_mock.settings import SettingError, Settings
from sora_mock.store import Store
from sora_mock.web import api, control, files
from sora_mock.web.origin import Guard


def create_app(settings: Settings | None = None) -> "App":
    """The server as an ASGI application, for uvicorn or an in-process transport.

    `app.state.emulator` is the service behind it. Raises SettingError for settings that cannot go together.
    """
    settings = settings or Settings()
    contract = Contract(data.contract_document())
    try:
        catalogue = with_own(built_in_scenarios(), settings.scenarios, contract.failure_messages)
        named(settings.scenario, catalogue)
    except ValueError as problem:
        raise SettingError(str(problem)) from None
    rules = settings.moderation_rules + (strict_moderation() if settings.strict_moderation else ())
    emulator = Emulator(settings, contract, catalogue, Store(), rules)
    guard = Guard(settings.host, settings.public_url, settings.control_token)
    service = api.Service(emulator, files.download(emulator))
    app = App(service, routes=control.routes(Controls(emulator), guard), middleware=_cors(settings.cors))
    app.state.emulator = emulator
    return app


class App(Starlette):
    """The control API as routes, and the service for every other path.

    direct: the service, for those who may go past Starlette's layers, which would cost more than it does (bench/);
    None where middleware has to see every request.
    """

    def __init__(self, service: api.Service, routes: list[Mount], middleware: list[Middleware]) -> None:
        super().__init__(routes=routes, middleware=middleware)
        self.direct = None if middleware else service
        self.router.default = service
        # a path with a slash too many is an unknown route of the service, not a 307
        self.router.redirect_slashes = False


def built_in_scenarios() -> dict[str, Scenario]:
    """The catalogue of `fixtures/scenarios/`, by name."""
    return built_in_catalogue(data.scenario_tables())


def strict_moderation() -> tuple[ModerationRule, ...]:
    """The shipped rules of `fixtures/moderation/strict.toml`."""
    return tuple(read_moderation_rule(rule) for rule in data.moderation_tables())


def _cors(origin: str | None) -> list[Middleware]:
    if origin is None:
        return []
    from sora_mock.web.cors import Cors

    return [Middleware(Cors, origin=origin)]
