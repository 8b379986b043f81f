"""Returns freed memory to the system, where the C library would keep it."""

import gc
from typing import Final

MIN_FREED: Final = 32 * 2**20
"""Freed bytes from which `release_memory` is worth its time; it takes about 0.1 s for 512 MiB."""


def release_memory() -> None:
    """Returns the freed memory of the whole heap. glibc by itself returns only the end of it.

    Other C libraries have no such function and do not need it.
    """
    # imported with the first large reset, because the import takes some milliseconds
    import ctypes

    # Python returns a MiB only when nothing in it is used. What waits for the collector is scattered over all of them.
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        # another C library; Windows knows no library without a name
        return
