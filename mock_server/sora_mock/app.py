"""The composition root: every part meets here, as plain constructor calls."""

from functools import cached_property
from typing import TYPE_CHECKING, Unpack

from sora_mock.api import endpoint as api
from sora_mock.api import files
from sora_mock.config.options import Options, with_options
from sora_mock.config.settings import SettingError, Settings
from sora_mock.domain.contract import Contract
from sora_mock.domain.moderation import ModerationRule, read_moderation_rule
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import (
    ParameterLimits,
    built_in_catalogue,
    find_scenario,
    with_user_scenarios,
)
from sora_mock.runtime import package_data as data
from sora_mock.service.emulator import Emulator
from sora_mock.storage.memory import Account, Store

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

    from sora_mock.callbacks.scheduler import Worker

CONTROL = "/__mock"
"""What the paths of the control API begin with."""


def create_app(settings: Settings | None = None, **options: Unpack[Options]) -> "App":
    """The server as an ASGI application, for uvicorn or an in-process transport; asyncio only.

    options: change the settings. Raises SettingError for what cannot be used or cannot go together.
    """
    settings = with_options(settings or Settings(), options)
    contract = Contract(data.contract_document())
    try:
        limits = ParameterLimits(contract.failure_messages, settings.generation_time[1])
        catalogue = with_user_scenarios(built_in_scenarios(), settings.scenarios, limits)
        find_scenario(settings.scenario, catalogue)
    except ValueError as problem:
        raise SettingError(str(problem)) from None
    rules = settings.moderation_rules + (strict_moderation() if settings.strict_moderation else ())
    return App(settings, Emulator(settings, contract, catalogue, Store(), rules))


class App:
    """The service, and beside it a Starlette application with the control API and the middleware.

    That one is made when it is first needed: to import it is a fifth of a start, to pass it half of a request (bench/).
    emulator: the service behind it. direct: the service as ASGI, for those who may go past the middleware; None
    where that has to see every request.
    """

    def __init__(self, settings: Settings, emulator: Emulator) -> None:
        self.settings = settings
        self.emulator = emulator
        self.service = api.Service(emulator, files.download(emulator))
        self.direct = None if settings.cors else self.service
        emulator.callbacks.on_due = self._wake
        emulator.reported = self._reported

    @cached_property
    def worker(self) -> "Worker":
        """Who makes the callback attempts; what it needs is imported with the first callback."""
        from sora_mock.callbacks.scheduler import Worker
        from sora_mock.callbacks.sender import Sender

        return Worker(self.emulator, Sender(self.settings.callback_ca))

    def _wake(self, account: Account) -> None:
        if account.deliveries:
            self.worker.wake(account)

    async def _reported(self, account: Account, delivery_id: str) -> None:
        await self.worker.settled(account, delivery_id)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers one request."""
        if self.direct is not None and scope["type"] == "http" and not scope["path"].startswith(CONTROL):
            await self.direct(scope, receive, send)
        else:
            await self.shell(scope, receive, send)

    @cached_property
    def shell(self) -> "Starlette":
        """Control API, service and middleware as one application."""
        from starlette.applications import Starlette
        from starlette.middleware import Middleware

        from sora_mock.api.cors import Cors
        from sora_mock.control import routes as control
        from sora_mock.control.access import Guard
        from sora_mock.control.operations import Controls

        settings = self.settings
        guard = Guard(settings.host, settings.public_url, settings.control_token)
        shell = Starlette(
            routes=control.routes(CONTROL, Controls(self.emulator, lambda: self.worker), guard),
            middleware=[Middleware(Cors, origin=settings.cors)] if settings.cors else [],
        )
        shell.router.default = self.service
        # a path with a slash too many is an unknown route of the service, not a 307
        shell.router.redirect_slashes = False
        return shell


def built_in_scenarios() -> dict[str, Scenario]:
    """The catalogue of `fixtures/scenarios/`, by name."""
    return built_in_catalogue(data.scenario_tables())


def strict_moderation() -> tuple[ModerationRule, ...]:
    """The shipped rules of `fixtures/moderation/strict.toml`."""
    return tuple(read_moderation_rule(rule) for rule in data.moderation_tables())
