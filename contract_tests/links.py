"""Result links: how a test gets one, and how it describes the file that the link leads to."""

from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import pytest

from contract_tests.orders import GENERATION
from contract_tests.service import Service
from sora_mock.client import Account


def completed_link(service: Service, mock: Account, **fields: Any) -> str:
    """The link of a task that has just completed. fields: of its create request."""
    task_id = service.created(**fields)["id"]
    mock.clock.advance(GENERATION)
    return link_of(service.task(task_id))


def completed_path(service: Service, mock: Account, **fields: Any) -> str:
    """The path of `completed_link`."""
    return path_of(completed_link(service, mock, **fields))


def link_of(task: Any) -> str:
    """The link of a completed task. Fails the test where there is none."""
    results = task["results"]
    if not isinstance(results, list) or not results or not isinstance(results[0], str):
        pytest.fail(f"the task has no link: {task!r}")
    return results[0]


def path_of(link: str) -> str:
    """What a client of the link requests from its server."""
    return urlsplit(link).path


def described(data: bytes) -> str:
    """Size and digest: two files can be compared by them, and pytest can show the difference."""
    return f"{len(data)} bytes, SHA-256 {sha256(data).hexdigest()}"
