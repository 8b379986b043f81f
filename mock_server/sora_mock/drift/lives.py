"""How long the tasks of a recording took, and how long they were pending.

A recording shows a task only when a client polls, so every time is an interval. `estimated_time` narrows it.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sora_mock.domain.models import DEFAULT_MODEL
from sora_mock.domain.scenario_parameters import MAX_TASK_SECONDS
from sora_mock.domain.task import Behaviour
from sora_mock.drift.recording import RecordedExchange
from sora_mock.guard.pricing import CREATE_PATH

UNFINISHED: Final = ("pending", "processing")
"""Statuses of a task that has not ended."""

_DIGITS: Final = 4
"""Decimals of a suggested `queue_share`."""


class Poll(NamedTuple):
    """One response that shows a task. exchange: where. status: what it shows."""

    exchange: RecordedExchange
    status: Any


class Life(NamedTuple):
    """One task that the recording creates. polls: those that follow, in their order. estimate: whole seconds or None.

    The response to the create request is the first poll.
    """

    polls: list[Poll]
    estimate: int | None

    @property
    def created(self) -> RecordedExchange:
        """The exchange that creates the task."""
        return self.polls[0].exchange

    def age(self, exchange: RecordedExchange) -> tuple[float, float]:
        """The least and the greatest age in seconds that the task can have had in an exchange."""
        least = max(0.0, exchange.at - self.created.at - self.created.seconds)
        return least, max(0.0, exchange.at + exchange.seconds - self.created.at)

    def first(self, status: str) -> RecordedExchange | None:
        """The first exchange that shows a status."""
        return next((poll.exchange for poll in self.polls if poll.status == status), None)

    def last(self, *statuses: str) -> RecordedExchange:
        """The last exchange that shows one of these statuses; the create request if none does."""
        return next((poll.exchange for poll in reversed(self.polls) if poll.status in statuses), self.created)

    @property
    def observed(self) -> tuple[float, float] | None:
        """The least and the greatest generation time that the polls allow; None for a task that did not complete."""
        completed = self.first("completed")
        if completed is None:
            return None
        return self.age(self.last(*UNFINISHED))[0], self.age(completed)[1]

    @property
    def polls_allow_estimate(self) -> bool:
        """Whether the polls allow a generation time that is `estimated_time` when it is rounded up."""
        low, high = self.observed or (self.age(self.last(*UNFINISHED))[0], math.inf)
        return self.estimate is not None and low <= self.estimate and max(0, self.estimate - 1) <= high

    @property
    def estimate_holds(self) -> bool:
        """Whether `estimated_time` is the generation time: it always is on a mock, even if its clock was moved."""
        assert self.created.response is not None
        is_mock = any(name == "x-mock-scenario" for name, _ in self.created.response.headers)
        return self.estimate is not None and (is_mock or self.polls_allow_estimate)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """The least and the greatest generation time.

        None for a task that did not complete, and for one whose polls were not made by its clock.
        """
        if self.observed is None or self.estimate is None or not self.estimate_holds:
            return self.observed
        if not self.polls_allow_estimate:
            return None
        return max(self.observed[0], self.estimate - 1.0), min(self.observed[1], float(self.estimate))


def lives(exchanges: Sequence[RecordedExchange]) -> list[Life]:
    """The tasks of the default model that the recording creates, in its order."""
    found: dict[str, Life] = {}
    for exchange in exchanges:
        body, response = exchange.json(), exchange.response
        if not isinstance(body, dict) or response is None or response.status != 200 or body.get("id") is None:
            continue
        poll = Poll(exchange, body.get("status"))
        if exchange.path == CREATE_PATH and body.get("model") == DEFAULT_MODEL:
            # a replayed response creates nothing
            found.setdefault(str(body["id"]), Life([poll], _estimate(body)))
        elif exchange.path.startswith("/v1/tasks/") and str(body["id"]) in found:
            found[str(body["id"])].polls.append(poll)
    return list(found.values())


def _estimate(body: dict[str, Any]) -> int | None:
    info = body.get("task_info")
    value = info.get("estimated_time") if isinstance(info, dict) else None
    return value if type(value) is int and 0 <= value <= MAX_TASK_SECONDS else None


def generation_time(found: Sequence[Life]) -> tuple[int, int, Sequence[Life]] | None:
    """The shortest and the longest generation time in whole seconds, and the tasks that show it.

    Estimates that the polls allow give exact seconds. Otherwise the range holds each time that the polls allow.
    None if no task shows any.
    """
    estimates = [life.estimate for life in found if life.estimate is not None]
    if estimates and all(life.estimate_holds for life in found):
        # an estimate is rounded up, so a time between 2 and 3 seconds is a 3
        low = min(estimates) if len(set(estimates)) == 1 else max(0, min(estimates) - 1)
        return low, max(estimates), found
    # a task without a poll before its end says little about its length
    completed = [life for life in found if life.observed is not None]
    used = [life for life in completed if life.last(*UNFINISHED) is not life.created] or completed
    times = [life.observed for life in used if life.observed is not None]
    if not times:
        return None
    bounds = math.floor(min(low for low, _ in times)), math.ceil(max(high for _, high in times))
    return min(bounds[0], int(MAX_TASK_SECONDS)), min(bounds[1], int(MAX_TASK_SECONDS)), used


def queue_share(found: Sequence[Life]) -> tuple[float, list[Life]] | None:
    """The part of the generation time that tasks are pending, and the tasks that show it. None if none does.

    It is the shortest decimal that all polls allow. Where they allow the default, it is the default.
    """
    # a task that takes no time shows pending whether there is a queue or not
    used = [life for life in found if life.polls[0].status in UNFINISHED and life.estimate != 0]
    if not used:
        return None
    started = [life for life in used if life.polls[0].status == "processing"]
    if 2 * len(started) > len(used):
        return 0.0, started
    pending = [life for life in used if life.polls[0].status == "pending"]
    bounds = {id(life): part for life in pending if (part := _part_pending(life)) is not None}
    if not bounds:
        return Behaviour().queue_share, pending
    low, high = max(low for low, _ in bounds.values()), min(high for _, high in bounds.values())
    shown = [life for life in pending if id(life) in bounds]
    if low > high:
        # the tasks differ: their mean
        return round(sum(low + high for low, high in bounds.values()) / 2 / len(bounds), _DIGITS), shown
    return _shortest(low, high), shown


def _part_pending(life: Life) -> tuple[float, float] | None:
    """The least and the greatest part of its generation time that a task was pending; None if it did not complete."""
    if life.seconds is None or life.seconds[1] <= 0:
        return None
    shortest, longest = life.seconds
    processing = life.first("processing")
    low = life.age(life.last("pending"))[0] / longest
    high = 1.0 if processing is None or shortest <= 0 else life.age(processing)[1] / shortest
    return min(1.0, low), min(1.0, high)


def _shortest(low: float, high: float) -> float:
    """The default if the interval holds it, else the decimal in it that has the fewest digits.

    low: not part of the interval, because the task was still pending at that age.
    """
    default = Behaviour().queue_share
    if low < default <= high:
        return default
    for digits in range(_DIGITS):
        found: float = (math.floor(round(low * 10**digits, 6)) + 1) / 10**digits
        if found <= high:
            return found
    return round((low + high) / 2, _DIGITS)
