"""Faults in callbacks: which addresses are taken, when they are called, and with what."""

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Network
from math import inf
from typing import Any

import msgspec
import pytest
from sora_mock.service.emulator import Emulator

from sora_mock.callbacks import scheduler as worker
from sora_mock.control import operations as controls
from sora_mock.domain import callback_url
from sora_mock.domain import delivery as delivery_room
from sora_mock.service import callbacks
from sora_mock.service.callbacks import Callbacks
from tests.contract.faults.planting import Plant, Table, around, both, field, ids, part, then

SPELLINGS = ids("callback.url.refuses", "decimal", "octal", "hexadecimal", "percent")
NEIGHBOURS = "callback.url.accepts.before_* callback.url.accepts.after_*"
LITERAL = re.compile(r"https://[\d.]+/")


def _networks(old: str, *instead: str) -> Plant:
    """Other internal networks in the place of one."""
    rows = [row for row in callback_url._INTERNAL_V4 if str(row[0]) != old]
    rows += [(IPv4Network(each), "private") for each in instead]
    return part(callback_url, "_INTERNAL_V4", tuple(rows))


def _takes(pattern: str) -> Plant:
    """Addresses that look like this are not looked at."""
    return around(callback_url, "rejection", lambda refusal, url: None if re.match(pattern, str(url)) else refusal(url))


def _takes_not(condition: Callable[[str], object]) -> Plant:
    return around(
        callback_url, "rejection", lambda refusal, url: "callback_url is refused" if condition(url) else refusal(url)
    )


ADDRESSES: Table = {
    "every address is taken": (
        "callback.url.refuses.*",
        both(_takes(""), field("callback_url", format="", maxLength=10**6)),
    ),
    "no scheme is https": (
        ids("callback.url.refuses", "no_scheme", "relative", "empty"),
        both(_takes("[^:]*$"), field("callback_url", format="")),
    ),
    "no address is taken": ("callback.url.accepts.*", _takes_not(lambda url: True)),
    "http is taken": ("callback.url.refuses.http", _takes("http://")),
    "any scheme": ("callback.url.refuses.http callback.url.refuses.ftp", _takes(r"\w+://")),
    "no port": ("callback.url.accepts.port", _takes_not(lambda url: re.search(r":\d+/", url))),
    "names alone": (f"{NEIGHBOURS} callback.url.accepts.public_ip", _takes_not(LITERAL.match)),
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
    "localhost is public": ("callback.url.refuses.localhost", part(callback_url, "_INTERNAL_NAMES", ())),
    "IPv6 is public": ("callback.url.refuses.ipv6_*", _takes(r"https://\[")),
    "mapped is public": ("callback.url.refuses.ipv6_mapped", _takes(r"https://\[::ffff")),
    "odd spellings are names": (SPELLINGS, _takes(r"https://(0\d|0x|\d+/|.*%)")),
    "callback of 2049": ("callback.url.refuses.length_2049", field("callback_url", maxLength=2049)),
    "callback of 2047": ("callback.url.accepts.length_2048", field("callback_url", maxLength=2047)),
}


def _counts(condition: Callable[[int], bool]) -> Plant:
    """Other statuses are a success."""
    succeeded = property(lambda attempt: attempt.status is not None and condition(attempt.status))
    return part(delivery_room.Attempt, "succeeded", succeeded)


def _delays(*seconds: float) -> Plant:
    return part(delivery_room, "RETRY_DELAYS", seconds)


def _first_at(moment: Callable[[Any], float]) -> Plant:
    return around(callbacks, "_first_at", lambda original, of, manner: moment(of))


def _said(edit: Callable[[Any, Any], Any]) -> Plant:
    def body(found: Any, self: Any, delivery: Any, now: float) -> Any:
        said = json.loads(found)
        edit(said, delivery)
        return msgspec.json.encode(said)

    return around(Emulator, "callback_body", then(body))


def _unsettled(settle: Any, self: Any, account: Any, now: float) -> None:
    if not account.deliveries:
        settle(self, account, now)


def _first_alone(expect: Any, self: Any, account: Any, of: Any) -> None:
    if not account.deliveries:
        expect(self, account, of)


def _of_all(expect: Any, self: Any, account: Any, of: Any) -> None:
    expect(self, account, msgspec.structs.replace(of, callback_url=of.callback_url or "https://inbox.sora-mock.test/x"))


def _to_one(found: Any, *args: Any) -> Any:
    return None if found.inbox is None else msgspec.structs.replace(found, inbox="hook")


def _again(patch: pytest.MonkeyPatch) -> None:
    def next_attempt_at(delivery: Any) -> Any:
        found = original(delivery)
        if found is None and len(delivery.attempts) == 1 and delivery.attempts[0].succeeded:
            return float(delivery.attempts[0].ended_at) + 86_400
        return found

    original = delivery_room.next_attempt_at
    for room in (callbacks, worker, controls):
        patch.setattr(room, "next_attempt_at", next_attempt_at)


CALLS: Table = {
    # it takes ten real seconds, so it begins first
    "2 s are too long": ("callback.timeout", part(worker, "TIMEOUT", 2.0)),
    "half a second late": ("callback.moment callback.schedule*", _first_at(lambda of: of.plan.ended_at + 0.5)),
    "failures unreported": (
        "callback.body.failed callback.body.moderated",
        _first_at(lambda of: of.plan.ended_at if of.plan.failure is None else inf),
    ),
    "an event in the body": ("callback.body.*", _said(lambda said, delivery: said.update(event="done"))),
    "attempts are told": (
        "callback.same_body",
        _said(lambda said, delivery: said.update(attempt=len(delivery.attempts))),
    ),
    "cancelled unreported": ("callback.cancelled", part(Callbacks, "moved", lambda self, account, of: None)),
    "billing afterwards": ("callback.billing", around(Emulator, "settle", _unsettled)),
    "first task alone": ("callback.each", around(Callbacks, "expect", _first_alone)),
    "reported unasked": ("callback.none", around(Callbacks, "expect", _of_all)),
    "path dropped": ("callback.method", around(callbacks, "destination", then(_to_one))),
    "delivered again": ("callback.once", _again),
    "any answer counts": ("callback.status.[345]?? callback.schedule*", _counts(lambda status: True)),
    "redirects count": ("callback.status.3??", _counts(lambda status: status < 400)),
    "304 counts": ("callback.status.304", _counts(lambda status: status < 300 or status == 304)),
    "4xx is over": ("callback.status.4??", _counts(lambda status: status < 300 or status // 100 == 4)),
    "5xx is over": ("callback.status.5??", _counts(lambda status: status < 300 or status >= 500)),
    "gone is over": ("callback.status.410", _counts(lambda status: status < 300 or status == 410)),
    "nothing counts": ("callback.status.2?? callback.recovers.* callback.once", _counts(lambda status: False)),
    "only 200 counts": (ids("callback.status", 201, 202, 204, 206, 299), _counts(lambda status: status == 200)),
    "200 to 206": ("callback.status.299", _counts(lambda status: 200 <= status <= 206)),
    "retries doubled": ("callback.schedule callback.schedule.steps callback.recovers.*", _delays(2.0, 4.0, 8.0)),
    "first retry late": ("callback.schedule callback.schedule.steps callback.status.[345]??", _delays(1.5, 2.0, 4.0)),
    "one retry more": ("callback.schedule", _delays(1.0, 2.0, 4.0, 8.0)),
    "one retry less": ("callback.schedule callback.schedule.steps callback.recovers.3", _delays(1.0, 2.0)),
    "one retry": ("callback.recovers.2 callback.recovers.3", _delays(1.0)),
    "an attempt at once": ("callback.status.500", _delays(0.0, 1.0, 2.0, 4.0)),
}
