"""Pauses the garbage collector while modules are imported: it finds nothing there and costs a tenth of a start."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection inside the block. A collector that was off before stays off.

    What was imported lives as long as the process, so it is frozen: the next collection would look at all of it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
