"""The paths of the service, and the create request that the suite sends."""

CREATE = "/v1/videos/generations"
CREDITS = "/v1/credits"
ORDER = {"model": "sora-2-beta-max", "prompt": "A cat playing piano"}

SOME_TASK = "/v1/tasks/task-unified-1757169743-7cvnl5zw"
"""A task that does not exist."""

WRONG_KEY = "wrong-key-of-the-contract-suite"

GENERATION = 20.0
"""Seconds that a task of the suite takes on a mock. It is pending for a tenth of them."""

DAY = 86_400
