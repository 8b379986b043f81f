"""What an account's clients asked and were answered, as lines for a person who looks for the reason of a failure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sora_mock.domain.text import visible

WIDEST: Final = 400
"""Characters that are shown of one body, or of a path."""

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#@\s\"]+@")


def lines(requests: Iterable[Mapping[str, Any]], deliveries: Iterable[Mapping[str, Any]] = ()) -> Iterator[str]:
    """Lines without keys and passwords, oldest first, that no client can make steer a terminal.

    Takes what `GET /__mock/requests` and `/__mock/deliveries` answer.
    """
    for request in reversed(list(requests)):
        yield from map(visible, _request(request))
    for delivery in reversed(list(deliveries)):
        yield visible(_delivery(delivery))


def _delivery(delivery: Mapping[str, Any]) -> str:
    tries = [str(each["status"] or each["error"]) for each in delivery["attempts"]]
    return f"callback to {_short(delivery['url'])}: {delivery['state']}, attempts: {', '.join(tries) or 'none yet'}"


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
    text = _CREDENTIALS.sub("***@", text).replace("\n", " ")
    return text if len(text) <= WIDEST else text[:WIDEST] + "..."
