"""Regular expressions of users: bounded in size when they are read, and in time when they are searched."""

import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Final

MAX_LENGTH: Final = 500
"""Characters of a pattern."""

MAX_STEPS: Final = 10_000
"""Steps of a pattern, as `Pattern` counts them. To compile so many takes about 5 ms and 3 MB."""

MAX_QUEUED_STEPS: Final = 1_000_000
"""Steps of all patterns that wait in the queues of a server."""

SEARCH_SECONDS: Final = 0.05
"""Seconds of processor time that all patterns of one request have together."""

# What `regex` adds to the syntax of `re`: recursion can end the process or take much memory, so it is not accepted. A
# brace that is no count begins a fuzzy match in `regex` and is a plain character in `re`.
_SYNTAX: Final = re.compile(
    r"\\N\{[^{}]*\}|\\(?:[^A-Za-z]|[AbBdDfnNrsStuUvwWxZa])|\{[0-9]*,?[0-9]*\}(?<!\{\})"
    r"|(?P<brace>\{)"
    r"|(?P<foreign>\\[A-Za-z]|\(\*|\(\?(?![:=!>#]|<[=!]|P[<=]|\(\w+\)|[aimsux]*(?:-[imsux]+)?[:)]).{,2})",
    re.DOTALL,
)
_COUNT: Final = re.compile(r"\{([0-9]+)")


class Pattern:
    """A regular expression that was checked and compiled once. Two patterns with the same text are equal.

    text: as the user wrote it, in the syntax of Python's `re`.
    steps: how large it is when it is compiled, at most; `(ab){100}` is compiled a hundred times.
    """

    __slots__ = ("__weakref__", "_search", "steps", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError with the reason where the text is no pattern, or too large."""
        self.text = text
        self.steps = _steps(text)
        if self.steps > MAX_STEPS:
            raise ValueError(f"{text[:80]!r} is too large: expected at most {MAX_STEPS} steps, got {self.steps}")
        self._search = _compiled(text).search

    def search(self, text: str, seconds: float) -> bool:
        """Whether the pattern matches anywhere in the text. Raises TimeoutError after so many processor seconds."""
        return self._search(text, timeout=seconds) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return repr(self.text)


def read_pattern(text: Any) -> Pattern:
    """The pattern of a value. Raises ValueError with the reason where it is none."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        raise ValueError(f"expected a regular expression of at most {MAX_LENGTH} characters")
    return Pattern(text)


def _compiled(text: str) -> Any:
    def translated(part: re.Match[str]) -> str:
        if part["foreign"]:
            raise _invalid(text, f"Python's `re` has no {part['foreign']} at position {part.start()}")
        return r"\{" if part["brace"] else part[0]

    written = _SYNTAX.sub(translated, text)
    # imported for the first pattern: it costs a start 20 ms, and most servers have no pattern
    import regex

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return regex.compile(written, cache_pattern=False)
    except (regex.error, ArithmeticError, LookupError, RecursionError, MemoryError, ValueError) as problem:
        raise _invalid(text, str(problem) or type(problem).__name__) from None
    finally:
        # `regex` keeps every text for ever, even without its cache
        regex.purge()


def _invalid(text: str, reason: str) -> ValueError:
    return ValueError(f"{text[:80]!r} is no regular expression: {reason}")


def _steps(text: str) -> int:
    """At least the number of parts that `regex` makes of a pattern: it copies what is repeated at least n times.

    A count behind a letter, a digit, a full stop or a set repeats that alone. Any other one may repeat a group, and
    groups may be nested, so those counts are multiplied.
    """
    single, groups = 0, 1
    for found in _COUNT.finditer(text):
        before, count = text[: found.start()][-1:], max(1, int(found[1]))
        if before.isalnum() or before in ("]", "."):
            single += count
        else:
            groups *= count
    return groups * (len(text) + single)


class PatternBudget:
    """The time that all patterns of one request have together. It begins with the first search.

    ran_out: the pattern that used up the time; None while time is left.
    """

    def __init__(self, processor_time: Callable[[], float], seconds: float = SEARCH_SECONDS) -> None:
        """processor_time: seconds that the processor worked, from an arbitrary start."""
        self._processor_time = processor_time
        self._seconds = seconds
        self._ends_at: float | None = None
        self.ran_out: Pattern | None = None

    def search(self, pattern: Pattern, text: str) -> bool:
        """Whether a pattern matches anywhere in a text; False where the time does not suffice, see `ran_out`."""
        if self.ran_out is not None:
            return False
        now = self._processor_time()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
        try:
            # the pattern that begins with no time left counts as the one that ran out of time
            return pattern.search(text, self._ends_at - now) if now < self._ends_at else self._stop(pattern)
        except (TimeoutError, MemoryError):
            return self._stop(pattern)

    def _stop(self, pattern: Pattern) -> bool:
        self.ran_out = pattern
        return False


class QueuedPatterns:
    """Counts the steps of the patterns that wait in queues.

    A pattern leaves the count when the last rule that has it is used up or forgotten.
    """

    def __init__(self) -> None:
        self.steps = 0

    def add(self, pattern: Pattern) -> bool:
        """Counts a pattern; False where it does not fit."""
        if self.steps + pattern.steps > MAX_QUEUED_STEPS:
            return False
        self.steps += pattern.steps
        weakref.finalize(pattern, self._leave, pattern.steps).atexit = False
        return True

    def _leave(self, steps: int) -> None:
        self.steps -= steps
