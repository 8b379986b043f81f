"""The clock of an account."""

from typing import Any

from sora_mock.client.control import CALLBACK_TIMEOUT, Control

# pytest shows the caller's line instead of ours
__tracebackhide__ = True


class Clock:
    """An account's clock. Timestamps are Unix seconds."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def _get(self) -> dict[str, Any]:
        clock: dict[str, Any] = self._control.call("GET", "/clock")
        return clock

    def _set(self, **change: Any) -> float:
        return float(self._control.call("PATCH", "/clock", change, timeout=CALLBACK_TIMEOUT)["now"])

    @property
    def now(self) -> float:
        """The timestamp that the clock shows. Settable, forwards only: an earlier timestamp raises Refused 400."""
        return float(self._get()["now"])

    @now.setter
    def now(self, timestamp: float) -> None:
        self._set(now=timestamp)

    @property
    def speed(self) -> float:
        """Seconds of this clock in one real second. Settable, from 0.001 to 1,000,000."""
        return float(self._get()["speed"])

    @speed.setter
    def speed(self, factor: float) -> None:
        self._set(speed=factor)

    @property
    def frozen(self) -> bool:
        """Whether the clock does not run."""
        return bool(self._get()["frozen"])

    def freeze(self) -> float:
        """Stops the clock and returns the timestamp that it shows from now on."""
        return self._set(frozen=True)

    def unfreeze(self) -> float:
        """Lets the clock run again and returns the timestamp at which it starts."""
        return self._set(frozen=False)

    def per_request(self, seconds: float) -> None:
        """Moves the clock on by `seconds` before each request, so that a polling loop ends soon; 0 ends that."""
        self._set(per_request=seconds)

    def advance(self, seconds: float, *, timeout: float = CALLBACK_TIMEOUT) -> float:
        """Moves the clock on and returns its new timestamp.

        Everything that was due has happened then, callback attempts included.
        timeout: real seconds, because receivers of callbacks may be slow.
        """
        body = {"seconds": seconds}
        return float(self._control.call("POST", "/clock/advance", body, timeout=timeout)["now"])
