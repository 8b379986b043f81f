"""The one reader of the machine's clock."""

import time

# Wall time at start, carried on by the monotonic clock: a machine whose clock is set back ages no task backwards.
_OFFSET = time.time() - time.monotonic()


def real_now() -> float:
    """Unix seconds; never goes back while the process lives."""
    return _OFFSET + time.monotonic()


stopwatch = time.perf_counter
"""Seconds from an arbitrary start, for measuring durations."""

processor_time = time.thread_time
"""Seconds that the processor worked for this thread, from an arbitrary start. It does not count waiting."""
