"""Steer a running mock over HTTP: an account, its clock, its tasks, its callbacks. Imports nothing of the server."""

from sora_mock.client.account import Account, Refused
from sora_mock.client.http import Unreachable, wait

__all__ = ["Account", "Refused", "Unreachable", "wait"]
