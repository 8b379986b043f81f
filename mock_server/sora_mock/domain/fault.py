"""The kinds of harm that a reply can come to on its way."""

from typing import Literal

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
"""`reset_before` comes before the request is handled, everything else after: what it changed stays changed."""
