"""An answer as ASGI messages."""

from starlette.types import Send

from sora_mock.service.calls import Answer, Call


def head(answer: Answer, call: Call) -> list[tuple[bytes, bytes]]:
    """The headers of an answer; where part of the request was left unread the connection ends with it."""
    headers = [*answer.headers]
    if answer.status != 304:
        headers += (b"content-type", answer.media_type), (b"content-length", str(len(answer.body)).encode())
    if call.cut:
        headers.append((b"connection", b"close"))
    return headers


async def respond(send: Send, answer: Answer, call: Call) -> None:
    """Sends an answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": head(answer, call)})
    await send({"type": "http.response.body", "body": b"" if call.method == "HEAD" else answer.body})
