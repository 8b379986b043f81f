"""Gives memory that is free again back to the system, where the C library keeps it for itself."""

from typing import Final

MIN_FREED: Final = 32 * 2**20
"""Freed bytes from which `release_memory` is worth its time; it takes about 0.1 s for 512 MiB."""


def release_memory() -> None:
    """glibc returns only the end of its heap by itself, and one object that lives there keeps all of it.

    Other C libraries have no such function, and need none.
    """
    # with the first large reset: its import costs a start some milliseconds
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        # another C library; Windows knows no library without a name
        return
