"""Steers a running mock over HTTP: an account, its clock, its tasks, its callbacks. Imports no server code."""

from sora_mock.client.account import Account, AllAccounts
from sora_mock.client.control import Refused
from sora_mock.client.http import Unreachable, wait

__all__ = ["Account", "AllAccounts", "Refused", "Unreachable", "wait"]
