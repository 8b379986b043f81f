"""Requests that wait for messages of an inbox: how many may wait at once."""

from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest

from sora_mock.runtime import events
from sora_mock.server import MockServer


def test_beyond_the_bound_a_waiting_request_is_rejected_and_the_others_wait_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_SUBSCRIBERS", 2)
    with MockServer(port=0) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        with ThreadPoolExecutor(3) as pool:
            waits = [pool.submit(client.get, "/__mock/inbox/hook?wait=10&count=1") for _ in range(3)]
            # two of the three wait for the message, which is sent when the third was rejected
            rejected = next(as_completed(waits)).result()
            client.post("/__mock/inbox/hook", json={"a": 1})
            statuses = sorted(each.result().status_code for each in waits)
    assert rejected.status_code == 503
    assert rejected.json()["error"] == {
        "code": "too_many_waiting",
        "message": "2 subscribers wait for MessageArrived events already",
    }
    assert statuses == [200, 200, 503]
