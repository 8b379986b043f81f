"""What the control API answers, as types: plain JSON objects (docs/reference.md, Control API)."""

from typing import Any, Literal, NotRequired, TypedDict


class TaskView(TypedDict):
    """A task as its client sees it; `mock` holds what is decided already: scenario, outcome, moments."""

    id: str
    status: str
    progress: int
    created: int
    model: str
    object: str
    type: str
    task_info: dict[str, Any]
    results: NotRequired[list[str]]
    error: NotRequired[dict[str, str]]
    mock: dict[str, Any]


class Attempt(TypedDict):
    """One POST of a callback. status: None where no answer came, and `error` says why. extra: outside the schedule."""

    number: int
    at: float
    ended_at: float
    status: int | None
    error: str | None
    seconds: float
    reply: str
    extra: bool


class Delivery(TypedDict):
    """All attempts of one callback. body: None until its task has ended. note: why an address was accepted."""

    id: str
    task_id: str
    url: str
    state: Literal["pending", "succeeded", "failed"]
    note: str | None
    first_at: float | None
    next_at: float | None
    attempts: list[Attempt]
    body: Any


class Message(TypedDict):
    """What an inbox got. body: the raw text. json: None where it is no JSON."""

    at: float
    headers: dict[str, str]
    body: str
    json: Any


class Reply(TypedDict, total=False):
    """What an inbox answers. delay: real seconds, at most 60."""

    status: int
    delay: float


class Record(TypedDict):
    """A request to the emulated service, keys redacted. status: None where the connection was reset."""

    at: float
    method: str
    path: str
    status: int | None
    scenario: str | None
    rule: str | None
    unmatched: list[str]
    headers: dict[str, str]
    request: Any
    response: Any
    seconds: float
