"""Faults in callbacks: which addresses are accepted, when attempts are made, and with which body."""

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Network
from math import inf
from typing import Any

import msgspec
import pytest

from sora_mock.callbacks import scheduler
from sora_mock.control import deliveries as control_deliveries
from sora_mock.domain import callback_url, delivery
from sora_mock.service import callbacks, tasks
from sora_mock.storage import deliveries as storage_deliveries
from tests.contract.faults.planting import Plant, Table, around, field, ids, part, replaced, then, together, wrapped

SPELLINGS = ids("callback.url.refuses", "decimal", "octal", "hexadecimal", "percent")
NEIGHBOURS = "callback.url.accepts.before_* callback.url.accepts.after_*"
LITERAL = re.compile(r"https://[\d.]+/")


def _networks(old: str, *instead: str) -> Plant:
    """Other internal networks replace one."""
    rows = [row for row in callback_url._INTERNAL_V4 if str(row[0]) != old]
    rows += [(IPv4Network(each), "private") for each in instead]
    return part(callback_url, "_INTERNAL_V4", tuple(rows))


def _accepts(pattern: str) -> Plant:
    """Addresses of this form are accepted unchecked."""
    return wrapped(
        callback_url.rejection, lambda rejection, url: None if re.match(pattern, str(url)) else rejection(url)
    )


def _rejects(condition: Callable[[str], object]) -> Plant:
    """Addresses that fit the condition are rejected."""
    return wrapped(
        callback_url.rejection,
        lambda rejection, url: "callback_url is rejected" if condition(url) else rejection(url),
    )


ADDRESSES: Table = {
    "every address is taken": (
        "callback.url.refuses.*",
        together(_accepts(""), field("callback_url", format="", maxLength=10**6)),
    ),
    "no scheme is https": (
        ids("callback.url.refuses", "no_scheme", "relative", "empty"),
        together(_accepts("[^:]*$"), field("callback_url", format="")),
    ),
    "no address is taken": ("callback.url.accepts.*", _rejects(lambda url: True)),
    "http is taken": ("callback.url.refuses.http", _accepts("http://")),
    "any scheme": ("callback.url.refuses.http callback.url.refuses.ftp", _accepts(r"\w+://")),
    "no port": ("callback.url.accepts.port", _rejects(lambda url: re.search(r":\d+/", url))),
    "names alone": (f"{NEIGHBOURS} callback.url.accepts.public_ip", _rejects(LITERAL.match)),
    "10 is public": (ids("callback.url.refuses", "ten", "ten_last"), _networks("10.0.0.0/8")),
    "10.0 alone": ("callback.url.refuses.ten_last", _networks("10.0.0.0/8", "10.0.0.0/16")),
    "8 to 11 are private": (
        ids("callback.url.accepts", "before_10", "after_10", "public_ip"),
        _networks("10.0.0.0/8", "8.0.0.0/6"),
    ),
    "172.16 alone": ("callback.url.refuses.172_31", _networks("172.16.0.0/12", "172.16.0.0/16")),
    "172.24 on": ("callback.url.refuses.172_16", _networks("172.16.0.0/12", "172.24.0.0/13")),
    "172 is private": (
        ids("callback.url.accepts", "before_172_16", "after_172_31"),
        _networks("172.16.0.0/12", "172.0.0.0/8"),
    ),
    "192.168 is public": (ids("callback.url.refuses", "192_168", "192_168_last"), _networks("192.168.0.0/16")),
    "192 is private": (
        ids("callback.url.accepts", "before_192_168", "after_192_168"),
        _networks("192.168.0.0/16", "192.0.0.0/8"),
    ),
    "loopback is public": (
        f"{SPELLINGS} " + ids("callback.url.refuses", "loopback", "loopback_2", "ipv6_mapped"),
        _networks("127.0.0.0/8"),
    ),
    "one loopback": ("callback.url.refuses.loopback_2", _networks("127.0.0.0/8", "127.0.0.1/32")),
    "metadata is public": ("callback.url.refuses.link_local", _networks("169.254.0.0/16")),
    "zero is public": ("callback.url.refuses.zero", _networks("0.0.0.0/8")),
    "localhost is public": ("callback.url.refuses.localhost", replaced(callback_url._name_rule, lambda name: None)),
    "IPv6 is public": ("callback.url.refuses.ipv6_*", _accepts(r"https://\[")),
    "mapped is public": ("callback.url.refuses.ipv6_mapped", _accepts(r"https://\[::ffff")),
    "odd spellings are names": (SPELLINGS, _accepts(r"https://(0\d|0x|\d+/|.*%)")),
    "callback of 2049": ("callback.url.refuses.length_2049", field("callback_url", maxLength=2049)),
    "callback of 2047": ("callback.url.accepts.length_2048", field("callback_url", maxLength=2047)),
}


def _succeeds(condition: Callable[[int], bool]) -> Plant:
    """Other statuses are a success."""
    succeeded = property(lambda attempt: attempt.status is not None and condition(attempt.status))
    return part(delivery.Attempt, "succeeded", succeeded)


def _delays(*seconds: float) -> Plant:
    return part(delivery, "RETRY_DELAYS", seconds)


def _first_at(time: Callable[[Any], float]) -> Plant:
    return wrapped(callbacks._first_at, lambda original, task, variant: time(task))


def _body(edit: Callable[[Any, Any], Any]) -> Plant:
    """Callbacks have another body."""

    def body(found: Any, service: Any, delivery: Any, now: float) -> Any:
        view = json.loads(found)
        edit(view, delivery)
        return msgspec.json.encode(view)

    return wrapped(callbacks.body, then(body))


def _settle_without_callbacks(settle: Any, account: Any, now: float) -> None:
    if not len(account.deliveries):
        settle(account, now)


def _expect_first_alone(expect: Any, service: Any, account: Any, task: Any) -> None:
    if not len(account.deliveries):
        expect(service, account, task)


def _expect_all(expect: Any, service: Any, account: Any, task: Any) -> None:
    url = task.callback_url or "https://inbox.sora-mock.test/x"
    expect(service, account, msgspec.structs.replace(task, callback_url=url))


def _one_inbox(found: Any, *args: Any) -> Any:
    return None if found.inbox is None else msgspec.structs.replace(found, inbox="hook")


def _again(patch: pytest.MonkeyPatch) -> None:
    """A delivery that has succeeded is sent again a day later. Its `state` does not show that."""

    def next_attempt_at(one: Any) -> Any:
        found = original(one)
        if found is None and len(one.attempts) == 1 and one.attempts[0].succeeded:
            return float(one.attempts[0].ended_at) + 86_400
        return found

    original = delivery.next_attempt_at
    for module in (storage_deliveries, control_deliveries):
        patch.setattr(module, "next_attempt_at", next_attempt_at)


class _Unseen(dict[str, Any]):
    """Attempts that run, which no look at their ids finds."""

    def __contains__(self, name: object) -> bool:
        return False


def _forgets_what_runs(original: Any, self: Any, account: Any) -> None:
    original(self, account)
    self.running = _Unseen()


DELIVERIES: Table = {
    # this one takes ten real seconds, so it begins first
    "2 s are too long": ("callback.timeout", part(scheduler, "TIMEOUT", 2.0)),
    "half a second late": ("callback.moment callback.schedule*", _first_at(lambda task: task.plan.ended_at + 0.5)),
    "failures unreported": (
        "callback.body.failed callback.body.moderated",
        _first_at(lambda task: task.plan.ended_at if task.plan.failure is None else inf),
    ),
    "an event in the body": ("callback.body.*", _body(lambda view, delivery: view.update(event="done"))),
    "attempts in the body": (
        "callback.same_body",
        _body(lambda view, delivery: view.update(attempt=len(delivery.attempts))),
    ),
    "cancelled unreported": ("callback.cancelled", replaced(callbacks.reschedule, lambda service, account, task: None)),
    "billing afterwards": ("callback.billing", wrapped(tasks.settle, _settle_without_callbacks)),
    "first task alone": ("callback.each", wrapped(callbacks.expect, _expect_first_alone)),
    "reported unasked": ("callback.none", wrapped(callbacks.expect, _expect_all)),
    "path dropped": ("callback.method", around(callbacks, "destination", then(_one_inbox))),
    "delivered again": ("callback.once", _again),
    "any response is a success": ("callback.status.[345]?? callback.schedule*", _succeeds(lambda status: True)),
    "redirects count": ("callback.status.3??", _succeeds(lambda status: status < 400)),
    "304 counts": ("callback.status.304", _succeeds(lambda status: status < 300 or status == 304)),
    "4xx is over": ("callback.status.4??", _succeeds(lambda status: status < 300 or status // 100 == 4)),
    "5xx is over": ("callback.status.5??", _succeeds(lambda status: status < 300 or status >= 500)),
    "gone is over": ("callback.status.410", _succeeds(lambda status: status < 300 or status == 410)),
    "nothing counts": ("callback.status.2?? callback.recovers.* callback.once", _succeeds(lambda status: False)),
    "only 200 counts": (ids("callback.status", 201, 202, 204, 206, 299), _succeeds(lambda status: status == 200)),
    "200 to 206": ("callback.status.299", _succeeds(lambda status: 200 <= status <= 206)),
    "retries doubled": ("callback.schedule callback.schedule.steps callback.recovers.*", _delays(2.0, 4.0, 8.0)),
    "first retry late": ("callback.schedule callback.schedule.steps callback.status.[345]??", _delays(1.5, 2.0, 4.0)),
    "one retry more": ("callback.schedule", _delays(1.0, 2.0, 4.0, 8.0)),
    "one retry less": ("callback.schedule callback.schedule.steps callback.recovers.3", _delays(1.0, 2.0)),
    "one retry": ("callback.recovers.2 callback.recovers.3", _delays(1.0)),
    "a retry beside an attempt": (
        "callback.one_at_a_time",
        around(scheduler._Schedule, "__init__", _forgets_what_runs),
    ),
    "an attempt at once": ("callback.status.500", _delays(0.0, 1.0, 2.0, 4.0)),
}
