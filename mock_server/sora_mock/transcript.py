"""What an account's clients asked and were answered, as lines for a person who looks for the reason of a failure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

WIDEST: Final = 400
"""Characters that are shown of one body."""


def lines(requests: Iterable[Mapping[str, Any]], deliveries: Iterable[Mapping[str, Any]] = ()) -> Iterator[str]:
    """Lines without keys, oldest first; takes what `GET /__mock/requests` and `/__mock/deliveries` answer."""
    for request in reversed(list(requests)):
        yield from _request(request)
    for delivery in reversed(list(deliveries)):
        tries = [str(each["status"] or each["error"]) for each in delivery["attempts"]]
        yield f"callback to {delivery['url']}: {delivery['state']}, attempts: {', '.join(tries) or 'none yet'}"


def _request(request: Mapping[str, Any]) -> Iterator[str]:
    status = request["status"] or "connection reset"
    scenario = f" [{request['scenario']}]" if request["scenario"] else ""
    yield f"{request['method']} {request['path']} -> {status}{scenario}"
    for sign, body in ((">", request["request"]), ("<", request["response"])):
        if body is not None:
            yield f"    {sign} {_short(body)}"
    for reason in request["unmatched"]:
        yield f"    not used: {reason}"


def _short(body: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    text = text.replace("\n", " ")
    return text if len(text) <= WIDEST else text[:WIDEST] + "..."
