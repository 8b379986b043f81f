"""Control requests about one account, or about all of them. They return JSON or raise the error of the mock."""

from typing import Any

from sora_mock.client.http import Client, Unreachable

# pytest shows the caller's line instead of ours
__tracebackhide__ = True

CALLBACK_TIMEOUT = 60.0
"""Real seconds for requests that wait for callback attempts, each of which may take 10."""


class Refused(Exception):
    """The mock rejected a control request. The text is the mock's own.

    status: of the response. code: such as `task_not_found`.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # it travels between processes, as from the workers of a pool
        return type(self), (self.status, self.code, str(self))


class Control:
    """Sends control requests about the account of `key`, or about all accounts where the key is None.

    token: for mocks beyond loopback, by default $SORA_MOCK_CONTROL_TOKEN. timeout: real seconds for one request.
    Raises ValueError for a URL that is not an origin.
    """

    def __init__(self, url: str, key: str | None, *, token: str | None = None, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token
        self._client = Client(url, key, token=token, timeout=timeout)

    def call(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """The JSON of the response to any control request. All other members use this one.

        path: below `/__mock`. timeout: for this request alone. Raises Refused and Unreachable.
        """
        try:
            status, response = self._client.call(method, path, body, timeout=timeout)
        except Unreachable as problem:
            raise Unreachable(f"{self.url} does not respond to {method} /__mock{path}: {problem}") from None
        if status < 300:
            return response
        error = response.get("error") if isinstance(response, dict) else None
        if not isinstance(error, dict):
            raise Unreachable(f"{self.url} responds to {method} /__mock{path} with {status}, but not as sora-mock does")
        raise Refused(status, str(error.get("code")), str(error.get("message")))
