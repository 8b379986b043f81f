"""The paths of the service, and the create requests that the suite sends."""

from typing import Any

CREATE = "/v1/videos/generations"
CREDITS = "/v1/credits"
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}

CAT = "\U0001f431"
"""A character of four bytes."""

_WORDS = "A cat plays the piano in a quiet house by the sea. "

SHARED_ORDERS: dict[str, dict[str, Any]] = {
    # the word for cat in one character
    "usual": {"prompt": "\u732b"},
    "explicit": {
        "prompt": (_WORDS * 100)[:4999],
        "duration": 10,
        "aspect_ratio": "16:9",
        "remove_watermark": False,
        "image_urls": [],
    },
    "combined": {
        "prompt": CAT * 5000,
        "duration": 15,
        "aspect_ratio": "9:16",
        "remove_watermark": True,
        "no_such_field": 1,
    },
}
"""The fields of the create requests that several rules use on the live service (sora_mock.verify.rule.SHARED)."""

SOME_TASK = "/v1/tasks/task-unified-1757169743-7cvnl5zw"
"""A task that does not exist."""

WRONG_KEY = "wrong-key-of-the-contract-suite"

GENERATION = 20.0
"""Seconds that a task of the suite takes on a mock. It is pending for a tenth of them."""

DAY = 86_400
