"""An account's clock: the time it shows at a real time, and how it is changed.

A real time is Unix seconds of the machine's clock. Every other time is Unix seconds of the account's clock.
"""

from typing import Final

import msgspec

MAX_TIME: Final = 9_999_999_999.0
"""Unix seconds at which clocks stop (the year 2286): task ids hold ten digits."""

MAX_SPEED: Final = 1_000_000.0
"""The largest speed that is accepted."""


class Clock(msgspec.Struct, frozen=True, gc=False):
    """An account's clock. It is a value: each change returns a new one.

    base: the time that it showed at the real time `since`.
    since: real time of the last change.
    speed: seconds of this clock for each real second, 0.001 to `MAX_SPEED`.
    frozen: whether it shows `base` until the next change.
    per_request: seconds that each request to the emulated service adds before it is handled, at least 0.
    """

    base: float
    since: float
    speed: float = 1.0
    frozen: bool = False
    per_request: float = 0.0

    def at(self, real: float) -> float:
        """The time that the clock shows at the real time `real`."""
        if self.frozen:
            return self.base
        return min(MAX_TIME, self.base + (real - self.since) * self.speed)

    def real_at(self, time: float) -> float:
        """The real time at which the clock shows `time`. Only for a clock that is not frozen."""
        return self.since + (time - self.base) / self.speed

    def advanced(self, real: float, seconds: float) -> "Clock":
        """The clock after `seconds` were added; its speed stays."""
        return self.moved(real, self.at(real) + seconds)

    def moved(self, real: float, now: float) -> "Clock":
        """The clock set to `now`. The caller makes sure that `now` is not before the time that it shows."""
        return msgspec.structs.replace(self, base=min(MAX_TIME, now), since=real)

    def changed(self, real: float, *, speed: float | None, frozen: bool | None, per_request: float | None) -> "Clock":
        """The clock with other settings from now on; None keeps a setting. The time that it shows stays the same."""
        return Clock(
            base=self.at(real),
            since=real,
            speed=self.speed if speed is None else speed,
            frozen=self.frozen if frozen is None else frozen,
            per_request=self.per_request if per_request is None else per_request,
        )
