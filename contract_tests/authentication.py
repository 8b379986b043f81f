"""Authentication: every operation needs a key, and the key is checked first."""

from collections.abc import Callable

from sora_mock.verify.reply import TargetResponse
from sora_mock.verify.rule import equal, rule
from sora_mock.verify.target import CREATE, CREDITS, ORDER, WRONG_KEY, Target

TASK = "/v1/tasks/task-unified-1757169743-7cvnl5zw"
CREATION_MESSAGE = "Invalid or expired token"
QUERY_MESSAGE = "Authentication required"
SOURCES = {
    "create": "published contract, responses 401 of the create request",
    "query": "service documentation, errors of the task query (D)",
    "credits": "service documentation, errors of the task query (D); for credits an assumption",
}

# broken JSON, so that a service that does not check keys still charges nothing
REQUESTS: dict[str, Callable[..., TargetResponse]] = {
    "create": lambda target, **more: target.send("POST", CREATE, content=b"{", **more),
    "query": lambda target, **more: target.get(TASK, **more),
    "credits": lambda target, **more: target.get(CREDITS, **more),
}
WRONG: dict[str, tuple[str, str | None]] = {
    "none": ("no key at all", None),
    "wrong": ("an unknown key", f"Bearer {WRONG_KEY}"),
    "empty": ("an empty key", "Bearer"),
    "basic": ("another scheme", "Basic d3Jvbmc6a2V5"),
    "bare": ("a key without a scheme", WRONG_KEY),
    "good_basic": ("the right key under another scheme", "Basic {key}"),
    "good_bare": ("the right key without a scheme", "{key}"),
}
"""The claim about each key, and the header Authorization."""


def _declare(operation: str, case: str) -> None:
    claim, header = WRONG[case]

    @rule(
        id=f"auth.{operation}.{case}",
        claim=f"{operation}: {claim} gets 401 unauthorized",
        source=SOURCES[operation],
    )
    def check(target: Target) -> None:
        authorization = None if header is None else header.format(key=target.key)
        _is_unauthorized(REQUESTS[operation](target, key=None, authorization=authorization), operation)


def _is_unauthorized(reply: TargetResponse, operation: str) -> None:
    message = CREATION_MESSAGE if operation == "create" else QUERY_MESSAGE
    reply.error(401, "unauthorized", "authentication_error", message)


for _operation in REQUESTS:
    for _case in WRONG:
        _declare(_operation, _case)


def _before(name: str, claim: str, operation: str, send: Callable[[Target], TargetResponse], needs: set[str]) -> None:
    @rule(id=f"auth.before.{name}", claim=f"a wrong key is refused {claim}", source=SOURCES[operation], needs=needs)
    def check(target: Target) -> None:
        _is_unauthorized(send(target), operation)


def _get_nonsense(target: Target) -> TargetResponse:
    return target.get("/v1/tasks/nonsense", key=WRONG_KEY)


_before("task_id", "before a bad task id is", "query", _get_nonsense, set())
_before("valid_body", "with a valid body too", "create", lambda target: target.create(key=WRONG_KEY), {"mock"})
_before("fields", "before a bad field is", "create", lambda t: t.create(key=WRONG_KEY, duration=11), {"mock"})


@rule(
    id="auth.scheme.case",
    claim="the scheme's name is not case-sensitive",
    source="RFC 9110, 11.1; published contract, securitySchemes",
    needs={"mock"},
)
def scheme_case(target: Target) -> None:
    """`bearer` is Bearer."""
    target.get(CREDITS, authorization=f"bearer {target.key}").must_be(200)


@rule(
    id="auth.expired",
    claim="an expired key gets 401 on every operation",
    source="published contract, responses 401 of the create request",
    needs={"mock", "keys"},
)
def expired(target: Target) -> None:
    """On create request, query and credits."""
    for operation, send in REQUESTS.items():
        _is_unauthorized(send(target, key="sk-mock-expired-verify"), operation)
    target.send("POST", CREATE, key="sk-mock-expired-verify", body=ORDER).error(401, "unauthorized")


@rule(
    id="auth.no_access",
    claim="a key without access to the model gets 403 model_access_denied, and pays nothing",
    source="published contract, responses 403 of the create request",
    needs={"mock", "keys"},
)
def no_access(target: Target) -> None:
    """Only the create request is refused."""
    key = target.other_key("x").replace("sk-verify-", "sk-mock-no-access-")
    before = target.balance(key)
    message = "Token does not have access to model: sora-2-beta-max"
    target.create(key=key).error(403, "model_access_denied", "invalid_request_error", message)
    equal("balance", target.balance(key), before)


@rule(
    id="auth.key.works",
    claim="the right key is accepted",
    source="published contract, securitySchemes",
)
def key_works(target: Target) -> None:
    """The balance can be read."""
    target.get(CREDITS).must_be(200)


@rule(
    id="auth.scheme.spaces",
    claim="several spaces are allowed between the scheme and the key",
    source="RFC 9110, 11.4; published contract, securitySchemes",
    needs={"mock"},
)
def spaces(target: Target) -> None:
    """One or more; a key that has a space in it is none."""
    target.get(CREDITS, authorization=f"Bearer    {target.key}").must_be(200)
    target.get(CREDITS, authorization=f"Bearer{target.key}").error(401, "unauthorized")
    target.get(CREDITS, authorization=f"Bearer x {target.key}").error(401, "unauthorized")
