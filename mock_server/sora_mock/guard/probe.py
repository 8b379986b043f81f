"""Finds out whether a URL is a mock, which costs nothing, or the live service, which needs the guard."""

from typing import Any, Final

CREDITS: Final = "/v1/credits"
LARGEST_REPLY: Final = 16 << 20
_NO_JSON: Final = object()


class NoTarget(Exception):
    """No server responds at the URL."""


class NotAService(Exception):
    """The server at the URL is neither a mock nor the service."""


def connect() -> Any:
    """The HTTP client of a run: no redirects, no proxies of the environment, nothing compressed."""
    # only the extra `verify` installs it
    import httpx

    limits = httpx.Limits(max_connections=32)
    return httpx.Client(
        timeout=15, follow_redirects=False, trust_env=False, headers={"Accept-Encoding": "identity"}, limits=limits
    )


def has_control_api(http: Any, url: str, *, is_service: bool = False) -> bool:
    """Whether the server at `url` is a mock. This sends no key. Raises NoTarget and NotAService.

    is_service: whether it is certainly the service if it is no mock. Then any response will do.
    """
    response, body = _ask(http, url + "/__mock/health")
    if response.status_code == 200 and isinstance(body, dict) and body.get("status") == "ok":
        return True
    response, body = _ask(http, url + CREDITS)
    if response.status_code >= 502 and (_is_of_service(body) or not is_service):
        raise NoTarget(f"{url} responds with {response.status_code}")
    if is_service or _is_of_service(body):
        return False
    raise NotAService(f"{url} is neither a mock nor the service: GET {CREDITS} gets {_described(response, body)}")


def _is_of_service(body: Any) -> bool:
    return isinstance(body, dict) and (isinstance(body.get("error"), dict) or isinstance(body.get("data"), dict))


def _described(response: Any, body: Any) -> str:
    """What a response is that the service would not send."""
    status = response.status_code
    if response.has_redirect_location:
        return f"{status} to {response.headers['location'][:200]!r}"
    if body is _NO_JSON:
        return f"{status} without JSON"
    return f"{status} with JSON that has neither an error nor a data object"


def _ask(http: Any, url: str) -> tuple[Any, Any]:
    """The response, and its JSON value, `_NO_JSON` for none."""
    # only the extra `verify` installs it
    import httpx

    try:
        with http.stream("GET", url) as response:
            body = b""
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > LARGEST_REPLY:
                    raise NotAService(f"the response of {url} does not end")
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise NoTarget(f"{url} does not respond: {type(problem).__name__}: {problem}") from None
    try:
        return response, httpx.Response(200, content=body).json()
    except ValueError:
        return response, _NO_JSON
