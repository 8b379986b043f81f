"""Patterns mean what `re` means by them, and cost a bounded time and size."""

import gc
import re
import warnings

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from sora_mock.domain.pattern import MAX_LENGTH, MAX_STEPS, Pattern, PatternBudget, QueuedPatterns, read_pattern
from sora_mock.runtime.clock import processor_time

EXPLODES = "(a|aa)+$"
FUSE = "a" * 5000 + "!"


def compiled_by_re(text: str) -> re.Pattern[str] | None:
    """The pattern of `re`; None for what it rejects, and for what it warns will change."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return re.compile(text)
        except (re.error, FutureWarning, OverflowError):
            return None


def accepted(text: str) -> Pattern | None:
    try:
        return read_pattern(text)
    except ValueError:
        return None


# --- what a pattern means ---

atoms = st.sampled_from(
    [
        *("a", "b", ".", r"\w", r"\W", r"\d", r"\s", r"\b", r"\B", "^", "$", "[ab]", "[^a]", "[a-]", "[]a]", "[{]"),
        *("{a}", "{e}", "{e<=1}", "{s}", "x{i<=1}", "{", "}", r"\{", r"\\", r"\(", r"\x61", r"\u0062", r"\.", "é"),
        *("(?#e)", r"\Z"),
    ]
)
repeats = st.sampled_from(["", "", "", "*", "+", "?", "*?", "+?", "??", "*+", "{2}", "{1,2}", "{,2}", "{2,}", "{0,3}?"])
groups = st.sampled_from(["(", "(?:", "(?=", "(?!", "(?>", "(?i:", "(?s-i:", "(?<=", "(?<!", "(?P<n>"])
patterns = st.recursive(
    st.tuples(atoms, repeats).map("".join),
    lambda inner: (
        st.tuples(groups, inner, st.just(")"), repeats).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map("".join)
        | st.tuples(inner, inner).map("|".join)
        | inner.map("({}(a)\\1)".format)
    ),
    max_leaves=6,
)


# not empty, because `re` finds no `\B` there before Python 3.14
@given(patterns, st.text("abé{}e<=1 \\\n.", min_size=1, max_size=8))
# half of the generated texts are no pattern
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@example("{subject}", "a {subject} b")
@example("a{e}", "b")
@example(r"(?i)\bDOG\b", "a dog")
@example(r"(?<=a)b(?!c)(?P<n>d)(?P=n)", "abdd")
def test_a_pattern_matches_where_re_finds_a_match(written: str, text: str) -> None:
    usual = compiled_by_re(written)
    assume(usual is not None)
    assert usual is not None
    assert Pattern(written).search(text, 10) is (usual.search(text) is not None)


@pytest.mark.parametrize(
    "written",
    [
        *("(?R)", r"\\(?R)", "(?1)", "(?&n)", "(?P>n)", "(?|a)", "(?V1)a", "(?L)a", "(?e)a", "(?<n>a)", "(*SKIP)"),
        *(r"\p{L}", r"\X", r"\K", r"\G", r"\L<names>", r"a\g<1>", "(?((?=a))b)"),
    ],
)
def test_what_re_does_not_know_is_refused_with_its_position(written: str) -> None:
    with pytest.raises(ValueError, match=r"is no regular expression: Python's `re` has no .* at position \d"):
        read_pattern(written)


@pytest.mark.parametrize("written", ["(", "[", "a**", "a{2,1}", "(?P<n>", "\\", r"\x4", "*", ")"])
def test_a_broken_pattern_is_refused_with_the_reason(written: str) -> None:
    with pytest.raises(ValueError, match=r"is no regular expression: .+ at position"):
        read_pattern(written)


@pytest.mark.parametrize("value", [None, 5, ["a"], "a" * (MAX_LENGTH + 1)])
def test_a_pattern_is_a_text_of_bounded_length(value: object) -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_LENGTH} characters"):
        read_pattern(value)


# --- what it costs ---

HUGE = ["((a{1000}){1000}){1000}", "(?:a{1000}b){1000}", "a{99999999}", "(?x)(ab) {999} {999}", "(?:(?:ab){500}#){500}"]
ODD = ["(?i)" + "[\x00-\uffff]" * 90, "(" * 249 + ")" * 249, "(?:a?" * 80 + ")" * 80, "a|" * 250, "(?i)" + "ß" * 490]


@pytest.mark.parametrize("written", HUGE)
def test_a_pattern_that_repeats_too_much_is_refused_before_it_is_compiled(written: str) -> None:
    with pytest.raises(ValueError, match=f"expected at most {MAX_STEPS} steps"):
        read_pattern(written)


@pytest.mark.parametrize("written", ODD, ids=range(len(ODD)))
def test_no_pattern_takes_long_to_read(written: str) -> None:
    accepted("a")  # imports the package
    started = processor_time()
    accepted(written)
    assert processor_time() - started < 0.1


@given(st.text() | st.text(r"ab()[]{}?*+|^$\.<>=!:#P0123,-iesx&R", max_size=MAX_LENGTH))
@example("(?(1)a|b)")
def test_each_text_becomes_a_bounded_pattern_or_a_value_error(text: str) -> None:
    pattern = accepted(text)
    if pattern is not None:
        assert (pattern.text, repr(pattern)) == (text, repr(text))
        assert len(text) <= pattern.steps <= MAX_STEPS


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["(?:a{{{}}}b){{{}}}", "(?:(?:ab){{{}}}c){{{}}}"]))
def test_counts_of_nested_groups_are_multiplied(inner: int, outer: int, form: str) -> None:
    pattern = accepted(form.format(inner, outer))
    assert pattern is None or pattern.steps >= inner * outer


def test_patterns_are_equal_by_their_text() -> None:
    assert {Pattern("a"), Pattern("a"), Pattern("b")} == {Pattern("b"), Pattern("a")}
    assert Pattern("a") != "a"


# --- the time of one request ---


def test_all_patterns_of_a_request_have_its_time_together() -> None:
    slow = [Pattern(EXPLODES + "|" + "b" * index) for index in range(1, 50)]
    budget = PatternBudget(processor_time)
    started = processor_time()
    assert [budget.search(pattern, FUSE) for pattern in slow] == [False] * len(slow)
    assert 0.04 < processor_time() - started < 0.1
    assert budget.ran_out == slow[0]


def test_a_pattern_that_ends_in_time_leaves_the_rest_to_the_others() -> None:
    budget = PatternBudget(processor_time)
    assert [budget.search(Pattern(each), "a dog") for each in ("dog", "cat", "^a")] == [True, False, True]
    assert budget.ran_out is None
    assert not budget.search(Pattern(EXPLODES), FUSE)
    assert not budget.search(Pattern("a"), "a")
    assert budget.ran_out == Pattern(EXPLODES)


@given(st.lists(st.integers(0, 3), max_size=20))
def test_no_search_begins_after_the_time_is_used_up(hundredths: list[int]) -> None:
    # counted in whole hundredths: with a rest that is next to nothing, `regex` itself may run out of it
    passed = 0
    budget = PatternBudget(lambda: passed / 100, seconds=0.05)
    for duration in hundredths:
        in_time = passed < 5
        assert budget.search(Pattern("a"), "a") is in_time
        assert (budget.ran_out is None) is in_time
        passed += duration


# --- the patterns of all queues ---


@given(st.lists(st.text("ab", min_size=1, max_size=20), max_size=20))
def test_a_pattern_counts_until_it_is_forgotten(texts: list[str]) -> None:
    count = QueuedPatterns()
    kept = [Pattern(text) for text in texts]
    assert all(map(count.add, kept))
    assert count.steps == sum(pattern.steps for pattern in kept)
    kept.clear()
    gc.collect()
    assert count.steps == 0


def test_patterns_that_are_too_large_together_do_not_fit() -> None:
    count, kept = QueuedPatterns(), []
    while count.add(pattern := Pattern("a{9000}")):
        kept.append(pattern)
    assert len(kept) == 1_000_000 // pattern.steps
    kept.pop()
    gc.collect()
    assert count.add(pattern)
