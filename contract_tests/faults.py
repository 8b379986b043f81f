"""Injected faults of responses, for requests that arrive whole and for requests in chunks."""

import time
from typing import Any

from contract_tests.wire import BODY, Wire, head, order
from sora_mock.verify.rule import Broken, equal, rule, true
from sora_mock.verify.target import CREATE, CREDITS, GENERATION, Target

SOURCE = "fixtures/scenarios/transport.toml"


def requests(target: Target, scenario: str) -> tuple[list[bytes], ...]:
    """A create request with that scenario: whole, in chunks, and with its body in a second packet."""
    line = f"X-Mock-Scenario: {scenario}"
    start = head(target, "POST", CREATE, "Content-Type: application/json", "Transfer-Encoding: chunked", line)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    return [order(target, line) + BODY], [start + chunks], [order(target, line), BODY]


def tasks(target: Target) -> int:
    """The number of tasks."""
    found: list[Any] = target.control("GET", "/tasks")["tasks"]
    return len(found)


@rule(
    id="hostile.harm.body",
    claim="a response can be broken, empty, or a web page; its length is correct, and the task exists",
    source=SOURCE,
    needs={"mock"},
)
def body(target: Target) -> None:
    """The connection stays usable."""
    for number, scenario in enumerate(("malformed_json", "empty_body", "edge_html_error", "completed")):
        for request in requests(target, scenario):
            with Wire(target) as wire:
                wire.send(*request)
                reply = wire.read()
                is_page = scenario == "edge_html_error"
                equal(f"status of {scenario}", reply.status, 524 if is_page else 200)
                equal(f"empty with {scenario}", reply.body == b"", scenario == "empty_body")
                equal(f"is page with {scenario}", reply.body.startswith(b"<!DOCTYPE html>"), is_page)
                kind = "text/html; charset=UTF-8" if is_page else "application/json"
                equal("content type", reply.headers.get("content-type"), kind)
                equal(f"is JSON with {scenario}", _is_json(reply.body), scenario == "completed")
                wire.send(head(target, "GET", CREDITS))
                equal("next status", wire.read().status, 200)
        equal(f"tasks after {scenario}", tasks(target), (3, 6, 6, 9)[number])


def _is_json(data: bytes) -> bool:
    return data.startswith(b"{") and data.endswith(b"}")


@rule(
    id="hostile.harm.lost",
    claim="the server can reset the connection before or after it handles the request, or in the middle of the body",
    source=SOURCE,
    needs={"mock"},
)
def lost(target: Target) -> None:
    """No task, then one for each request."""
    for scenario, more in (("connection_reset", 0), ("response_lost", 1), ("truncated_body", 1)):
        for request in requests(target, scenario):
            count = tasks(target)
            with Wire(target) as wire:
                wire.send(*request)
                try:
                    reply = wire.read()
                except Broken:
                    equal(f"something came with {scenario}", wire.got != b"", scenario == "truncated_body")
                else:
                    raise Broken(f"reply with {scenario}", reply.status, "none that is whole")
            equal(f"tasks after {scenario}", tasks(target) - count, more)
    target.get(CREDITS).must_be(200)


@rule(
    id="hostile.harm.slow",
    claim="the server can delay a response, or only its body, by real seconds",
    source=SOURCE,
    needs={"mock"},
)
def slow(target: Target) -> None:
    """On a create request and on a poll."""
    for scenario in ("slow_headers latency=0.15", "slow_body latency=0.15", "completed latency=0.15"):
        for request in (*requests(target, scenario), [head(target, "GET", CREDITS, f"X-Mock-Scenario: {scenario}")]):
            with Wire(target) as wire:
                began = time.monotonic()
                wire.send(*request)
                reply = wire.read()
                took = time.monotonic() - began
                equal("status", reply.status, 200)
                reply.json()
                true(f"seconds of {scenario}", 0.14 <= took < 3, took, "0.15")


@rule(
    id="hostile.harm.polls",
    claim="faults also apply to polls and files; a scenario for callbacks changes no response",
    source="docs/scenarios.md: the header works on any request",
    needs={"mock"},
)
def polls(target: Target) -> None:
    """The task itself does not change."""
    task_id = target.created()["id"]
    target.advance(GENERATION)
    link = target.task(task_id)["results"][0]
    for path in (f"/v1/tasks/{task_id}", CREDITS, link[link.index("/", 8) :]):
        plain = target.get(path).body
        for scenario in ("malformed_json", "empty_body", "edge_html_error"):
            reply = target.get(path, headers={"X-Mock-Scenario": scenario})
            equal(f"{path} is the same with {scenario}", reply.body == plain, False)
            equal("status", reply.status, 524 if scenario == "edge_html_error" else 200)
        for scenario in ("callback_before_reply", "callback_duplicate", "slow"):
            equal(f"body with {scenario}", target.get(path, headers={"X-Mock-Scenario": scenario}).body, plain)
