"""The journal and the clock of downloads, which carry no key: they belong to the account of the task."""

import pytest

from sora_mock.domain.errors import ApiError
from sora_mock.domain.exchange import Exchange
from sora_mock.service import clocks, files
from tests.frozen import START, FrozenService


def download(frozen: FrozenService, link: str, **headers: str) -> Exchange:
    path = link.removeprefix("http://localhost")
    exchange = Exchange("GET", path, {name.replace("_", "-").encode(): each.encode() for name, each in headers.items()})
    _, _, account, _, year, month, day, name = path.split("/")
    folders = {"account": account, "year": year, "month": month, "day": day}
    try:
        response = files.download(frozen.service, exchange, file_name=name.removesuffix(".mp4"), **folders)
        exchange.status = response.status
    except ApiError as error:
        exchange.status = error.status
    return exchange


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"x_mock_scenario": "edge_html_error"}, 524), ({"x_mock_scenario": "nonsense"}, 400)],
)
def test_a_download_belongs_to_the_account_of_its_task_and_advances_its_clock(
    headers: dict[str, str], status: int
) -> None:
    frozen = FrozenService(frozen_clock=True, scenario="instant")
    [link] = frozen.query(frozen.create()["id"])["results"]
    clocks.change(frozen.service, "sk-a", speed=None, frozen=None, per_request=5.0)
    exchange = download(frozen, link, authorization="Bearer sk-b", **headers)
    account = frozen.service.storage.account("sk-a")
    assert exchange.status == status
    assert (exchange.account, exchange.at) == (account.facts.name, START + 5)
    assert frozen.service.now(account) == START + 5


def test_a_link_that_no_task_has_belongs_to_no_account() -> None:
    frozen = FrozenService()
    exchange = download(frozen, f"/files/{'A' * 18}/videos/2026/11/22/{'0' * 32}.mp4")
    assert (exchange.status, exchange.account, exchange.at) == (404, None, 0.0)
