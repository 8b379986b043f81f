"""The exit codes of `sora-mock verify` (docs/verify.md)."""

from typing import Final

EXIT_OK: Final = 0
EXIT_BROKEN: Final = 1
EXIT_USAGE: Final = 2
EXIT_BUDGET: Final = 4
EXIT_UNREACHABLE: Final = 5
EXIT_INTERRUPTED: Final = 130

GUARD_ENDED: Final = "the guard ended during the run; the rules that had not ended by then are unverified"


class Stop(Exception):
    """Ends the run with an exit code and a line for standard error."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code
