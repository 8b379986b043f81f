"""The faults that a scenario injects into a response."""

from typing import Final, Literal

Fault = Literal[
    "reset_before",
    "reset_after",
    "slow_headers",
    "slow_body",
    "truncated_body",
    "malformed_json",
    "empty_body",
    "html_body",
    "reply_after_callback",
]
"""`reset_before` prevents the request from being handled. With every other fault the request keeps its effect."""

TRANSPORT: Final = "sora_mock.transport"
"""The ASGI extension that holds the connection's transport, with which a fault resets the connection."""
