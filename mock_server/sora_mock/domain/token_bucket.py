"""The rate limit of one account: a token bucket on the account's own clock."""

import math
import re

import msgspec

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

# Moments near 1.8e9 are told apart to about 2.4e-7 s; a wait below this is none.
RESOLUTION = 1e-6


class Rate(msgspec.Struct, frozen=True):
    """`limit` requests in each `period` seconds; `limit` is also the bucket's capacity."""

    limit: int
    period: float
    text: str


def parse_rate(text: str) -> Rate:
    """`60/minute` -> Rate. Raises ValueError that says what is accepted."""
    match = re.fullmatch(r"([1-9]\d{0,8})/(second|minute|hour|day)", text)
    if match is None:
        raise ValueError("expected N/second, N/minute, N/hour or N/day with N from 1, such as 60/minute")
    return Rate(int(match[1]), PERIODS[match[2]], text)


class TokenBucket(msgspec.Struct, frozen=True, gc=False):
    """`tokens` there were at the moment `at` (seconds of the account's clock)."""

    rate: Rate
    tokens: float
    at: float

    @classmethod
    def full(cls, rate: Rate, now: float) -> "TokenBucket":
        """A bucket that nothing was taken from."""
        return cls(rate, float(rate.limit), now)

    def take(self, now: float) -> tuple["TokenBucket", float]:
        """The bucket after one request at `now`, and the seconds to wait before it would have been let through.

        0 seconds: a token was taken. A request that has to wait takes nothing.
        """
        seconds_each = self.rate.period / self.rate.limit
        elapsed = max(0.0, now - self.at)
        tokens = min(float(self.rate.limit), self.tokens + elapsed / seconds_each)
        wait = (1.0 - tokens) * seconds_each
        if wait > RESOLUTION:
            return TokenBucket(self.rate, tokens, max(now, self.at)), wait
        return TokenBucket(self.rate, max(0.0, tokens - 1.0), max(now, self.at)), 0.0


def retry_after(wait: float) -> int:
    """Whole seconds for the Retry-After header: waiting that long is always enough."""
    return max(1, math.ceil(wait))
