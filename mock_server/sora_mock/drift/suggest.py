"""The settings with which the mock behaves as a recorded service: exchanges in, suggestions out."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_tz
from typing import Any, Final, NamedTuple, get_args

from sora_mock.config.readers import BEHAVIOUR
from sora_mock.domain.ledger import to_credits, to_units
from sora_mock.domain.models import DEFAULT_MODEL
from sora_mock.domain.task import LINK_LIFETIME, Behaviour
from sora_mock.drift.lives import UNFINISHED, Life, generation_time, lives, queue_share
from sora_mock.drift.recording import RecordedExchange
from sora_mock.guard.pricing import CREATE_PATH, PRICES
from sora_mock.guard.recording import NOT_JSON, read_json

GENERATION_TIME: Final = "generation-time"
_DEFAULT_TIME: Final = "5"
_USER_GROUPS: Final = get_args(BEHAVIOUR["user_group"])


class Observation(NamedTuple):
    """One exchange that shows the value of one setting. table: `service`, `prices`, or empty for the top level."""

    table: str
    key: str
    value: Any
    exchange: RecordedExchange


class Suggestion(NamedTuple):
    """One setting of the settings file.

    table, key, value: as the file has them. shown_by: the exchanges that show it, at least one, in their order.
    others: the exchanges that show another value, and that value.
    """

    table: str
    key: str
    value: Any
    shown_by: Sequence[RecordedExchange]
    others: Sequence[tuple[RecordedExchange, Any]] = ()

    @property
    def is_default(self) -> bool:
        """Whether the mock behaves like this without the setting."""
        return bool(_defaults()[self.table, self.key] == self.value)


def suggestions(exchanges: Sequence[RecordedExchange]) -> list[Suggestion]:
    """What the recording shows, in the order of the settings file.

    Where exchanges differ, it suggests the value that most of them show; of equally frequent values the latest.
    """
    tasks = lives(exchanges)
    found = [*_times(tasks), *_voted(list(_observed(exchanges)))]
    order = list(_defaults())
    return sorted(found, key=lambda each: order.index((each.table, each.key)))


def not_shown(found: Sequence[Suggestion]) -> list[str]:
    """The settings of which the recording shows nothing, in the order of the file."""
    shown = {(each.table, each.key) for each in found}
    return [f"{table}.{key}" if table else key for table, key in _defaults() if (table, key) not in shown]


def toml(found: Sequence[Suggestion]) -> str:
    """The suggestions as lines of a settings file, each with the exchanges that show it as a comment."""
    lines: list[str] = []
    table = ""
    for each in found:
        if each.table != table:
            table = each.table
            lines += ["", f"[{table}]"]
        lines += [f"# {comment}" for comment in _comments(each)]
        lines.append(f"{each.key} = {_value(each.value)}")
    if missing := not_shown(found):
        lines += ["", f"# not shown by this recording: {', '.join(missing)}"]
    return "\n".join(lines).lstrip("\n")


def _comments(each: Suggestion) -> Iterator[str]:
    agree = f"; {len(each.shown_by)} exchanges show it" if len(each.shown_by) > 1 else ""
    yield f"{_place(each.shown_by[0])}{agree}{'; it is the default' if each.is_default else ''}"
    for value in dict.fromkeys(value for _, value in each.others):
        places = [exchange for exchange, other in each.others if other == value]
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        yield f"but {_place(places[0])}{more} shows {_value(value)}"


def _place(exchange: RecordedExchange) -> str:
    route = exchange.route.encode("ascii", "backslashreplace").decode()
    return f"request {exchange.number}, line {exchange.line}: {route}"


def _value(value: Any) -> str:
    """A boolean, number or plain text as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _defaults() -> dict[tuple[str, str], Any]:
    """The default of each setting that can be suggested, by table and key."""
    default = Behaviour()
    return {
        ("", GENERATION_TIME): _DEFAULT_TIME,
        **{("prices", str(duration)): to_credits(price) for duration, price in PRICES.items()},
        **{("service", name): getattr(default, name) for name in Behaviour.__struct_fields__},
    }


def _times(tasks: Sequence[Life]) -> Iterator[Suggestion]:
    if (time := generation_time(tasks)) is not None:
        low, high, shown = time
        text = str(low) if low == high else f"{low}..{high}"
        yield Suggestion("", GENERATION_TIME, text, [life.first("completed") or life.created for life in shown])
    if (queue := queue_share(tasks)) is not None:
        value, shown = queue
        others = [(life.created, 0.0) for life in tasks if value > 0 and life.polls[0].status == "processing"]
        yield Suggestion("service", "queue_share", value, [life.created for life in shown], others)


def _voted(observed: Sequence[Observation]) -> Iterator[Suggestion]:
    """One suggestion for each setting that was observed."""
    for table, key in dict.fromkeys((each.table, each.key) for each in observed):
        votes = [each for each in observed if (each.table, each.key) == (table, key)]
        # the latest first, because of equally frequent values the counter returns the first
        value = Counter(each.value for each in reversed(votes)).most_common(1)[0][0]
        shown = [each.exchange for each in votes if each.value == value]
        yield Suggestion(
            table, key, value, shown, [(each.exchange, each.value) for each in votes if each.value != value]
        )


def _observed(exchanges: Sequence[RecordedExchange]) -> Iterator[Observation]:
    links: dict[str, float] = {}
    """When each path of a result link was first seen."""
    orders: dict[str, Any] = {}
    """The body of the first create request that was accepted with an Idempotency-Key, by the key."""
    for exchange in exchanges:
        response = exchange.response
        if response is None or response.body.size is not None:
            continue
        if response.status == 429:
            yield from _service(exchange, retry_after=_retry_after(dict(response.headers).get("retry-after")))
        body = exchange.json()
        if exchange.path in links:
            yield from _service(exchange, expired_link_status=_expired(exchange, body, links[exchange.path]))
        if exchange.path == CREATE_PATH and exchange.method == "POST":
            yield from _service(exchange, idempotency_conflict_status=_conflict(exchange, body, orders))
        if response.status != 200 or not isinstance(body, dict):
            continue
        if exchange.path == CREATE_PATH:
            yield from _of_create(exchange, body)
        elif exchange.path.startswith("/v1/tasks/"):
            yield from _of_poll(exchange, body)
            for path in _link_paths(body):
                links.setdefault(path, exchange.at)


def _service(exchange: RecordedExchange, **values: Any) -> Iterator[Observation]:
    """Observations of keys of `[service]`. A value of None shows nothing."""
    for key, value in values.items():
        if value is not None:
            yield Observation("service", key, value, exchange)


def _of_create(exchange: RecordedExchange, body: Mapping[str, Any]) -> Iterator[Observation]:
    usage, info = _table(body, "usage"), _table(body, "task_info")
    group = usage.get("user_group")
    yield from _service(exchange, user_group=group if group in _USER_GROUPS else None)
    duration, credits = info.get("video_duration"), usage.get("credits_reserved", "missing")
    if body.get("model") == DEFAULT_MODEL and type(duration) is int and duration in PRICES:
        try:
            yield Observation("prices", str(duration), to_credits(to_units(credits)), exchange)
        except ValueError:
            # no amount of credits; `drift` shows it as a difference
            return


def _of_poll(exchange: RecordedExchange, body: Mapping[str, Any]) -> Iterator[Observation]:
    status, code = body.get("status"), _table(body, "error").get("code")
    if status == "completed":
        yield from _service(exchange, query_usage="usage" in body)
    elif status in UNFINISHED:
        yield from _service(exchange, query_estimated_time="estimated_time" in _table(body, "task_info"))
    elif status == "cancelled" or code == "request_cancelled":
        yield from _service(exchange, cancelled_status=status if status in ("failed", "cancelled") else None)


def _retry_after(value: str | None) -> Any:
    """The setting of a 429 with this header; None for a form that the mock does not have."""
    if value is None:
        return False
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        return True
    return "date" if parsedate_tz(value) is not None else None


def _expired(exchange: RecordedExchange, body: Any, shown_at: float) -> int | None:
    """The status of a link that has expired; None where the response has another reason."""
    assert exchange.response is not None
    status = exchange.response.status
    is_old = exchange.at - shown_at >= LINK_LIFETIME and status not in (405, 416, 429)
    if not 400 <= status <= 499 or not (is_old or _table(body, "error").get("code") == "file_expired"):
        return None
    return status


def _conflict(exchange: RecordedExchange, body: Any, orders: dict[str, Any]) -> int | None:
    """The status of a create request that uses the key of another one again; None for any other response."""
    assert exchange.response is not None
    status = exchange.response.status
    key = dict(exchange.request.headers).get("idempotency-key")
    order = read_json(exchange.request.body.content())
    if key is None or order is NOT_JSON:
        return None
    if status == 200:
        orders.setdefault(key, order)
        return None
    is_other = key in orders and orders[key] != order and status in (409, 422)
    if not 400 <= status <= 499 or not (is_other or _table(body, "error").get("code") == "idempotency_conflict"):
        return None
    return status


def _link_paths(body: Mapping[str, Any]) -> Iterator[str]:
    results = body.get("results")
    for link in results if isinstance(results, list) else ():
        if isinstance(link, str):
            yield re.sub(r"^[a-z]+://[^/?#]*|[?#].*$", "", link)


def _table(body: Any, name: str) -> Mapping[str, Any]:
    """The object under a name; empty where there is none."""
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, dict) else {}
