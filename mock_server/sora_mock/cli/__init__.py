"""The command line."""

from sora_mock.cli.commands import main

__all__ = ["main"]
