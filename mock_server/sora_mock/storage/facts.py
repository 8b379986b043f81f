"""The facts of one account as one frozen value, and what a new account begins with."""

from collections.abc import Mapping

import msgspec

from sora_mock.domain.clock import Clock
from sora_mock.domain.ledger import Ledger
from sora_mock.domain.queue_rule import QueueRule
from sora_mock.domain.token_bucket import RateLimit, TokenBucket
from sora_mock.storage.inboxes import InboxReply


class AccountFacts(msgspec.Struct, frozen=True, gc=False):
    """Everything about an account except its collections. A change replaces the value.

    name: the account's public name, 18 characters of A-Z and 0-9, as in result links.
    clock: the account's own clock.
    ledger: credits that remain, are reserved and are used.
    bucket: the rate limit; None for no limit.
    special_key: what its key means (docs/reference.md, Order of checks); None for an ordinary key.
    create_count: create requests for which a scenario was chosen; random choices depend on it.
    queue: scenarios for the next requests, first rule first.
    callback_routes: URLs to which callbacks are sent instead, by origin of the callback address.
    retry_at: time of the account's clock before which a request gets 429; 0 when none was rejected.
    """

    name: str
    clock: Clock
    ledger: Ledger
    bucket: TokenBucket | None = None
    special_key: str | None = None
    create_count: int = 0
    queue: tuple[QueueRule, ...] = ()
    callback_routes: Mapping[str, str] = {}
    retry_at: float = 0.0


class AccountDefaults(msgspec.Struct, frozen=True):
    """What a new account begins with. Control requests without a key change it.

    clock: its clock. remaining: credits in units of 1/10,000; None for unlimited. rate_limit: None for no limit.
    queue: rules of its queue. callback_routes: as in `AccountFacts`.
    inbox_replies: what a new inbox replies, by name of the inbox.
    """

    clock: Clock
    remaining: int | None
    rate_limit: RateLimit | None
    queue: tuple[QueueRule, ...] = ()
    callback_routes: Mapping[str, str] = {}
    inbox_replies: Mapping[str, tuple[InboxReply, ...]] = {}
