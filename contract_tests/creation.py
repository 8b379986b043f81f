"""The reply to a create request, and the ids."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from contract_tests.shapes import fits
from sora_mock.verify.rule import TEN_SECONDS, equal, rule, true
from sora_mock.verify.target import GENERATION, Target

REPLY = "published contract, VideoGenerationResponse"
ID = re.compile(r"task-unified-\d{10}-[a-z0-9]{8}")


RECORDED = "recorded reply (R)"
Check = Callable[[Target, Any], None]


def of_reply(name: str, claim: str, source: str = REPLY) -> Callable[[Check], Check]:
    """Declares a rule on the reply to a create request; on the live service one create request serves all of them."""

    def declare(check: Check) -> Check:
        declared = rule(id=f"creation.{name}", claim=claim, source=source, price=TEN_SECONDS, shared=True)
        declared(lambda target: check(target, target.shared()))
        return check

    return declare


@of_reply("shape", "the reply has the shape VideoGenerationResponse")
def shape(target: Target, reply: Any) -> None:
    """Every documented field."""
    fits("VideoGenerationResponse", reply)


@of_reply("fixed", "model, object and type are those of a video")
def fixed(target: Target, reply: Any) -> None:
    """Constants."""
    equal("model", reply["model"], "sora-2-beta-max")
    equal("object", reply["object"], "video.generation.task")
    equal("type", reply["type"], "video")


@of_reply(
    "first_state",
    "a new task is pending with progress 0, or just processing",
    f"{REPLY}; {RECORDED} for processing",
)
def first_state(target: Target, reply: Any) -> None:
    """On a mock with its settings as they come: pending."""
    state = (reply["status"], reply["progress"])
    allowed = [("pending", 0)] if target.is_mock else [("pending", 0), ("processing", 0), ("processing", 1)]
    true("status and progress", state in allowed, state, allowed)


@of_reply("can_cancel", "a new task can be cancelled", RECORDED)
def can_cancel(target: Target, reply: Any) -> None:
    """task_info.can_cancel."""
    equal("can_cancel", reply["task_info"]["can_cancel"], True)


@of_reply("id", "an id is task-unified-, ten digits that equal created, and eight of a-z0-9", RECORDED)
def task_id(target: Target, reply: Any) -> None:
    """All ten real ids look like that."""
    true("id", ID.fullmatch(reply["id"]), reply["id"], ID.pattern)
    equal("digits of the id", reply["id"][13:23], str(reply["created"]))


@of_reply(
    "usage",
    "usage tells the rule, the group and the price: per_call, 5.76 for ten seconds",
    "service documentation, credits (D)",
)
def usage(target: Target, reply: Any) -> None:
    """The group is one of two."""
    found = reply["usage"]
    equal("billing_rule", found["billing_rule"], "per_call")
    equal("credits_reserved", found["credits_reserved"], TEN_SECONDS)
    true("user_group", found["user_group"] in ("default", "vip"), found["user_group"], "default or vip")


@of_reply("created.now", "created is the present second")
def created_now(target: Target, reply: Any) -> None:
    """Within an hour, as the shared create request may be some minutes old and clocks differ; exact on a mock."""
    now = target.now() if target.is_mock else datetime.now(UTC).timestamp()
    created = reply["created"]
    true("created", abs(created - int(now)) <= (0 if target.is_mock else 3600), created, int(now))


@of_reply(
    "queried",
    "a new task can be queried at once and says the same",
    "published contract, description; service documentation, task query (D)",
)
def queried(target: Target, reply: Any) -> None:
    """What does not change."""
    task = target.task(reply["id"])
    for name in ("id", "created", "model", "object", "type"):
        equal(name, task.get(name), reply[name])


@of_reply("key_order", "the keys of replies come in alphabetical order", RECORDED)
def key_order(target: Target, reply: Any) -> None:
    """Creation and query."""
    for names in (list(reply), list(target.task(reply["id"]))):
        equal("keys", names, sorted(names))


@rule(
    id="creation.created.clock",
    claim="created follows the clock",
    source=REPLY,
    needs={"clock"},
)
def created_clock(target: Target) -> None:
    """A day later."""
    first = target.created()["created"]
    target.advance(86_400)
    equal("created", target.created()["created"], first + 86_400)


@rule(id="creation.ids.differ", claim="no two tasks have one id", source=REPLY, needs={"mock"})
def ids_differ(target: Target) -> None:
    """Twenty tasks of one second."""
    ids = {target.created()["id"] for _ in range(20)}
    equal("different ids", len(ids), 20)


@rule(
    id="creation.video_duration",
    claim="task_info tells the duration that was ordered",
    source="published contract, VideoTaskInfo",
    needs={"mock"},
)
def video_duration(target: Target) -> None:
    """10 and 15."""
    for seconds in (10, 15):
        equal("video_duration", target.created(duration=seconds)["task_info"]["video_duration"], seconds)


@rule(
    id="creation.estimated_time",
    claim="estimated_time is the whole seconds until the end",
    source="published contract, VideoTaskInfo",
    needs={"clock"},
)
def estimated_time(target: Target) -> None:
    """The mock knows it."""
    equal("estimated_time", target.created()["task_info"]["estimated_time"], int(GENERATION))


@rule(
    id="creation.scenario_header",
    claim="a mock names the scenario that it used",
    source="docs/scenarios.md",
    needs={"mock"},
)
def scenario_header(target: Target) -> None:
    """`--no-mock-headers` leaves it out."""
    reply = target.create()
    reply.must_be(200)
    true(
        "X-Mock-Scenario", reply.headers.get("x-mock-scenario", "completed") == "completed", reply.headers, "completed"
    )
