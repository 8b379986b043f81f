"""No view of the control API, and no text made of one, shows the keys and passwords of a callback URL."""

from typing import Any

import pytest

from tests.conftest import Api

SECRET = "SeCrEt7"
URLS = [
    f"https://me:{SECRET}@inbox.sora-mock.test/hook",
    f"https://inbox.sora-mock.test/sk%2D{SECRET}",
    f"https://inbox.sora-mock.test/hook?clip=5&token={SECRET}",
    f"https://inbox.sora-mock.test/hook?next=https%3A%2F%2Fme%3A{SECRET}%40hooks.example.com",
    f"https://inbox.sora-mock.test/sk-{SECRET}?%73ig={SECRET}#access_token={SECRET}",
]


@pytest.mark.parametrize("url", URLS)
def test_tasks_requests_and_deliveries_hide_the_secrets_of_a_callback_url(api: Api, url: str) -> None:
    task_id = api.new_task(callback_url=url)
    api.account.clock.advance(5)
    [delivery] = api.account.call("GET", "/deliveries")["deliveries"]
    shown: list[Any] = [
        delivery,
        api.account.call("GET", f"/deliveries?task_id={task_id}"),
        api.account.call("POST", f"/deliveries/{delivery['id']}/redeliver"),
        api.account.call("GET", "/tasks"),
        api.account.call("GET", "/requests"),
        api.account.journal(),
    ]
    assert SECRET not in str(shown)
    assert delivery["url"].startswith("https://")
    assert "***" in delivery["url"]
    assert shown[3]["tasks"][0]["mock"]["callback_url"] == delivery["url"]


def test_a_finished_task_hides_them_too(api: Api) -> None:
    task_id = api.new_task(callback_url=URLS[0])
    finished = api.account.call("POST", f"/tasks/{task_id}/finish", {"outcome": "failed", "message": f"sk-{SECRET}"})
    assert SECRET not in str(finished)
    assert finished["mock"]["callback_url"] == "https://***@inbox.sora-mock.test/hook"


def test_a_rejected_callback_url_is_hidden_in_the_journal(api: Api) -> None:
    refused = api.create(callback_url=f"https://me:{SECRET}@metadata/?token={SECRET}")
    assert refused.status_code == 400
    assert SECRET not in str(api.account.call("GET", "/requests")) + api.account.journal()


def test_the_message_about_a_wrong_url_hides_a_password_that_it_cuts(api: Api) -> None:
    long = SECRET * 50
    refused = api.create(callback_url=f"https://me:{long}@ü.example.com/")
    assert refused.json()["error"]["param"] == "callback_url"
    assert SECRET not in refused.text + str(api.account.call("GET", "/requests")) + api.account.journal()


def test_a_callback_route_hides_the_password_of_its_target(api: Api) -> None:
    routes = api.account.call("PUT", "/callback-routes", {"https://a.example.com": f"http://me:{SECRET}@127.0.0.1:1"})
    api.new_task(callback_url="https://a.example.com/hook")
    api.account.clock.advance(20)
    [delivery] = api.account.call("GET", "/deliveries")["deliveries"]
    assert SECRET not in str([routes, delivery])
    assert delivery["note"] == "routed to http://***@127.0.0.1:1"


def test_the_service_itself_gets_the_url_unchanged(api: Api) -> None:
    api.new_task(callback_url=URLS[0])
    api.account.clock.advance(5)
    [message] = api.account.call("GET", "/inbox/hook")["messages"]
    assert message["json"]["status"] == "completed"
