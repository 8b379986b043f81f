"""What answers at a URL: a mock, which costs nothing, or the live service, which needs the guard."""

from typing import Any, Final

CREDITS: Final = "/v1/credits"
LARGEST_REPLY: Final = 16 << 20


class NoTarget(Exception):
    """Nothing answers at the URL."""


class NotAService(Exception):
    """Something answers that is neither a mock nor the service."""


def connect() -> Any:
    """The HTTP client of a run: no redirects, no proxies of the environment, nothing compressed."""
    # not there without the extra `verify`
    import httpx

    limits = httpx.Limits(max_connections=32)
    return httpx.Client(
        timeout=15, follow_redirects=False, trust_env=False, headers={"Accept-Encoding": "identity"}, limits=limits
    )


def has_control_api(http: Any, url: str) -> bool:
    """Whether a mock answers at `url`. No key is sent. Raises NoTarget and NotAService."""
    status, body = _ask(http, url + "/__mock/health")
    if status == 200 and isinstance(body, dict) and body.get("status") == "ok":
        return True
    status, body = _ask(http, url + CREDITS)
    if status >= 502:
        raise NoTarget(f"{url} answers {status}")
    if not isinstance(body, dict) or not {"error", "data"} & body.keys():
        raise NotAService(f"{url} is neither a mock nor the service: GET {CREDITS} is answered {status} without JSON")
    return False


def _ask(http: Any, url: str) -> tuple[int, Any]:
    # not there without the extra `verify`
    import httpx

    try:
        with http.stream("GET", url) as answer:
            body = b""
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > LARGEST_REPLY:
                    raise NotAService(f"{url} answers without end")
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise NoTarget(f"{url} does not answer: {type(problem).__name__}: {problem}") from None
    try:
        return answer.status_code, httpx.Response(200, content=body).json()
    except ValueError:
        return answer.status_code, None
