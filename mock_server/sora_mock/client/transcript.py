"""The journal as lines of text, for a person who looks for the reason of a failure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sora_mock.domain.text import redacted, visible

MAX_SHOWN: Final = 400
"""Characters that are shown of a body or of a path."""


def lines(requests: Iterable[Mapping[str, Any]], deliveries: Iterable[Mapping[str, Any]] = ()) -> Iterator[str]:
    """The lines, oldest first. They hold no keys, no passwords and no control characters.

    requests, deliveries: as `GET /__mock/requests` and `GET /__mock/deliveries` list them.
    """
    for request in reversed(list(requests)):
        yield from map(visible, _request(request))
    for delivery in reversed(list(deliveries)):
        yield visible(_delivery(delivery))


def _delivery(delivery: Mapping[str, Any]) -> str:
    results = [str(attempt["status"] or attempt["error"]) for attempt in delivery["attempts"]]
    return f"callback to {_short(delivery['url'])}: {delivery['state']}, attempts: {', '.join(results) or 'none yet'}"


def _request(request: Mapping[str, Any]) -> Iterator[str]:
    status = request["status"] or "connection reset"
    scenario = f" [{request['scenario']}]" if request["scenario"] else ""
    yield f"{request['method']} {_short(request['path'])} -> {status}{scenario}"
    for sign, body in ((">", request["request"]), ("<", request["response"])):
        if body is not None:
            yield f"    {sign} {_short(body)}"
    for reason in request["unmatched"]:
        yield f"    not used: {_short(reason)}"


def _short(body: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    text = redacted(text).replace("\n", " ")
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
