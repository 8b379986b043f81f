"""Callbacks: which addresses are accepted; when, with what body and how often the service sends them."""

from typing import Any

from sora_mock.verify.rule import REJECTION_BUDGET, equal, rule, true
from sora_mock.verify.target import GENERATION, Target

PROSE = "published contract, prose of callback_url"
HOOK = "https://inbox.sora-mock.test/hook"
RECEIVER = {"clock", "receiver"}

ACCEPTED = {
    "public": "https://hooks.example.com/video",
    "port": "https://hooks.example.com:8443/video?x=1",
    "public_ip": "https://8.8.8.8/video",
    "before_172_16": "https://172.15.255.255/",
    "after_172_31": "https://172.32.0.0/",
    "before_10": "https://9.255.255.255/",
    "after_10": "https://11.0.0.0/",
    "before_192_168": "https://192.167.255.255/",
    "after_192_168": "https://192.169.0.0/",
    "length_2048": "https://hooks.example.com/" + "x" * (2048 - 26),
}
REFUSED = {
    "http": "http://hooks.example.com/video",
    "ftp": "ftp://hooks.example.com/video",
    "no_scheme": "hooks.example.com/video",
    "relative": "/video",
    "empty": "",
    "loopback": "https://127.0.0.1/video",
    "loopback_2": "https://127.1.2.3/video",
    "ten": "https://10.0.0.0/",
    "ten_last": "https://10.255.255.255/",
    "172_16": "https://172.16.0.0/",
    "172_31": "https://172.31.255.255/",
    "192_168": "https://192.168.0.0/",
    "192_168_last": "https://192.168.255.255/",
    "localhost": "https://localhost/video",
    "link_local": "https://169.254.169.254/latest",
    "zero": "https://0.0.0.0/",
    "ipv6_loopback": "https://[::1]/",
    "ipv6_private": "https://[fc00::1]/",
    "ipv6_mapped": "https://[::ffff:127.0.0.1]/",
    "decimal": "https://2130706433/",
    "octal": "https://0177.0.0.1/",
    "hexadecimal": "https://0x7f.1/",
    "percent": "https://%31%32%37.0.0.1/",
    "length_2049": "https://hooks.example.com/" + "x" * (2049 - 26),
}


def _accepts(name: str, url: str) -> None:
    # mocks only: the live service must never send a callback to a third party
    @rule(id=f"callback.url.accepts.{name}", claim=f"{url[:60]} is accepted", source=PROSE, needs={"mock"})
    def check(target: Target) -> None:
        target.create(callback_url=url).must_be(200)


def _refuses(name: str, url: str) -> None:
    @rule(
        id=f"callback.url.refuses.{name}",
        claim=f"{url[:60]!r} gets 400 invalid_request",
        source=PROSE,
        needs={REJECTION_BUDGET},
    )
    def check(target: Target) -> None:
        error = target.create(callback_url=url).error(400, "invalid_request", "invalid_request_error")
        if target.is_mock:
            equal("error.param", error.get("param"), "callback_url")


for _name, _url in ACCEPTED.items():
    _accepts(_name, _url)
for _name, _url in REFUSED.items():
    _refuses(_name, _url)


def messages(target: Target, name: str = "hook") -> list[Any]:
    """The messages in the inbox."""
    found: list[Any] = target.control("GET", f"/inbox/{name}")["messages"]
    return found


def replies(target: Target, *statuses: int) -> None:
    """Sets the statuses of the inbox's replies. The last one repeats."""
    target.control("PUT", "/inbox/hook", {"replies": [{"status": status} for status in statuses]})


def ages(target: Target) -> list[float]:
    """Seconds from the task's end to each message."""
    end = target.control("GET", "/tasks")["tasks"][0]["mock"]["ended_at"]
    return [round(message["at"] - end, 3) for message in messages(target)]


def _reported(target: Target, statuses: list[int], wanted: list[float], state: str) -> None:
    """Raises Broken unless these replies lead to attempts at these ages and to this state of the delivery."""
    replies(target, *statuses)
    target.created(callback_url=HOOK)
    target.advance(GENERATION + 3600)
    equal("ages", ages(target), wanted)
    equal("state", target.control("GET", "/deliveries")["deliveries"][0]["state"], state)


@rule(id="callback.moment", claim="the callback is sent when the task ends, not before", source=PROSE, needs=RECEIVER)
def due(target: Target) -> None:
    """Nothing at 19.9 s, one at 20."""
    target.created(callback_url=HOOK)
    target.advance(GENERATION - 0.1)
    equal("messages", len(messages(target)), 0)
    target.advance(0.1)
    equal("ages", ages(target), [0])


def _body(name: str, scenario: str, **override: Any) -> None:
    @rule(
        id=f"callback.body.{name}",
        claim=f"the callback of a task that is {name} is the response to the query, byte for byte",
        source=f"{PROSE}: body as in the task query",
        needs=RECEIVER,
    )
    def check(target: Target) -> None:
        target.scenario(scenario, generation_time=GENERATION, **override)
        task_id = target.created(callback_url=HOOK)["id"]
        target.advance(GENERATION)
        got = messages(target)
        equal("messages", len(got), 1)
        equal("body", got[0]["body"].encode(), target.get(f"/v1/tasks/{task_id}").body)
        equal("content type", got[0]["headers"]["content-type"], "application/json")


_body("completed", "completed")
_body("failed", "failed", code="service_error")
_body("moderated", "moderation_celebrity")


@rule(id="callback.cancelled", claim="a cancelled task is reported at once", source=PROSE, needs=RECEIVER)
def cancelled(target: Target) -> None:
    """Five seconds after its create request."""
    task_id = target.created(callback_url=HOOK)["id"]
    target.advance(5)
    target.control("POST", f"/tasks/{task_id}/finish", {"outcome": "cancelled"})
    target.advance(0)
    got = target.control("GET", "/inbox/hook?wait=5&count=1")["messages"]
    equal("messages", len(got), 1)
    equal("code", got[0]["json"]["error"]["code"], "request_cancelled")


@rule(id="callback.none", claim="a task without callback_url is not reported", source=PROSE, needs=RECEIVER)
def none(target: Target) -> None:
    """No delivery exists."""
    target.created()
    target.advance(GENERATION * 2)
    equal("deliveries", target.control("GET", "/deliveries")["deliveries"], [])


@rule(
    id="callback.billing",
    claim="the callback comes after the credits are settled",
    source=f"{PROSE}: sent after billing",
    needs=RECEIVER | {"ledger"},
)
def billing(target: Target) -> None:
    """When the callback arrives, nothing is reserved."""
    target.created(callback_url=HOOK)
    target.advance(GENERATION)
    equal("messages", len(messages(target)), 1)
    equal("reserved", target.control("GET", "/account")["reserved_credits"], 0)
    equal("used", target.balance()[1], 5.76)


@rule(
    id="callback.schedule",
    claim="failed attempts are repeated after 1, 2 and 4 s: at 0, 1, 3 and 7 s, then never",
    source=PROSE,
    needs=RECEIVER,
)
def schedule(target: Target) -> None:
    """The receiver always responds with 500."""
    _reported(target, [500], [0, 1, 3, 7], "failed")


@rule(id="callback.schedule.steps", claim="each retry is sent when it is due, not before", source=PROSE, needs=RECEIVER)
def schedule_steps(target: Target) -> None:
    """A tenth of a second before and at each."""
    replies(target, 503)
    target.created(callback_url=HOOK)
    target.advance(GENERATION)
    for count, pause in ((1, 1.0), (2, 2.0), (3, 4.0)):
        target.advance(pause - 0.1)
        equal("attempts before", len(messages(target)), count)
        target.advance(0.1)
        equal("attempts when due", len(messages(target)), count + 1)


@rule(id="callback.same_body", claim="every attempt has the same body", source=PROSE, needs=RECEIVER)
def same_body(target: Target) -> None:
    """Four times."""
    replies(target, 500)
    target.created(callback_url=HOOK)
    target.advance(GENERATION + 10)
    equal("different bodies", len({each["body"] for each in messages(target)}), 1)


def _status(status: int, counts: bool) -> None:
    @rule(
        id=f"callback.status.{status}",
        claim=f"a {status} {'is a success: no further attempt' if counts else 'is a failure: it is tried again'}",
        source=f"{PROSE}: 2xx is success, others are retried",
        needs=RECEIVER,
    )
    def check(target: Target) -> None:
        _reported(target, [status, 200], [0] if counts else [0, 1], "succeeded")


for _code in (200, 201, 202, 204, 206, 299):
    _status(_code, True)
for _code in (300, 301, 302, 304, 307, 308, 400, 401, 404, 410, 429, 500, 502, 503, 599):
    _status(_code, False)


def _recovers(failures: int, wanted: list[float]) -> None:
    @rule(
        id=f"callback.recovers.{failures}",
        claim=f"after {failures} failed attempts a success ends it",
        source=PROSE,
        needs=RECEIVER,
    )
    def check(target: Target) -> None:
        _reported(target, [*[500] * failures, 204], wanted, "succeeded")


_recovers(2, [0, 1, 3])
_recovers(3, [0, 1, 3, 7])


@rule(id="callback.once", claim="a delivered callback never comes again", source=PROSE, needs=RECEIVER)
def once(target: Target) -> None:
    """Two days and a query later."""
    task_id = target.created(callback_url=HOOK)["id"]
    target.advance(GENERATION)
    target.task(task_id)
    target.advance(2 * 86_400)
    equal("messages", len(messages(target)), 1)


@rule(id="callback.each", claim="each task has a callback of its own", source=PROSE, needs=RECEIVER)
def each_one(target: Target) -> None:
    """Five tasks."""
    ids = [target.created(callback_url=HOOK)["id"] for _ in range(5)]
    target.advance(GENERATION)
    equal("ids", sorted(each["json"]["id"] for each in messages(target)), sorted(ids))


@rule(
    id="callback.timeout",
    claim="a receiver that needs more than 10 s is a failed attempt",
    source=f"{PROSE}: timeout 10 seconds",
    needs=RECEIVER,
)
def timeout(target: Target) -> None:
    """Ten real seconds."""
    target.control("PUT", "/inbox/hook", {"replies": [{"status": 200, "delay": 10.5}, {"status": 200}]})
    target.created(callback_url=HOOK)
    target.advance(GENERATION + 60)
    attempts = target.control("GET", "/deliveries")["deliveries"][0]["attempts"]
    equal("attempts", len(attempts), 2)
    true("seconds of the first", 9.5 <= attempts[0]["seconds"] <= 10.4, attempts[0]["seconds"], 10)


@rule(id="callback.method", claim="a callback is a POST of JSON to the very path", source=PROSE, needs=RECEIVER)
def path(target: Target) -> None:
    """Another inbox stays empty."""
    target.created(callback_url="https://inbox.sora-mock.test/deep-name")
    target.advance(GENERATION)
    equal("messages of another inbox", len(messages(target)), 0)
    equal("messages", len(messages(target, "deep-name")), 1)


@rule(
    id="callback.refused_creation",
    claim="a rejected create request never sends a callback",
    source=PROSE,
    needs=RECEIVER,
)
def rejected_create_request(target: Target) -> None:
    """No task, no callback."""
    target.create(callback_url=HOOK, duration=11).error(400, "invalid_request")
    target.advance(GENERATION * 2)
    equal("messages", len(messages(target)), 0)
