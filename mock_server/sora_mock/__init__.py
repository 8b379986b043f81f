"""sora-mock: a local server that behaves like an asynchronous video generation service.

The public names are those of `__all__` (docs/library.md). Each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sora_mock import version

__version__ = version.VERSION

if TYPE_CHECKING:
    from sora_mock.app import create_app
    from sora_mock.client import Account, Refused, Unreachable
    from sora_mock.config.options import Options
    from sora_mock.config.settings import SettingError
    from sora_mock.server import MockServer

__all__ = [
    "Account",
    "MockServer",
    "Options",
    "Refused",
    "SettingError",
    "Unreachable",
    "__version__",
    "create_app",
]

_ROOMS = {
    "Account": "client",
    "MockServer": "server",
    "Options": "config.options",
    "Refused": "client",
    "SettingError": "config.settings",
    "Unreachable": "client",
    "create_app": "app",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
