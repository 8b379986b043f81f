"""Injected faults of responses, for requests that arrive whole and for requests in chunks. Mocks only."""

import time

import pytest

from contract_tests.links import link_of, path_of
from contract_tests.orders import CREDITS, GENERATION
from contract_tests.reading import json_of
from contract_tests.service import Service, accepted
from contract_tests.wire import BODY, Wire, chunked, create_head, head
from sora_mock.client import Account

SOURCE = "fixtures/scenarios/transport.toml"


def create_requests(service: Service, scenario: str) -> list[list[bytes]]:
    """A create request with that scenario: whole, in a chunk, and with its body in a second packet."""
    line = f"X-Mock-Scenario: {scenario}"
    start = create_head(service, line)
    return [[start + BODY], [chunked(service, line)], [start, BODY]]


@pytest.mark.contract(id="hostile.harm.body", source=SOURCE, needs={"mock"})
def test_a_response_can_be_broken_or_empty_or_a_web_page(service: Service, mock: Account) -> None:
    """A response can be broken or empty, and the task exists; or it is a web page; its length is correct."""
    json, html = "application/json", "text/html; charset=UTF-8"
    # status, content type, first and last byte; and whether the task exists
    expected = {
        "malformed_json": ((200, json, False), True),
        "empty_body": ((200, json, False), True),
        "edge_html_error": ((524, html, False), False),
        "completed": ((200, json, True), True),
    }
    for scenario, (response_as, has_task) in expected.items():
        tasks = len(mock.tasks)
        for request in create_requests(service, scenario):
            with Wire(service) as wire:
                wire.send(*request)
                response = wire.read()
                body = response.content
                is_json = body.startswith(b"{") and body.endswith(b"}")
                found = (response.status_code, response.headers.get("content-type"), is_json)
                assert found == response_as, scenario
                assert (body == b"") is (scenario == "empty_body"), scenario
                assert body.startswith(b"<!DOCTYPE html>") is (scenario == "edge_html_error"), scenario
                # the length was correct, so the connection stays usable
                wire.send(head(service, "GET", CREDITS))
                assert wire.read().status_code == 200, scenario
        assert len(mock.tasks) - tasks == (3 if has_task else 0), scenario


@pytest.mark.contract(id="hostile.harm.lost", source=SOURCE, needs={"mock"})
def test_the_server_can_reset_the_connection(service: Service, mock: Account) -> None:
    """The server can reset the connection before or after it handles the request, or in the middle of the body."""
    for scenario, tasks_more in (("connection_reset", 0), ("response_lost", 1), ("truncated_body", 1)):
        for request in create_requests(service, scenario):
            tasks = len(mock.tasks)
            with Wire(service) as wire:
                wire.send(*request)
                assert wire.read_if_whole() is None, scenario
                body = wire.unread.partition(b"\r\n\r\n")[2]
                assert (body != b"") is (scenario == "truncated_body"), wire.unread
            assert len(mock.tasks) - tasks == tasks_more, scenario
    assert accepted(service.get(CREDITS))


@pytest.mark.contract(id="hostile.harm.slow", source=SOURCE, needs={"mock"})
def test_the_server_can_delay_a_response_or_only_its_body(service: Service) -> None:
    """The server can delay a response, or only its body, by real seconds."""
    for scenario in ("slow_headers latency=0.1", "slow_body latency=0.1", "completed latency=0.1"):
        poll = [head(service, "GET", CREDITS, f"X-Mock-Scenario: {scenario}")]
        for request in (*create_requests(service, scenario), poll):
            with Wire(service) as wire:
                began = time.monotonic()
                wire.send(*request)
                response = wire.read()
                seconds = time.monotonic() - began
                assert response.status_code == 200, scenario
                json_of(response)
                assert 0.09 <= seconds < 3, scenario


@pytest.mark.contract(
    id="hostile.harm.polls", source="docs/scenarios.md: the header works on any request", needs={"mock"}
)
def test_faults_apply_to_polls_and_files_too(service: Service, mock: Account) -> None:
    """Faults also apply to polls and files; a scenario for callbacks changes no response."""
    task_id = service.created()["id"]
    mock.clock.advance(GENERATION)
    link = link_of(service.task(task_id))
    for path in (f"/v1/tasks/{task_id}", CREDITS, path_of(link)):
        plain = service.get(path).content
        for scenario, status in (("malformed_json", 200), ("empty_body", 200), ("edge_html_error", 524)):
            response = service.get(path, headers={"X-Mock-Scenario": scenario})
            assert response.status_code == status, (path, scenario)
            assert (response.content == plain) is False, (path, scenario)
        for scenario in ("callback_before_reply", "callback_duplicate", "slow"):
            response = service.get(path, headers={"X-Mock-Scenario": scenario})
            assert (response.content == plain) is True, (path, scenario)
