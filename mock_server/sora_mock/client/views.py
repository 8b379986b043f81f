"""The JSON objects of the control API as types (docs/reference.md, Control API)."""

from typing import Any, Literal, NotRequired, TypedDict


class TaskView(TypedDict):
    """A task as its client sees it. `mock` holds its plan: scenario, outcome, timestamps."""

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
    """One POST of a callback. status: None without a response; `error` has the reason. extra: by `redeliver`."""

    number: int
    at: float
    ended_at: float
    status: int | None
    error: str | None
    seconds: float
    reply: str
    extra: bool


class Delivery(TypedDict):
    """All attempts of one callback. body: None until its task has ended. note: why its URL was accepted."""

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
    """A message that an inbox received. body: the raw text. json: None where the text is not JSON."""

    at: float
    headers: dict[str, str]
    body: str
    json: Any


class InboxReply(TypedDict, total=False):
    """A response of an inbox. delay: real seconds, at most 60."""

    status: int
    delay: float


class Record(TypedDict):
    """A request to the emulated service and its response, without keys. status: None for a reset connection."""

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
