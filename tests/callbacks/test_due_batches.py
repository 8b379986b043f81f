"""Many callbacks that fall due at once, and what goes on beside them: counts of work, no real time."""

import asyncio
from typing import Any

import httpx
import pytest

from sora_mock.app import create_app
from sora_mock.callbacks import scheduler as module
from sora_mock.control import deliveries as lists
from sora_mock.domain.events import AttemptMade
from sora_mock.storage import deliveries, journal
from tests.conftest import ORDER

HOOK = "https://inbox.sora-mock.test/hook"


class Mock:
    """The application in this process and event loop, with frozen clocks. made: the attempts of each round."""

    def __init__(self) -> None:
        self.app = create_app(frozen_clock=True, credits="unlimited", seed=1)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost")
        self.made: list[int] = []
        self.count = 0
        self.app.state.events.subscribe(AttemptMade, self._made)

    def _made(self, event: AttemptMade) -> None:
        self.count += 1

    async def request(self, method: str, path: str, key: str | None = "sk-due", body: Any = None) -> Any:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        response = await self.client.request(method, path, headers=headers, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def create(self, number: int, key: str = "sk-due") -> list[str]:
        body = {**ORDER, "callback_url": HOOK}
        return [(await self.request("POST", "/v1/videos/generations", key, body))["id"] for _ in range(number)]

    async def advance(self, key: str | None = "sk-due") -> None:
        """Advances beyond the end of every task, and counts the attempts of each iteration of the event loop."""
        loop, before = asyncio.get_running_loop(), self.count
        handle: asyncio.Handle

        def next_round() -> None:
            nonlocal before, handle
            self.made.append(self.count - before)
            before, handle = self.count, loop.call_soon(next_round)

        handle = loop.call_soon(next_round)
        await self.request("POST", "/__mock/clock/advance", key, {"seconds": 1_000})
        handle.cancel()


def test_due_callbacks_are_made_in_batches_between_which_the_event_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 8)

    async def run() -> Mock:
        mock = Mock()
        await mock.create(100)
        await mock.advance()
        return mock

    mock = asyncio.run(run())
    assert mock.count == 100
    assert max(mock.made) <= 8


def test_a_batch_is_for_all_accounts_together_and_they_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)

    async def run() -> list[str]:
        mock, order = Mock(), list[str]()
        mock.app.state.events.subscribe(AttemptMade, lambda made: order.append(made.delivery.task_id))
        many, few = await mock.create(40, "sk-many"), await mock.create(3, "sk-few")
        await mock.advance(None)
        assert max(mock.made) <= 4
        assert sorted(order) == sorted(many + few)
        return [each for each in order[:10] if each in few]

    assert len(asyncio.run(run())) == 3


def test_a_task_that_is_finished_does_not_wait_for_the_due_callbacks_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1)

    async def run() -> tuple[int, Any]:
        mock = Mock()
        await mock.create(200)
        await mock.request("PATCH", "/__mock/clock", body={"per_request": 1_000})
        [late] = await mock.create(1)
        await mock.request("PATCH", "/__mock/clock", body={"per_request": 0})
        await mock.request("POST", f"/__mock/tasks/{late}/finish", body={"outcome": "completed"})
        made = mock.count
        found = await mock.request("GET", f"/__mock/deliveries?task_id={late}")
        return made, found["deliveries"][0]["state"]

    made, state = asyncio.run(run())
    assert state == "succeeded"
    assert made < 150


def test_a_pending_callback_that_is_forgotten_is_named_by_the_request_that_cost_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "MAX_DELIVERIES", 3)

    async def run() -> None:
        mock = Mock()
        tasks = await mock.create(4)
        newest, *others = (await mock.request("GET", "/__mock/requests"))["requests"]
        assert tasks[0] in newest["hint"]
        assert [each["hint"] for each in others] == [None] * 3
        await mock.advance()
        found = (await mock.request("GET", "/__mock/deliveries"))["deliveries"]
        assert {each["task_id"] for each in found} == set(tasks[1:])
        assert {each["state"] for each in found} == {"succeeded"}

    asyncio.run(run())


@pytest.mark.parametrize("key", ["sk-due", None], ids=["one account", "all accounts"])
def test_a_list_builds_only_what_it_shows(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    async def run() -> tuple[int, int]:
        mock, built = Mock(), [0, 0]
        await mock.create(50)
        view, unpack = lists._view, journal._unpack

        def counted(*args: Any) -> Any:
            built[0] += 1
            return view(*args)

        def counted_unpack(data: bytes) -> Any:
            built[1] += 1
            return unpack(data)

        monkeypatch.setattr(lists, "_view", counted)
        monkeypatch.setattr(journal, "_unpack", counted_unpack)
        assert len((await mock.request("GET", "/__mock/deliveries?limit=2", key))["deliveries"]) == 2
        assert len((await mock.request("GET", "/__mock/requests?limit=2", key))["requests"]) == 2
        return built[0], built[1]

    assert asyncio.run(run()) <= (2, 3)
