"""Lists of the control API: others have their turn while one is built, and its size is bounded."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request

from sora_mock.app import create_app
from sora_mock.control import lists
from sora_mock.domain.fault import TRANSPORT
from sora_mock.runtime.batches import Batches
from tests.frozen import ORDER

PATHS = ["/__mock/requests", "/__mock/tasks", "/__mock/deliveries", "/__mock/inbox/hook"]
COUNT = 30


async def iterations_until(done: asyncio.Future[Any], at_most: int = 10_000) -> int:
    """How many times the event loop goes round until then; it ends after so many."""
    loop, count, end = asyncio.get_running_loop(), 0, asyncio.Event()

    def go_round() -> None:
        nonlocal count
        count += 1
        if done.done() or count >= at_most:
            end.set()
        else:
            loop.call_soon(go_round)

    go_round()
    await end.wait()
    return count


def key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer sk-{name}"}


class Mock:
    """An application in this event loop, and a client."""

    def __init__(self) -> None:
        self.app: Starlette = create_app(frozen_clock=True, credits="unlimited", quiet=True)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost")

    async def fill(self, account: str, count: int) -> None:
        """So many requests, tasks, deliveries and messages of an account."""
        order = {**ORDER, "callback_url": "https://inbox.sora-mock.test/hook"}
        for _ in range(count):
            assert (await self.client.post("/v1/videos/generations", headers=key(account), json=order)).is_success
        assert (await self.client.post("/__mock/clock/advance", headers=key(account), json={"seconds": 60})).is_success

    async def items(self, path: str, account: str | None) -> list[Any]:
        """What a list shows."""
        found = (await self.client.get(path, headers={} if account is None else key(account))).json()
        [items] = found.values()
        return list(items)


def run(test: Callable[[Mock], Coroutine[Any, Any, None]]) -> None:
    async def with_mock() -> None:
        await test(Mock())

    asyncio.run(with_mock())


@pytest.mark.parametrize("account", ["a", None], ids=["one account", "all accounts"])
@pytest.mark.parametrize("path", PATHS)
def test_others_have_their_turn_after_each_slice_of_a_list(
    monkeypatch: pytest.MonkeyPatch, path: str, account: str | None
) -> None:
    # without a length, each slice holds one item
    monkeypatch.setattr(lists, "SLICE", 0.0)

    async def test(mock: Mock) -> None:
        await mock.fill("a", COUNT)
        listing = asyncio.ensure_future(mock.items(path, account))
        turns = await iterations_until(listing)
        assert len(await listing) == COUNT
        assert turns >= COUNT

    run(test)


def test_a_short_list_does_not_wait_for_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SLICE", 0.0)

    async def test(mock: Mock) -> None:
        await mock.fill("long", COUNT)
        await mock.fill("short", 1)
        long = [asyncio.ensure_future(mock.items("/__mock/requests", "long")) for _ in range(20)]
        assert len(await mock.items("/__mock/requests", "short")) == 1
        assert not any(each.done() for each in long)
        assert {len(each) for each in await asyncio.gather(*long)} == {COUNT}

    run(test)


def test_lists_of_the_whole_server_are_built_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SLICE", 0.0)

    async def test(mock: Mock) -> None:
        await mock.fill("a", COUNT)
        first, second = (asyncio.ensure_future(mock.items("/__mock/requests", None)) for _ in range(2))
        assert len(await first) == COUNT
        assert not second.done()
        # almost all of it is built after the first one
        assert await iterations_until(second) >= COUNT

    run(test)


def test_a_reset_while_a_list_is_built_leaves_a_shorter_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SLICE", 0.0)

    async def test(mock: Mock) -> None:
        await mock.fill("a", COUNT)
        listings = [asyncio.ensure_future(mock.items(path, None)) for path in PATHS]
        await iterations_until(listings[-1], COUNT)
        assert (await mock.client.post("/__mock/reset")).is_success
        assert all(len(each) <= COUNT for each in await asyncio.gather(*listings))

    run(test)


@pytest.mark.parametrize("account", ["a", None], ids=["one account", "all accounts"])
@pytest.mark.parametrize("path", PATHS)
def test_a_list_shows_the_newest_items_that_fit_and_says_that_it_is_truncated(
    monkeypatch: pytest.MonkeyPatch, path: str, account: str | None
) -> None:
    async def test(mock: Mock) -> None:
        await mock.fill("a", 10)
        headers = {} if account is None else key(account)
        whole = (await mock.client.get(path, headers=headers)).json()
        [name] = whole
        sizes = [len(httpx.Request("POST", "http://x", json=each).content) for each in whole[name]]
        limit = 5 * max(sizes)
        monkeypatch.setattr(lists, "MAX_LIST_BYTES", limit)
        response = await mock.client.get(path, headers=headers)
        shown = response.json()
        assert shown["truncated"] is True
        assert 4 <= len(shown[name]) < 10
        assert len(response.content) <= limit + 100
        is_inbox = name == "messages"
        expected = whole[name][-len(shown[name]) :] if is_inbox else whole[name][: len(shown[name])]
        if name == "requests":
            # the other lists are no request to the service, so the numbers are the same
            shown[name], expected = ([each["number"] for each in some] for some in (shown[name], expected))
        assert shown[name] == expected

    run(test)


class Closing:
    """The transport of a client that has left."""

    def is_closing(self) -> bool:
        return True


def test_a_list_whose_client_has_left_is_not_built_on() -> None:
    async def test() -> None:
        request = Request({"type": "http", "extensions": {TRANSPORT: Closing()}})
        builder = lists.ListBuilder(Batches(1), request)
        with pytest.raises(ClientDisconnect):
            await builder.response("items", [1, 2, 3], lambda item: {"item": item})

    asyncio.run(test())


def test_the_lists_of_many_accounts_are_one_list_newest_first() -> None:
    async def test(mock: Mock) -> None:
        for number in range(40):
            await mock.client.get("/v1/credits", headers=key(f"{number * 7 % 10}"))
        numbers = [each["number"] for each in await mock.items("/__mock/requests", None)]
        assert numbers == list(range(40, 0, -1))
        numbers = [each["number"] for each in await mock.items("/__mock/requests?limit=3", None)]
        assert numbers == [40, 39, 38]

    run(test)
