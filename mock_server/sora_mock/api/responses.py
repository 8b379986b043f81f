"""JSON as a response of Starlette, for where speed does not matter."""

from typing import Any

import msgspec
from starlette.responses import Response


def json_response(status: int, content: Any) -> Response:
    """A response with a JSON body."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")
