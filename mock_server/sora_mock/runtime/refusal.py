"""The response to bytes that are no complete request: nothing but the connection can send it."""

from typing import Final

import msgspec

from sora_mock.domain.errors import ApiError, envelope

PHRASES: Final = {400: "Bad Request", 408: "Request Timeout"}


def refusal(status: int, message: str | None, *, is_control: bool) -> tuple[bytes, bytes]:
    """Head and body. message: None for the usual one of the status. is_control: the control API's envelope is used."""
    content = envelope(ApiError(status, message))
    if is_control:
        # errors of the control API have a code and a message alone
        del content["error"]["type"]
    body = msgspec.json.encode(content)
    head = (
        f"HTTP/1.1 {status} {PHRASES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode(), body
