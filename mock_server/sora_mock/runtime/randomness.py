"""The one reader of the machine's randomness."""

import secrets


def new_seed() -> int:
    """A seed for a run that was given none, 0 to 999,999,999: short enough to be typed again."""
    return secrets.randbelow(10**9)
