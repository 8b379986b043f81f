"""Whose request it is: valid keys, keys with a special meaning, and the time at which a request arrives."""

from typing import Any

import pytest

from sora_mock.domain.contract import CREDITS
from sora_mock.domain.events import CallbackPlanned
from sora_mock.service import clocks
from sora_mock.service.authentication import KEY_HINT, MAX_KEY_LENGTH, SPECIAL_KEYS, bearer_key
from tests.frozen import ORDER, START, FrozenService

HOOK = "https://inbox.sora-mock.test/hook"


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Bearer sk-a", "sk-a"),
        (b"bearer sk-a", "sk-a"),
        (b"BEARER   sk-a ", "sk-a"),
        (b"Basic sk-a", ""),
        (b"sk-a", ""),
        (b"Bearer", ""),
        (b"", ""),
        (b"Bearer " + b"x" * 1000, "x" * 1000),
    ],
)
def test_a_bearer_key_is_read_in_any_case_of_its_scheme(header: bytes, key: str) -> None:
    assert bearer_key(header) == key


def status(key: str, **settings: Any) -> tuple[int, str | None]:
    frozen = FrozenService(**settings)
    return frozen.send(CREDITS, key=key).status, frozen.exchange.hint


@pytest.mark.parametrize("key", ["sk-a", "sk-", "sk-" + "x" * (MAX_KEY_LENGTH - 3)])
def test_a_key_that_begins_with_sk_is_valid(key: str) -> None:
    assert status(key) == (200, None)


@pytest.mark.parametrize("key", ["12345", "Sk-a", "my key", "ak-a", "pk-with-sk-inside"])
def test_a_key_that_does_not_begin_with_sk_is_rejected_with_a_hint(key: str) -> None:
    assert status(key) == (401, KEY_HINT)
    assert KEY_HINT == "keys begin with sk-"


@pytest.mark.parametrize("key", ["", "sk-" + "x" * MAX_KEY_LENGTH])
def test_the_hint_is_not_given_where_it_would_be_wrong(key: str) -> None:
    assert status(key) == (401, None)


def test_where_keys_are_listed_only_those_are_valid_and_no_hint_says_otherwise() -> None:
    listed = {"keys": ("my-key", "sk-b")}
    assert [status(key, **listed) for key in ("my-key", "sk-b", "sk-a", "other")] == [
        (200, None),
        (200, None),
        (401, None),
        (401, None),
    ]


def test_a_special_key_is_known_by_its_beginning() -> None:
    storage = FrozenService().service.storage
    for special in SPECIAL_KEYS:
        assert storage.account(f"{special}-2").facts.special_key == special
    assert storage.account("sk-mock").facts.special_key is None


def test_an_expired_key_is_rejected_and_the_rule_says_why() -> None:
    frozen = FrozenService()
    assert frozen.send(CREDITS, key="sk-mock-expired").status == 401
    assert (frozen.exchange.rule, frozen.exchange.hint) == ("key sk-mock-expired", None)


def test_an_account_without_credit_begins_empty() -> None:
    frozen = FrozenService()
    assert frozen.ledger("sk-mock-no-credit").remaining == 0
    assert frozen.ledger("sk-a").remaining == 10_000_000


def test_a_request_arrives_at_the_time_of_its_accounts_clock() -> None:
    frozen = FrozenService(speed=60.0)
    frozen.real += 10
    frozen.send(CREDITS)
    exchange = frozen.exchange
    assert (exchange.at, exchange.is_frozen) == (START + 600, False)
    assert exchange.account == frozen.service.storage.account("sk-a").facts.name


def test_a_request_advances_a_clock_that_is_set_so_and_what_falls_due_is_announced() -> None:
    frozen = FrozenService(frozen_clock=True)
    frozen.create(body={**ORDER, "callback_url": HOOK})
    clocks.change(frozen.service, "sk-a", speed=None, frozen=None, per_request=5.0)
    planned: list[CallbackPlanned] = []
    frozen.service.events.subscribe(CallbackPlanned, planned.append)
    frozen.send(CREDITS)
    assert (frozen.exchange.at, frozen.exchange.is_frozen) == (START + 5, True)
    assert frozen.ledger().used == 57_600
    assert planned == [CallbackPlanned(frozen.service.storage.account("sk-a").facts.name)]
