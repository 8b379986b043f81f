"""Variants of a callback: it is sent twice, late, early, out of order, or with more fields."""

from contract_tests.callbacks import HOOK, RECEIVER, ages, messages
from sora_mock.verify.rule import equal, rule, true
from sora_mock.verify.target import GENERATION, Target


@rule(
    id="callback.manner.again",
    claim="a callback can be sent twice, late, or with fields that the query does not have",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def variants(target: Target) -> None:
    """A second later, a minute later, and once with more fields."""
    wanted: dict[str, list[float]] = {"duplicate": [0, 1], "late": [60], "extra_field": [0]}
    for name, times in wanted.items():
        target.control("POST", "/reset", {})
        target.prepare(target.key)
        target.scenario(f"callback_{name}", generation_time=GENERATION)
        task_id = target.created(callback_url=HOOK)["id"]
        target.advance(GENERATION + 59.9)
        equal(f"messages of {name} before", len(messages(target)), len([each for each in times if each < 60]))
        target.advance(600)
        equal(f"ages of {name}", ages(target), times)
        equal("state", target.control("GET", "/deliveries")["deliveries"][0]["state"], "succeeded")
        task = target.task(task_id)
        for message in messages(target):
            more = message["json"].keys() - task.keys()
            equal(f"further fields of {name}", bool(more), name == "extra_field")


@rule(
    id="callback.manner.duplicate",
    claim="a duplicate follows the first success, and no further attempt follows the duplicate",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def duplicate(target: Target) -> None:
    """The second attempt succeeds. The receiver rejects the duplicate."""
    replies = [{"status": status} for status in (500, 200, 500, 200)]
    target.control("PUT", "/inbox/hook", {"replies": replies})
    target.scenario("callback_duplicate", generation_time=GENERATION)
    target.created(callback_url=HOOK)
    target.advance(GENERATION + 600)
    equal("ages", ages(target), [0, 1, 2])


@rule(
    id="callback.manner.order",
    claim="the order of two callbacks can be reversed; a single one waits a minute",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def reversed_order(target: Target) -> None:
    """The callback of the second task comes first."""
    target.scenario("callback_out_of_order", generation_time=GENERATION)
    first = target.created(callback_url=HOOK)["id"]
    target.advance(5)
    second = target.created(callback_url=HOOK)["id"]
    target.advance(GENERATION - 5)
    equal("messages", messages(target), [])
    target.advance(5)
    equal("ids", [each["json"]["id"] for each in messages(target)], [second, first])
    alone = target.created(callback_url=HOOK)["id"]
    target.advance(GENERATION + 59)
    equal("messages", len(messages(target)), 2)
    target.advance(1)
    equal("ids", [each["json"]["id"] for each in messages(target)], [second, first, alone])
    target.advance(600)
    equal("messages", len(messages(target)), 3)


@rule(
    id="callback.manner.held",
    claim="a held callback waits until the next one is delivered or given up",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def held(target: Target) -> None:
    """The next callback fails once, then four times. A task that has not ended sends nothing."""
    for failures, times in ((1, [0, 1, 1]), (4, [0, 1, 3, 7, 7])):
        target.control("POST", "/reset", {})
        target.prepare(target.key)
        replies = [{"status": 500}] * failures + [{"status": 200}]
        target.control("PUT", "/inbox/hook", {"replies": replies})
        target.scenario("callback_out_of_order", generation_time=GENERATION)
        first = target.created(callback_url=HOOK)["id"]
        target.scenario("completed", generation_time=GENERATION)
        target.created(callback_url=HOOK)
        target.advance(GENERATION + 30)
        equal("ages", ages(target), times)
        equal("last id", messages(target)[-1]["json"]["id"], first)
    target.control("PUT", "/inbox/hook", {"replies": [{"status": 200}]})
    target.scenario("callback_out_of_order", generation_time=100)
    slow = target.created(callback_url=HOOK)["id"]
    target.scenario("completed", generation_time=GENERATION)
    target.created(callback_url=HOOK)
    target.advance(99)
    equal("messages of the slow task", [each for each in messages(target) if each["json"]["id"] == slow], [])
    target.advance(61.1)
    equal("messages of the slow task", len([each for each in messages(target) if each["json"]["id"] == slow]), 1)


@rule(
    id="callback.manner.before",
    claim="a callback can arrive before the response to the create request",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def before(target: Target) -> None:
    """When the response arrives, the callback has arrived."""
    target.scenario("callback_before_reply")
    target.control("PUT", "/inbox/hook", {"replies": [{"status": 200, "delay": 0.3}]})
    reply = target.create(callback_url=HOOK)
    states = [each["state"] for each in target.control("GET", "/deliveries")["deliveries"]]
    equal("states of the delivery when the reply is there", states, ["succeeded"])
    got = messages(target)
    equal("ids", [each["json"]["id"] for each in got], [reply.must_be(200)["id"]])
    true("status", got[0]["json"]["status"] == "completed", got[0]["json"], "completed")
