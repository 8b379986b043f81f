"""The choice of a scenario on a mock: the header comes first, then token, key and queue."""

from typing import Any

from contract_tests.callbacks import HOOK, messages
from sora_mock.verify.rule import TEN_SECONDS, equal, rule
from sora_mock.verify.target import CREATE, CREDITS, GENERATION, ORDER, Target

SOURCE = "docs/scenarios.md"
TASK = "/v1/tasks/task-unified-1000000000-00000000"
HEADER = "X-Mock-Scenario"


def used(target: Target, **more: Any) -> str | None:
    """The scenario that the response to a new create request names."""
    reply = target.create(**more)
    reply.must_be(200)
    return reply.headers.get("x-mock-scenario")


@rule(
    id="creation.choice.strength",
    claim="the header of a request overrides the token of its prompt, and the token overrides the queue",
    source=SOURCE,
    needs={"mock"},
)
def strength(target: Target) -> None:
    """Unused rules stay in the queue. Without any choice, the scenario is `completed`."""
    target.control("DELETE", "/scenarios")
    target.control("POST", "/scenarios", {"scenario": "slow", "times": 2})
    header, token = {HEADER: "instant"}, "A cat [[mock:stuck]]"
    equal("header and token", used(target, headers=header, prompt=token), "instant")
    equal("token", used(target, prompt=token), "stuck")
    equal("token with more", used(target, prompt="[[mock:failed code=service_error at=0.4]] x"), "failed")
    equal("queue", [used(target) for _ in range(3)], ["slow", "slow", "completed"])
    states = [task["status"] for task in target.control("GET", "/tasks")["tasks"]]
    equal("states, newest first", states, ["pending", "pending", "pending", "pending", "pending", "completed"])


@rule(
    id="creation.choice.unknown",
    claim="an unknown scenario gets 400 unknown_scenario with the place that names it, and creates no task",
    source=SOURCE,
    needs={"mock"},
)
def unknown(target: Target) -> None:
    """In the header on every operation, in the prompt."""
    for method, path, content in (("POST", CREATE, b"{"), ("GET", CREDITS, None), ("GET", TASK, None)):
        reply = target.send(method, path, content=content, headers={HEADER: "no-such"})
        reply.error(400, "unknown_scenario", "invalid_request_error", None, HEADER)
    target.create(prompt="x [[mock:no-such]]").error(400, "unknown_scenario", None, None, "prompt")
    target.create(prompt="x [[mock:failed").error(400, "unknown_scenario", None, None, "prompt")
    target.send("GET", CREDITS, key="wrong", headers={HEADER: "no-such"}).error(401, "unauthorized")
    equal("tasks", target.control("GET", "/tasks")["tasks"], [])


@rule(
    id="creation.choice.keys",
    claim="header and token override a key that means 403, 429 or 500, never 401 and never the balance",
    source="docs/reference.md, order of checks",
    needs={"mock", "keys"},
)
def keys(target: Target) -> None:
    """On create requests; a lifecycle scenario in the header of a poll overrides nothing."""
    header, token = {HEADER: "completed"}, "A cat [[mock:completed]]"
    refused = {"no-access": 403, "rate-limited": 429, "broken": 500}
    for meaning, status in refused.items():
        key = f"sk-mock-{meaning}-choice"
        reply = target.create(key=key)
        equal(f"status of {meaning}", reply.status, status)
        equal("scenario header", reply.headers.get("x-mock-scenario"), None)
        target.create(key=key, headers=header).must_be(200)
        target.create(key=key, prompt=token).must_be(200)
        for path in (CREDITS, TASK):
            polled = {"no-access": 200 if path == CREDITS else 404}.get(meaning, status)
            equal(f"status of {path} with {meaning}", target.get(path, key=key).status, polled)
            equal("status", target.get(path, key=key, headers=header).status, polled)
        equal("status", target.get(CREDITS, key=key, headers={HEADER: "bad_gateway"}).status, 502)
        target.create(key=key, duration=11).error(400 if meaning == "no-access" else status, _code(target, key))
    for more in ({"headers": header}, {"prompt": token}):
        target.create(key="sk-mock-expired-choice", **more).error(401, "unauthorized")
        target.create(key="sk-mock-no-credit-choice", **more).error(402, "insufficient_quota")


def _code(target: Target, key: str) -> str:
    code: str = target.create(key=key, duration=11).json()["error"]["code"]
    return code


REFUSALS = {
    "unauthorized": (401, "unauthorized", "unauthorized"),
    "insufficient_quota": (402, "insufficient_quota", "quota_exceeded"),
    "model_access_denied": (403, "model_access_denied", "permission_denied"),
    "rate_limited": (429, "rate_limit_exceeded", "rate_limit_exceeded"),
    "internal_error": (500, "internal_error", "internal_error"),
    "bad_gateway": (502, "upstream_error", "upstream_error"),
    "service_unavailable": (503, "service_unavailable", "service_unavailable"),
}


@rule(
    id="creation.choice.refusals",
    claim="a scenario can inject every error into every operation; it has that operation's code and costs nothing",
    source=f"{SOURCE}; published contract, responses; service documentation, errors of the task query (D)",
    needs={"mock", "ledger"},
)
def refusals(target: Target) -> None:
    """Seven of them; 429 with Retry-After."""
    task_id = target.created()["id"]
    for name, (status, code, other) in REFUSALS.items():
        reply = target.create(headers={HEADER: name})
        # statuses that the contract does not document are errors of the service itself
        reply.error(status, code, "api_error" if status >= 500 else None)
        equal(HEADER, reply.headers.get("x-mock-scenario"), name)
        for path in (f"/v1/tasks/{task_id}", CREDITS):
            polled = target.get(path, headers={HEADER: name})
            polled.error(status, other, "api_error" if status >= 500 else None)
            for each in (reply, polled):
                equal(f"Retry-After of {status}", each.headers.get("retry-after"), "60" if status == 429 else None)
    reply = target.create(headers={HEADER: "bad_gateway message='not today' status=504 code=odd"})
    reply.error(504, "odd", "api_error", "not today")
    equal("tasks", len(target.control("GET", "/tasks")["tasks"]), 1)
    equal("balance", target.balance(), (1000 - TEN_SECONDS, 0))


@rule(
    id="route.query_string",
    claim="the query string is ignored, and a percent-encoded path is decoded",
    source="RFC 3986, 2.3 and 3.4; no operation documents a query",
    needs={"mock"},
)
def query_string(target: Target) -> None:
    """On every operation and on a file. An encoded question mark is part of the path."""
    task_id = target.send("POST", f"{CREATE}?duration=15", body=ORDER).must_be(200)["id"]
    equal("price", target.balance()[0], round(1000 - TEN_SECONDS, 4))
    for path in (f"/v1/tasks/{task_id}?x=1", f"/v1/tasks/{task_id.replace('-', '%2D')}", f"/v1/tasks/{task_id}?"):
        equal(f"id of {path}", target.get(path).must_be(200)["id"], task_id)
    for path in (f"{CREDITS}?a=b&c", "/v1/c%72edits", f"{CREDITS}?"):
        target.get(path).must_be(200)
    target.advance(GENERATION)
    link = target.task(task_id)["results"][0]
    path = link[link.index("/", 8) :]
    equal("status of the file", target.get(f"{path}?download=1", key=None).status, 200)
    for path in (f"{CREDITS}%3Fa", f"{CREDITS}%20", f"/v1/tasks/{task_id}%2F"):
        equal(f"status of {path}", target.get(path).status, 404)


@rule(
    id="creation.choice.polls",
    claim="a lifecycle scenario in the header of a poll is ignored; a queued one for polls is used once",
    source="docs/reference.md, order of checks",
    needs={"mock"},
)
def polls(target: Target) -> None:
    """Also for the balance and for a file."""
    task_id = target.created()["id"]
    for name in ("failed", "stuck", "completed", "callback_late"):
        task = target.task(task_id, headers={HEADER: name})
        equal("status", task["status"], "pending")
        target.get(CREDITS, headers={HEADER: name}).must_be(200)
    operations = {"query": f"/v1/tasks/{task_id}", "credits": CREDITS}
    for operation, path in operations.items():
        target.control("POST", "/scenarios", {"scenario": "service_unavailable", "match": {"operation": operation}})
        equal("status of the other", [target.get(p).status for p in operations.values() if p != path], [200])
        equal("statuses", [target.get(path).status for _ in range(2)], [503, 200])
    link = target.control("GET", "/tasks")["tasks"][0]["mock"]["result_url"]
    target.advance(GENERATION)
    path = link[link.index("/", 8) :]
    target.control("POST", "/scenarios", {"scenario": "bad_gateway", "match": {"operation": "file"}})
    equal("statuses", [target.get(path, key=None).status for _ in range(2)], [502, 200])
    equal("status", target.get(path, key=None, headers={HEADER: "internal_error"}).status, 500)


@rule(
    id="creation.choice.shapes",
    claim="a task with the shape of another version has it in the first response, in polls and in the callback",
    source="docs/reference.md, order of checks; clients of the service (C) for the shapes",
    needs={"mock", "receiver"},
)
def shapes(target: Target) -> None:
    """Other tasks keep their shape. A header on a poll changes only that response."""
    target.scenario("wrapped_in_data", generation_time=GENERATION)
    created = target.created(callback_url=HOOK)
    equal("create request", (list(created), created["code"]), (["code", "data"], 200))
    path = f"/v1/tasks/{created['data']['id']}"
    target.advance(GENERATION)
    reply = target.get(path)
    equal("query", reply.must_be(200)["data"]["status"], "completed")
    equal("callback", messages(target)[-1]["body"].encode(), reply.body)
    # a header with the same shape does not wrap the response twice
    equal("query", target.get(path, headers={HEADER: "wrapped_in_data"}).body, reply.body)
    target.scenario("completed", generation_time=GENERATION)
    task_id = target.created()["id"]
    plain = target.get(f"/v1/tasks/{task_id}").body
    wrapped = target.get(f"/v1/tasks/{task_id}", headers={HEADER: "wrapped_in_data"}).must_be(200)
    equal("wrapped", wrapped["data"]["id"], task_id)
    more = target.get(f"/v1/tasks/{task_id}", headers={HEADER: "unknown_fields"}).must_be(200)
    equal("further fields", "queue" in more and "worker" in more["task_info"], True)
    equal("query", target.get(f"/v1/tasks/{task_id}").body, plain)
    equal("credits", list(target.get(CREDITS, headers={HEADER: "wrapped_in_data"}).must_be(200)), ["code", "data"])
    target.advance(GENERATION / 2)
    equal("status", target.task(task_id, headers={HEADER: "unknown_status"})["status"], "reviewing")
    reply = target.get("/v1/tasks/nonsense", headers={HEADER: "numeric_error_code"})
    equal("older error", (reply.status, reply.json()["error"]["code"]), (400, 400))
    reply = target.get("/v1/tasks/nonsense", headers={HEADER: "wrapped_in_data"})
    equal("error", reply.json()["error"]["code"], "invalid_task_id")


@rule(
    id="creation.choice.clock",
    claim="with per_request, each request advances the clock by that time, and nothing else advances it",
    source="docs/reference.md, control API, clock",
    needs={"clock", "receiver"},
)
def clock(target: Target) -> None:
    """Five seconds a request: the fourth poll sees the end, and its callback is there."""
    target.control("PATCH", "/clock", {"per_request": 5})
    began = target.now()
    task_id = target.created(callback_url=HOOK)["id"]
    states = [target.task(task_id)["status"] for _ in range(4)]
    equal("states", states, ["processing", "processing", "processing", "completed"])
    equal("seconds", round(target.now() - began, 3), 25)
    equal("messages", len(target.control("GET", "/inbox/hook?wait=5&count=1")["messages"]), 1)
    target.control("PATCH", "/clock", {"per_request": 0})
    target.task(task_id)
    equal("seconds", round(target.now() - began, 3), 25)


@rule(
    id="idempotency.same",
    claim="an equal create request in another spelling is the same: spaces, order of names, 10.0, explicit defaults",
    source="docs/fidelity.md (an assumption)",
    needs={"mock"},
)
def same(target: Target) -> None:
    """Five spellings, then a different request. A repeated response uses no rule of the queue."""
    key = {"Idempotency-Key": "verify-0123456789-abcdef", "Content-Type": "application/json"}
    bodies = (
        b'{"model":"sora-2-beta-max","prompt":"x"}',
        b' {"prompt" : "x",\n"model":"sora-2-beta-max"} ',
        b'{"prompt":"x","model":"sora-2-beta-max","duration":10}',
        b'{"duration":10.0,"prompt":"\\u0078","model":"sora-2-beta-max"}',
    )
    first = target.send("POST", CREATE, content=bodies[0], headers=key)
    first.must_be(200)
    target.control("DELETE", "/scenarios")
    target.control("POST", "/scenarios", {"scenario": "slow"})
    for body in bodies[1:]:
        reply = target.send("POST", CREATE, content=body, headers=key)
        equal("reply", (reply.status, reply.body), (200, first.body))
        equal(HEADER, reply.headers.get("x-mock-scenario"), first.headers.get("x-mock-scenario"))
    for other in (b'{"model":"sora-2-beta-max","prompt":"y"}', bodies[0][:-1] + b',"z":1}'):
        target.send("POST", CREATE, content=other, headers=key).error(409, "idempotency_conflict")
    equal("queue", len(target.control("GET", "/scenarios")["queue"]), 1)
    target.send("POST", CREATE, content=b"{", headers=key).error(400, "invalid_request")
    target.control("PATCH", "/account", {"remaining_credits": 0})
    equal("replay without credit", target.send("POST", CREATE, content=bodies[0], headers=key).body, first.body)
