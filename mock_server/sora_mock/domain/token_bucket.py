"""The rate limit of one account: a token bucket on the account's own clock."""

import math
import re

import msgspec

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
"""Seconds of each period that a rate limit can name."""

RESOLUTION = 1e-6
"""Seconds; a shorter wait counts as none. Floats near 1.8e9 differ by at least 2.4e-7, so shorter waits are noise."""


class RateLimit(msgspec.Struct, frozen=True):
    """How many requests are accepted in which time.

    limit: requests in each period, at least 1; the bucket holds as many tokens.
    period: seconds.
    text: the rate limit as the user wrote it, such as `60/minute`.
    """

    limit: int
    period: float
    text: str


def parse_rate_limit(text: str) -> RateLimit:
    """The rate limit of a text such as `60/minute`. Raises ValueError that says what is accepted."""
    match = re.fullmatch(r"([1-9]\d{0,8})/(second|minute|hour|day)", text)
    if match is None:
        raise ValueError("expected N/second, N/minute, N/hour or N/day with N from 1, such as 60/minute")
    return RateLimit(int(match[1]), PERIODS[match[2]], text)


class TokenBucket(msgspec.Struct, frozen=True, gc=False):
    """A token bucket, as it was after its last request.

    rate: the rate limit that refills it.
    tokens: how many tokens it held at the time `at`, from 0 to `rate.limit`.
    at: Unix seconds of the account's clock.
    """

    rate: RateLimit
    tokens: float
    at: float

    @classmethod
    def full(cls, rate: RateLimit, now: float) -> "TokenBucket":
        """A bucket that holds all its tokens."""
        return cls(rate, float(rate.limit), now)

    def take(self, now: float) -> tuple["TokenBucket", float]:
        """The bucket after a request at `now`, and the seconds until such a request is accepted.

        0 seconds: the request is accepted and took a token. A rejected request takes none.
        """
        seconds_each = self.rate.period / self.rate.limit
        elapsed = max(0.0, now - self.at)
        tokens = min(float(self.rate.limit), self.tokens + elapsed / seconds_each)
        wait = (1.0 - tokens) * seconds_each
        if wait > RESOLUTION:
            return TokenBucket(self.rate, tokens, max(now, self.at)), wait
        return TokenBucket(self.rate, max(0.0, tokens - 1.0), max(now, self.at)), 0.0


def retry_after(wait: float) -> int:
    """Whole seconds for the Retry-After header, at least 1. A client that waits so long is always accepted."""
    return max(1, math.ceil(wait))
