"""The trailer of a chunked body, which the server ignores."""


class DroppedHeaders(list[tuple[bytes, bytes]]):
    """A list of headers that keeps nothing."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Forgets the item."""
