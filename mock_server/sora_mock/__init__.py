"""sora-mock: a local server that behaves like an asynchronous video generation service."""

from sora_mock import version

__version__ = version.VERSION
__all__ = ["__version__"]
