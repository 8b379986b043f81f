"""What can be wrong with a callback beside its receiver: it comes twice, late, early, or with more in it."""

from contract_tests.callbacks import HOOK, RECEIVER, ages, messages
from sora_mock.verify.rule import equal, rule, true
from sora_mock.verify.target import GENERATION, Target


@rule(
    id="callback.manner.again",
    claim="a callback can come twice, late, or with fields that the query has not",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def manners(target: Target) -> None:
    """A second later; a minute later; once."""
    wanted: dict[str, list[float]] = {"duplicate": [0, 1], "late": [60], "extra_field": [0]}
    for name, moments in wanted.items():
        target.control("POST", "/reset", {})
        target.prepare(target.key)
        target.scenario(f"callback_{name}", generation_time=GENERATION)
        task_id = target.created(callback_url=HOOK)["id"]
        target.advance(GENERATION + 59.9)
        equal(f"messages of {name} before", len(messages(target)), len([each for each in moments if each < 60]))
        target.advance(600)
        equal(f"ages of {name}", ages(target), moments)
        equal("state", target.control("GET", "/deliveries")["deliveries"][0]["state"], "succeeded")
        task = target.task(task_id)
        for message in messages(target):
            more = message["json"].keys() - task.keys()
            equal(f"further fields of {name}", bool(more), name == "extra_field")


@rule(
    id="callback.manner.duplicate",
    claim="a duplicate follows the first success, whatever came before it, and ends it whatever it is answered",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def duplicate(target: Target) -> None:
    """Success at the second attempt; the duplicate is refused."""
    replies = [{"status": status} for status in (500, 200, 500, 200)]
    target.control("PUT", "/inbox/hook", {"replies": replies})
    target.scenario("callback_duplicate", generation_time=GENERATION)
    target.created(callback_url=HOOK)
    target.advance(GENERATION + 600)
    equal("ages", ages(target), [0, 1, 2])


@rule(
    id="callback.manner.order",
    claim="two callbacks can change places; one alone waits a minute",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def changed_places(target: Target) -> None:
    """The second of two tasks is reported first."""
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
    claim="a callback that waits for another one waits until that one is delivered or given up",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def held(target: Target) -> None:
    """The other one fails once, then four times; a task that is not over is not reported for it."""
    for failures, moments in ((1, [0, 1, 1]), (4, [0, 1, 3, 7, 7])):
        target.control("POST", "/reset", {})
        target.prepare(target.key)
        replies = [{"status": 500}] * failures + [{"status": 200}]
        target.control("PUT", "/inbox/hook", {"replies": replies})
        target.scenario("callback_out_of_order", generation_time=GENERATION)
        first = target.created(callback_url=HOOK)["id"]
        target.scenario("completed", generation_time=GENERATION)
        target.created(callback_url=HOOK)
        target.advance(GENERATION + 30)
        equal("ages", ages(target), moments)
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
    claim="a callback can come before the reply to the creation",
    source="fixtures/scenarios/callbacks.toml",
    needs=RECEIVER,
)
def before(target: Target) -> None:
    """When the reply is there, so is the callback."""
    target.scenario("callback_before_reply")
    target.control("PUT", "/inbox/hook", {"replies": [{"status": 200, "delay": 0.3}]})
    reply = target.create(callback_url=HOOK)
    states = [each["state"] for each in target.control("GET", "/deliveries")["deliveries"]]
    equal("states of the delivery when the reply is there", states, ["succeeded"])
    got = messages(target)
    equal("ids", [each["json"]["id"] for each in got], [reply.must_be(200)["id"]])
    true("status", got[0]["json"]["status"] == "completed", got[0]["json"], "completed")
