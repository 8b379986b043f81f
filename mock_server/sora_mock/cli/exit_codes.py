"""Exit codes of the command line (docs/reference.md, Commands)."""

from typing import Final

EXIT_OK: Final = 0
EXIT_USAGE: Final = 2
"""A wrong flag, a bad setting, a port in use, an output that cannot be written."""
EXIT_NOT_REACHABLE: Final = 5
EXIT_INTERRUPTED: Final = 130
