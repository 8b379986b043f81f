"""The headers of a request: their size, and a list that ignores those of a trailer."""

from collections.abc import Iterable


def head_size(url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Bytes of the target and of all headers with their separators."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


class DroppedHeaders(list[tuple[bytes, bytes]]):
    """A list of headers that keeps nothing."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Forgets the item."""
