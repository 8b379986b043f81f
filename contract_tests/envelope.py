"""The envelope of errors, on every operation."""

from contract_tests.shapes import fits
from sora_mock.verify.rule import REJECTION_BUDGET, equal, rule, true
from sora_mock.verify.target import CREATE, CREDITS, WRONG_KEY, Target

QUERY_ERRORS = "service documentation, errors of the task query (D)"
ERRORS = "published contract, ErrorResponse"


@rule(id="query.id.prefix", claim="an id without the prefix gets 400 invalid_task_id", source=QUERY_ERRORS)
def id_prefix(target: Target) -> None:
    """With the documented message and param."""
    message = "Invalid task ID format, must start with 'task-unified-'"
    for wrong in ("nonsense", "task-unifie-1", "Task-unified-1757169743-7cvnl5zw", "xtask-unified-1", "task_unified-1"):
        reply = target.get(f"/v1/tasks/{wrong}")
        reply.error(400, "invalid_task_id", "invalid_request_error", message, "task_id")


UNKNOWN = {
    "unknown": "task-unified-1000000000-00000000",
    "prefix_alone": "task-unified-",
    "short": "task-unified-1",
    "other_letters": "task-unified-1757169743-ABCDEFGH",
    "long": "task-unified-" + "9" * 300,
}


def _unknown(name: str, task_id: str) -> None:
    @rule(
        id=f"query.id.{name}",
        claim=f"an id with the prefix that does not exist gets 404: {task_id[:40]}",
        source=QUERY_ERRORS,
    )
    def check(target: Target) -> None:
        message = "The requested task could not be found"
        target.get(f"/v1/tasks/{task_id}").error(404, "task_not_found", "invalid_request_error", message)


for _name, _id in UNKNOWN.items():
    _unknown(_name, _id)


@rule(id="envelope.fits", claim="every kind of error has the shape ErrorResponse", source=ERRORS)
def envelope_fits(target: Target) -> None:
    """400, 401 and 404."""
    for reply in (
        target.send("POST", CREATE, content=b"{"),
        target.get(CREDITS, key=WRONG_KEY),
        target.get("/v1/tasks/task-unified-1000000000-00000000"),
        target.get("/v1/tasks/nonsense"),
    ):
        true("status", 400 <= reply.status < 500, reply.status, "a refusal")
        fits("ErrorResponse", reply.json())


BODIES_WITHOUT_REQUEST = {
    "empty": ("an empty body", b""),
    "blank": ("a body of white space", b" \r\n\t "),
    "open": ("JSON that is not closed", b"{"),
    "text": ("a body that is no JSON", b"model=sora-2-beta-max"),
    "utf8": ("a body that is not UTF-8", b'"\xff\xfe"'),
    "number": ("a number", b"1"),
    "string": ("a text", b'"sora-2-beta-max"'),
    "null": ("null", b"null"),
}
"""Bodies in which no parser finds a create request. On the live service, the guard needs its rejection budget to send
them, because it cannot know their price."""
BODIES_WITH_BROKEN_REQUEST = {
    "list": ("a list", b"[]"),
    "list_of_order": ("an order inside a list", b'[{"model":"sora-2-beta-max","prompt":"x"}]'),
    "object": ("an object without fields", b"{}"),
    "trailing": ("an order with something behind it", b'{"model":"sora-2-beta-max","prompt":"x"} x'),
    "single_quotes": ("an order in single quotes", b"{'model':'sora-2-beta-max','prompt':'x'}"),
    "trailing_comma": ("a comma before the end", b'{"model":"sora-2-beta-max","prompt":"x",}'),
    "nan": ("NaN", b'{"model":"sora-2-beta-max","prompt":"x","duration":NaN}'),
}
"""Bodies that a lax service might accept as a create request."""


def _bad_body(name: str, claim: str, content: bytes, needs: set[str]) -> None:
    @rule(
        id=f"create.body.{name}",
        claim=f"{claim} gets 400 invalid_request",
        source="published contract, requestBody and responses 400 of the create request",
        needs=needs,
    )
    def check(target: Target) -> None:
        target.send("POST", CREATE, content=content).error(400, "invalid_request", "invalid_request_error")


for _name, (_claim, _content) in {**BODIES_WITHOUT_REQUEST, **BODIES_WITH_BROKEN_REQUEST}.items():
    _bad_body(_name, _claim, _content, {REJECTION_BUDGET} if _name in BODIES_WITH_BROKEN_REQUEST else set())


@rule(
    id="route.unknown",
    claim="an unknown route gets 404 with a message that contains `Invalid URL (METHOD PATH)`",
    source="clients of the service, wrong routes (C)",
)
def unknown_route(target: Target) -> None:
    """A real client keys its fallback on that text."""
    path = "/v1/videos/generations/task-unified-1757169743-7cvnl5zw"
    for wrong in (path, "/v1/nonsense", "/v1/videos"):
        error = target.get(wrong).error(404, target.get(wrong).json()["error"]["code"], "invalid_request_error")
        true(
            "error.message",
            f"Invalid URL (GET {wrong})" in error["message"],
            error["message"],
            f"Invalid URL (GET {wrong})",
        )


@rule(
    id="route.unknown.post",
    claim="an unknown route gets 404 for a POST too",
    source="clients of the service, wrong routes (C)",
)
def unknown_route_post(target: Target) -> None:
    """The envelope, and the method in the message."""
    error = target.send("POST", "/v1/video/generations", content=b"{").error(404, "invalid_url")
    true("error.message", "Invalid URL (POST /v1/video/generations)" in error["message"], error, "Invalid URL (...)")


@rule(
    id="route.method",
    claim="another method on a known route is refused in the envelope and names the allowed one",
    source="RFC 9110, 15.5.6; the envelope is an assumption (docs/fidelity.md)",
    needs={"mock"},
)
def wrong_method(target: Target) -> None:
    """405 with Allow."""
    task = "/v1/tasks/task-unified-1757169743-7cvnl5zw"
    for method, path, allowed in (
        ("GET", CREATE, "POST"),
        ("PUT", CREATE, "POST"),
        ("DELETE", task, "GET"),
        ("POST", task, "GET"),
        ("POST", CREDITS, "GET"),
    ):
        reply = target.send(method, path)
        reply.error(405, "method_not_allowed", "invalid_request_error")
        equal("Allow", reply.headers.get("allow"), allowed)


@rule(
    id="query.slash",
    claim="a path with a slash too many is an unknown route, not a redirect",
    source="clients of the service, wrong routes (C)",
    needs={"mock"},
)
def slash(target: Target) -> None:
    """No 307."""
    for path in ("/v1/credits/", "/v1/tasks/", "/v1/tasks/a/b"):
        equal("status", target.get(path).status, 404)


@rule(
    id="envelope.500",
    claim="an internal error has the 500 of the operation",
    source="published contract, responses 500; service documentation, errors of the task query (D)",
    needs={"mock", "keys"},
)
def own_failure(target: Target) -> None:
    """Messages differ."""
    key = "sk-mock-broken-verify"
    target.create(key=key).error(500, "internal_error", "api_error", "Internal server error")
    reply = target.get("/v1/tasks/task-unified-1757169743-7cvnl5zw", key=key)
    reply.error(500, "internal_error", "api_error", "Failed to retrieve task status")


@rule(
    id="credits.shape",
    claim="the balance has the documented shape",
    source="service documentation, credits (D)",
)
def credits_shape(target: Target) -> None:
    """Schema Credits, success true."""
    body = target.get(CREDITS).must_be(200)
    fits("Credits", body)
    equal("success", body["success"], True)
    equal("message", body["message"], "")
