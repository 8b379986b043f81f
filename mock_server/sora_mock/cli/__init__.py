"""The command line."""

from sora_mock.runtime.collector import collector_paused

with collector_paused():
    from sora_mock.cli.commands import main

__all__ = ["main"]
