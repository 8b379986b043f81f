"""An account's clock: what it shows at a real time, and how it is changed."""

from typing import Final

import msgspec

LAST_MOMENT: Final = 9_999_999_999.0
"""Clocks stop here (the year 2286): task ids hold ten digits."""

FASTEST: Final = 1_000_000.0
"""The largest speed that is accepted."""


class Clock(msgspec.Struct, frozen=True, gc=False):
    """An account's clock: `base` was shown at the real moment `since`, and runs at `speed` unless frozen.

    per_request: seconds that every request to the emulated service adds first.
    """

    base: float
    since: float
    speed: float = 1.0
    frozen: bool = False
    per_request: float = 0.0

    def at(self, real: float) -> float:
        """The account's moment at the real moment `real`."""
        if self.frozen:
            return self.base
        return min(LAST_MOMENT, self.base + (real - self.since) * self.speed)

    def real_at(self, moment: float) -> float:
        """The real moment at which the clock shows `moment`. Only for a clock that runs."""
        return self.since + (moment - self.base) / self.speed

    def advanced(self, real: float, seconds: float) -> "Clock":
        """The clock moved on by `seconds`; it runs on as before."""
        return self.moved(real, self.at(real) + seconds)

    def moved(self, real: float, now: float) -> "Clock":
        """The clock set to `now`, which the caller knows not to be in its past."""
        return msgspec.structs.replace(self, base=min(LAST_MOMENT, now), since=real)

    def changed(self, real: float, *, speed: float | None, frozen: bool | None, per_request: float | None) -> "Clock":
        """The clock with other settings from now on; None keeps one. It shows the same moment as before."""
        return Clock(
            base=self.at(real),
            since=real,
            speed=self.speed if speed is None else speed,
            frozen=self.frozen if frozen is None else frozen,
            per_request=self.per_request if per_request is None else per_request,
        )
