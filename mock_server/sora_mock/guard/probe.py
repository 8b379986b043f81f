"""Finds out whether a URL is a mock, which costs nothing, or the live service, which needs the guard."""

from typing import Any, Final

CREDITS: Final = "/v1/credits"
LARGEST_REPLY: Final = 16 << 20


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


def has_control_api(http: Any, url: str) -> bool:
    """Whether the server at `url` is a mock. This sends no key. Raises NoTarget and NotAService."""
    status, body = _ask(http, url + "/__mock/health")
    if status == 200 and isinstance(body, dict) and body.get("status") == "ok":
        return True
    status, body = _ask(http, url + CREDITS)
    if status >= 502:
        raise NoTarget(f"{url} responds with {status}")
    if not isinstance(body, dict) or not {"error", "data"} & body.keys():
        raise NotAService(f"{url} is neither a mock nor the service: GET {CREDITS} gets {status} without JSON")
    return False


def _ask(http: Any, url: str) -> tuple[int, Any]:
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
        return response.status_code, httpx.Response(200, content=body).json()
    except ValueError:
        return response.status_code, None
