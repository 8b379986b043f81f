"""The reply to a creation, and the ids."""

import re
from datetime import UTC, datetime

from contract_tests.shapes import fits
from sora_mock.verify.rule import TEN_SECONDS, equal, rule, true
from sora_mock.verify.target import GENERATION, Target

REPLY = "published contract, VideoGenerationResponse"
ID = re.compile(r"task-unified-\d{10}-[a-z0-9]{8}")


@rule(
    id="creation.shape",
    claim="the reply has the shape VideoGenerationResponse",
    source=REPLY,
    price=TEN_SECONDS,
    shared=True,
)
def shape(target: Target) -> None:
    """Every documented field."""
    fits("VideoGenerationResponse", target.shared())


@rule(
    id="creation.fixed",
    claim="model, object and type are those of a video",
    source=REPLY,
    price=TEN_SECONDS,
    shared=True,
)
def fixed(target: Target) -> None:
    """Constants."""
    reply = target.shared()
    equal("model", reply["model"], "sora-2-beta-max")
    equal("object", reply["object"], "video.generation.task")
    equal("type", reply["type"], "video")


@rule(
    id="creation.first_state",
    claim="a new task is pending with progress 0, or just processing",
    source=f"{REPLY}; recorded reply (R) for processing",
    price=TEN_SECONDS,
    shared=True,
)
def first_state(target: Target) -> None:
    """On a mock with its settings as they come: pending."""
    reply = target.shared()
    state = (reply["status"], reply["progress"])
    allowed = [("pending", 0)] if target.is_mock else [("pending", 0), ("processing", 0), ("processing", 1)]
    true("status and progress", state in allowed, state, allowed)


@rule(
    id="creation.can_cancel",
    claim="a new task can be cancelled",
    source="recorded reply (R)",
    price=TEN_SECONDS,
    shared=True,
)
def can_cancel(target: Target) -> None:
    """task_info.can_cancel."""
    equal("can_cancel", target.shared()["task_info"]["can_cancel"], True)


@rule(
    id="creation.id",
    claim="an id is task-unified-, ten digits that equal created, and eight of a-z0-9",
    source="recorded reply (R)",
    price=TEN_SECONDS,
    shared=True,
)
def task_id(target: Target) -> None:
    """All ten real ids look like that."""
    reply = target.shared()
    true("id", ID.fullmatch(reply["id"]), reply["id"], ID.pattern)
    equal("digits of the id", reply["id"][13:23], str(reply["created"]))


@rule(
    id="creation.usage",
    claim="usage tells the rule, the group and the price: per_call, 5.76 for ten seconds",
    source="service-facts, credits (D)",
    price=TEN_SECONDS,
    shared=True,
)
def usage(target: Target) -> None:
    """The group is one of two."""
    found = target.shared()["usage"]
    equal("billing_rule", found["billing_rule"], "per_call")
    equal("credits_reserved", found["credits_reserved"], TEN_SECONDS)
    true("user_group", found["user_group"] in ("default", "vip"), found["user_group"], "default or vip")


@rule(
    id="creation.created.now",
    claim="created is the present second",
    source=REPLY,
    price=TEN_SECONDS,
    shared=True,
)
def created_now(target: Target) -> None:
    """Within a day, as the shared creation may be some minutes old and clocks differ; exact on a mock."""
    now = target.now() if target.is_mock else datetime.now(UTC).timestamp()
    created = target.shared()["created"]
    true("created", abs(created - int(now)) <= (0 if target.is_mock else 3600), created, int(now))


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
    id="creation.queried",
    claim="a new task can be queried at once and says the same",
    source="published contract, description; service-facts, task query (D)",
    price=TEN_SECONDS,
    shared=True,
)
def queried(target: Target) -> None:
    """What does not change."""
    reply = target.shared()
    task = target.task(reply["id"])
    for name in ("id", "created", "model", "object", "type"):
        equal(name, task.get(name), reply[name])


@rule(
    id="creation.key_order",
    claim="the keys of replies come in alphabetical order",
    source="recorded reply (R)",
    price=TEN_SECONDS,
    shared=True,
)
def key_order(target: Target) -> None:
    """Creation and query."""
    reply = target.shared()
    for names in (list(reply), list(target.task(reply["id"]))):
        equal("keys", names, sorted(names))


@rule(
    id="creation.scenario_header",
    claim="a mock names the scenario that it used",
    source="interface.md, choosing what happens",
    needs={"mock"},
)
def scenario_header(target: Target) -> None:
    """`--no-mock-headers` leaves it out."""
    reply = target.create()
    reply.must_be(200)
    true(
        "X-Mock-Scenario", reply.headers.get("x-mock-scenario", "completed") == "completed", reply.headers, "completed"
    )
