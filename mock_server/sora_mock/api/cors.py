"""CORS for web pages of one other origin: who may call, and which headers its scripts may read."""

import msgspec
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from sora_mock.domain.errors import ApiError, envelope

READABLE_HEADERS = ("Retry-After", "X-Mock-Scenario", "idempotency-replayed", "ETag", "Content-Range")


class Cors(CORSMiddleware):
    """Starlette's middleware for one origin, with its rejections in the documented envelope."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        super().__init__(
            app,
            allow_origins=[origin],
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=READABLE_HEADERS,
            allow_private_network=True,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """The response to a browser that asks before it calls."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        origin = request_headers.get("origin", "")[:80]
        reason = "is not the one that --cors names" if origin not in self.allow_origins else "may not call like this"
        error = ApiError(400, f"Origin {origin!r} {reason}", param="Origin")
        return Response(msgspec.json.encode(envelope(error)), 400, media_type="application/json")
