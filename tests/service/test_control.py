"""What control requests change: one account, or every account and new ones."""

from collections.abc import Callable

import pytest

from sora_mock.domain.contract import CREDITS
from sora_mock.domain.events import CallbackPlanned
from sora_mock.domain.queue_rule import QueueRule
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.token_bucket import parse_rate_limit
from sora_mock.service import authentication, clocks, control, credits
from sora_mock.service.context import Service
from sora_mock.storage.inboxes import InboxMessage, InboxReply
from sora_mock.storage.memory import MemoryAccount
from tests.frozen import START, FrozenService

RULE = QueueRule(1, Scenario("stuck", "", "stuck"), 1, "create", {}, {})


def replied(account: MemoryAccount) -> int:
    return account.inboxes.receive("hook", InboxMessage(1.0, {}, b"")).status


CHANGES: dict[str, tuple[Callable[[Service, str | None], None], Callable[[MemoryAccount], object], object, object]] = {
    "queue": (
        lambda service, key: control.append_rule(service, key, RULE),
        lambda account: account.facts.queue,
        (),
        (RULE,),
    ),
    "callback routes": (
        lambda service, key: control.set_callback_routes(service, key, {"https://a.example": "http://localhost"}),
        lambda account: account.facts.callback_routes,
        {},
        {"https://a.example": "http://localhost"},
    ),
    "inbox": (
        lambda service, key: control.set_inbox_replies(service, key, "hook", (InboxReply(503),)),
        replied,
        200,
        503,
    ),
    "balance": (
        lambda service, key: credits.set_balance(service, key, 5),
        lambda account: account.facts.ledger.remaining,
        10_000_000,
        5,
    ),
    "rate limit": (
        lambda service, key: credits.set_rate_limit(service, key, parse_rate_limit("1/minute")),
        lambda account: account.facts.bucket and account.facts.bucket.rate,
        None,
        parse_rate_limit("1/minute"),
    ),
    "clock": (
        lambda service, key: clocks.change(service, key, speed=None, frozen=True, per_request=None),
        lambda account: account.facts.clock.frozen,
        False,
        True,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_one_account_leaves_the_others_and_new_ones_alone(name: str) -> None:
    change, read, default, changed = CHANGES[name]
    service = FrozenService().service
    service.storage.account("sk-old")
    change(service, "sk-a")
    assert read(service.storage.account("sk-a")) == changed
    assert read(service.storage.account("sk-old")) == read(service.storage.account("sk-new")) == default


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_without_a_key_is_for_every_account_and_new_ones_until_a_reset(name: str) -> None:
    change, read, default, changed = CHANGES[name]
    service = FrozenService().service
    service.storage.account("sk-old")
    change(service, None)
    assert read(service.storage.account("sk-old")) == read(service.storage.account("sk-new")) == changed
    control.reset(service, "sk-old")
    assert read(service.storage.account("sk-old")) == changed
    control.reset(service, None)
    assert service.storage.accounts() == []
    assert read(service.storage.account("sk-old")) == default


def test_a_balance_for_all_accounts_leaves_the_key_without_credit_empty() -> None:
    frozen = FrozenService()
    frozen.ledger("sk-mock-no-credit")
    credits.set_balance(frozen.service, None, 5)
    assert frozen.ledger("sk-mock-no-credit").remaining == 0
    assert frozen.ledger("sk-mock-no-credit-2").remaining == 0
    credits.set_balance(frozen.service, "sk-mock-no-credit", 5)
    assert frozen.ledger("sk-mock-no-credit").remaining == 5


def test_a_reset_announces_that_nothing_is_planned_any_more() -> None:
    service, planned = FrozenService().service, list[CallbackPlanned]()
    names = [service.storage.account(key).facts.name for key in ("sk-a", "sk-b")]
    service.events.subscribe(CallbackPlanned, planned.append)
    control.reset(service, "sk-a")
    assert planned == [CallbackPlanned(names[0])]
    control.reset(service, None)
    assert planned[1:] == [CallbackPlanned(names[1])]


def test_an_empty_queue_stays_empty_for_new_accounts() -> None:
    service = FrozenService().service
    control.append_rule(service, None, RULE)
    control.append_rule(service, "sk-a", RULE)
    assert control.longest_queue(service, None) == control.longest_queue(service, "sk-a") == 2
    control.empty_queue(service, None)
    assert control.longest_queue(service, None) == 0
    assert service.storage.account("sk-new").facts.queue == ()


def test_a_moved_clock_settles_what_ended_on_the_way() -> None:
    frozen = FrozenService(frozen_clock=True)
    frozen.create()
    account = frozen.service.storage.account("sk-a")
    clocks.move(frozen.service, account, START + 5)
    assert frozen.service.now(account) == START + 5
    assert account.facts.ledger.used == 57_600
    assert clocks.latest_time(frozen.service, None) == START + 5


def test_a_reset_of_the_server_forgets_the_keys_that_were_read() -> None:
    frozen = FrozenService()
    frozen.send(CREDITS, key="sk-read-once")
    assert authentication._short_bearer_key.cache_info().currsize > 0
    control.reset(frozen.service, None)
    assert authentication._short_bearer_key.cache_info().currsize == 0
