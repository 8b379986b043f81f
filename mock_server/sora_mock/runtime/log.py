"""Stub until the branch of the log is merged."""

from typing import Any


class Terminal:
    def __init__(self, *a: Any, **k: Any) -> None: ...
    def watch(self, *a: Any, **k: Any) -> None: ...
    def tell(self, *a: Any, **k: Any) -> None: ...
    def close(self, *a: Any, **k: Any) -> None: ...


def wants_colour(*a: Any) -> bool:
    return False
