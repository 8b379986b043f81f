"""Credits and rate limit over time: ends out of order, unlimited accounts, the refill of the token bucket."""

import math

from sora_mock.verify.rule import FIFTEEN_SECONDS, equal, rule, true
from sora_mock.verify.target import GENERATION, Target


@rule(
    id="money.order",
    claim="each task is settled at its own end, in any order of ends",
    source="service documentation, credits (D): reserved at the create request, settled on completion",
    needs={"clock", "ledger"},
)
def out_of_order(target: Target) -> None:
    """Ends at 20, 10, 5, 15, 10 and 2 s; some fail."""
    tasks = ((20, True), (10, False), (5, True), (15, True), (10, True), (2, False), (25, False))
    for seconds, completes in tasks:
        target.scenario("completed" if completes else "failed", generation_time=seconds)
        target.created(duration=15)
    for now in range(1, 31):
        target.advance(1)
        used = sum(1 for seconds, completes in tasks if completes and seconds <= now)
        back = sum(1 for seconds, completes in tasks if not completes and seconds <= now)
        wanted = (round(1000 - FIFTEEN_SECONDS * (len(tasks) - back), 4), round(FIFTEEN_SECONDS * used, 4))
        equal(f"balance after {now} s", target.balance(), wanted)
    account = target.control("GET", "/account")
    equal("reserved", account["reserved_credits"], 0)


@rule(
    id="money.unlimited",
    claim="an unlimited account says so, is never refused, and still counts what it uses",
    source="service documentation, credits (D); the figure shown is an assumption (docs/fidelity.md)",
    needs={"clock", "ledger"},
)
def unlimited(target: Target) -> None:
    """And after that it can be limited again."""
    limited = target.get("/v1/credits").must_be(200)["data"]
    equal("unlimited_credits", limited["token"]["unlimited_credits"], False)
    equal("user", limited["user"], {"remaining_credits": 1000, "used_credits": 0})
    target.control("PATCH", "/account", {"remaining_credits": "unlimited"})
    target.created(duration=15)
    target.scenario("failed", generation_time=GENERATION)
    target.created(duration=15)
    target.advance(GENERATION)
    body = target.get("/v1/credits").must_be(200)
    figures = {"remaining_credits": 999_999_999, "used_credits": FIFTEEN_SECONDS}
    equal("token", body["data"]["token"], {**figures, "unlimited_credits": True})
    equal("user", body["data"]["user"], figures)
    for found in (body, body["data"], body["data"]["token"], body["data"]["user"]):
        equal("keys", list(found), sorted(found))
    equal("reserved", target.control("GET", "/account")["reserved_credits"], 0)
    target.control("PATCH", "/account", {"remaining_credits": 5})
    target.create().error(402, "insufficient_quota")


@rule(
    id="rate.steps",
    claim="the bucket refills evenly; a refused request takes nothing; Retry-After is always enough and never long",
    source="published contract, responses 429; Retry-After (C)",
    needs={"clock"},
)
def steps(target: Target) -> None:
    """Per second, minute, hour and day; one token each period/N."""
    for text, each in (("2/second", 0.5), ("4/minute", 15.0), ("2/hour", 1800.0), ("1/day", 86_400.0)):
        target.control("PATCH", "/account", {"rate_limit": text})
        for _ in range(int(text[0])):
            target.get("/v1/credits").must_be(200)
        target.advance(each * 0.75)
        for _ in range(3):
            reply = target.get("/v1/credits")
            reply.error(429, "rate_limit_exceeded", "evo_api_error")
            equal(f"Retry-After of {text}", reply.headers.get("retry-after"), str(max(1, math.ceil(each * 0.25))))
        target.advance(each * 0.25)
        target.get("/v1/credits").must_be(200)
        target.get("/v1/credits").error(429, "rate_limit_exceeded")
        target.advance(each * 1.5)
        equal(f"statuses of {text}", [target.get("/v1/credits").status for _ in range(2)], [200, 429])


@rule(
    id="rate.speed",
    claim="on a fast clock Retry-After is in real seconds",
    source="docs/fidelity.md, Retry-After: whole real seconds",
    needs={"clock"},
)
def speed(target: Target) -> None:
    """An hour at sixty times the speed is a minute."""
    target.control("PATCH", "/account", {"rate_limit": "1/hour"})
    target.get("/v1/credits").must_be(200)
    target.control("PATCH", "/clock", {"frozen": False, "speed": 60})
    after = int(target.get("/v1/credits").headers.get("retry-after", "0"))
    true("Retry-After", 50 <= after <= 60, after, "at most 60")


@rule(
    id="money.reset",
    claim="an account that is reset begins anew: no tasks, no use, no queue, nothing remembered, another first task",
    source="docs/reference.md, control API, reset",
    needs={"mock", "ledger"},
)
def reset(target: Target) -> None:
    """Twice, and another account keeps its own."""
    other = target.other_account()
    kept = target.created(key=other)["id"]
    key = {"Idempotency-Key": "verify-0123456789-abcdef"}
    for _ in range(2):
        task_id = target.create(headers=key, callback_url="https://inbox.sora-mock.test/hook").must_be(200)["id"]
        target.advance(GENERATION)
        path = target.task(task_id)["results"][0].partition("/files/")[2]
        target.control("POST", "/reset", {})
        target.get(f"/v1/tasks/{task_id}").error(404, "task_not_found")
        target.get(f"/files/{path}", key=None).error(404, "file_not_found")
        for name, path_of_list in (("tasks", "/tasks"), ("deliveries", "/deliveries"), ("messages", "/inbox/hook")):
            equal(name, target.control("GET", path_of_list)[name], [])
        equal("queue", target.control("GET", "/scenarios")["queue"], [])
        equal("used", target.balance()[1], 0)
        target.prepare(target.key)
        equal("replayed", target.create(headers=key).headers.get("idempotency-replayed"), None)
        equal("tasks", len(target.control("GET", "/tasks")["tasks"]), 1)
        target.control("POST", "/reset", {})
        target.prepare(target.key)
    target.task(kept, key=other)
