"""The rate limit accepts as many requests as it names, and the wait that it returns is always long enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora_mock.domain.token_bucket import TokenBucket, parse_rate_limit, retry_after

NOW = 1_795_341_600.25


def test_a_full_bucket_accepts_its_limit_at_once_and_no_more() -> None:
    bucket = TokenBucket.full(parse_rate_limit("60/minute"), NOW)
    waits = []
    for _ in range(61):
        bucket, wait = bucket.take(NOW)
        waits.append(wait)
    assert waits == [0.0] * 60 + [1.0]


def test_a_second_later_one_more_request_is_accepted() -> None:
    bucket = TokenBucket(parse_rate_limit("60/minute"), 0.0, NOW)
    bucket, wait = bucket.take(NOW + 1)
    assert wait == 0.0
    assert bucket.take(NOW + 1)[1] > 0


def test_a_bucket_never_holds_more_tokens_than_its_limit() -> None:
    bucket = TokenBucket.full(parse_rate_limit("2/second"), NOW)
    for _ in range(2):
        bucket, wait = bucket.take(NOW + 1000)
        assert wait == 0.0
    assert bucket.take(NOW + 1000)[1] > 0


rates = st.builds(
    lambda limit, period: parse_rate_limit(f"{limit}/{period}"),
    st.integers(1, 10_000),
    st.sampled_from(["second", "minute", "hour", "day"]),
)


@given(rates, st.lists(st.floats(0, 100), max_size=30))
def test_a_request_after_the_returned_wait_is_accepted(rate: object, pauses: list[float]) -> None:
    bucket, now = TokenBucket.full(rate, NOW), NOW  # type: ignore[arg-type]
    for pause in pauses:
        now += pause
        bucket, wait = bucket.take(now)
        if wait:
            assert TokenBucket.take(bucket, now + wait)[1] == 0.0
            assert TokenBucket.take(bucket, now + retry_after(wait))[1] == 0.0


@given(rates, st.lists(st.floats(0, 5), max_size=60))
def test_no_period_accepts_more_than_the_limit_and_the_refill(rate: object, pauses: list[float]) -> None:
    bucket, now, accepted = TokenBucket.full(rate, NOW), NOW, 0  # type: ignore[arg-type]
    for pause in pauses:
        now += pause
        bucket, wait = bucket.take(now)
        accepted += not wait
    refilled = (now - NOW) / bucket.rate.period * bucket.rate.limit
    assert accepted <= bucket.rate.limit + refilled + 0.01 * len(pauses)


@pytest.mark.parametrize("bad", ["", "60", "0/minute", "-1/second", "60/week", "1.5/second", "60 / minute", "x/minute"])
def test_an_invalid_rate_limit_is_rejected_with_an_example(bad: str) -> None:
    with pytest.raises(ValueError, match="60/minute"):
        parse_rate_limit(bad)
