"""The yardstick: the least that an ASGI application can do, under the uvicorn settings of `sora_mock.server`.

    python bench/bare.py [CREATION_REPLY POLL_REPLY]

It responds to every POST with one constant body and to everything else with another. It does not read requests.
"""

import socket
import sys
from typing import Any

import uvicorn

CREATED, POLLED = (text.encode() for text in sys.argv[1:] or ("{}", "{}"))


def _start(body: bytes) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return {"type": "http.response.start", "status": 200, "headers": headers}


_CREATED = _start(CREATED), {"type": "http.response.body", "body": CREATED}
_POLLED = _start(POLLED), {"type": "http.response.body", "body": POLLED}


async def app(scope: Any, receive: Any, send: Any) -> None:
    start, body = _CREATED if scope["method"] == "POST" else _POLLED
    await send(start)
    await send(body)


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        print(f"bare ready on http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    Server(config).run([listener])


if __name__ == "__main__":
    main()
