"""The application against the mock: what its users see when the service, the network or a callback fails."""

import contextlib
import logging
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from clips import Config, create_app, patience, wait

from sora_mock import Account

HOOKS = "https://app.example.com"
PRICE = 5.76


class App:
    """The running application, as its users see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30)

    def order(self, prompt: str = "A cat playing piano") -> str:
        response = self.http.post("/clips", json={"prompt": prompt})
        assert response.status_code == 202
        return str(response.json()["id"])

    def has_reason(self, clip_id: str, reason: str | None) -> None:
        """Waits until the clip, which is not ready yet, has this reason or one that begins with it."""
        while (clip := self.http.get(f"/clips/{clip_id}").json())["reason"] != reason:
            assert clip["state"] in ("ordered", "making"), clip
            if reason and str(clip["reason"]).startswith(reason):
                return

    def finished(self, clip_id: str) -> Any:
        clip = self.http.get(f"/clips/{clip_id}?wait=20").json()
        assert clip["state"] in ("ready", "failed"), clip
        return clip

    def video(self, clip_id: str) -> httpx.Response:
        return self.http.get(f"/clips/{clip_id}/video")


@pytest.fixture
def look() -> float:
    """Seconds between two polls of a task: so long that only a callback can end a test in time."""
    return 60


@contextlib.contextmanager
def running(config: Config) -> Iterator[App]:
    """The application on a free port, in its own thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(config), log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        app = App(f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield app
        finally:
            app.http.close()
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def config(sora_mock: Account, tmp_path: Path, look: float) -> Config:
    return Config(sora_mock.url, sora_mock.api_key, tmp_path, public_url=HOOKS, look=look, retry=0.05)


@pytest.fixture
def app(sora_mock: Account, config: Config) -> Iterator[App]:
    """The running application. The mock reaches it through a callback route."""
    with running(config) as app:
        sora_mock.route(HOOKS, app.url)
        yield app


def create_statuses(sora_mock: Account) -> list[int | None]:
    """Statuses of the responses to create requests, oldest first; None if no response arrived."""
    return [record["status"] for record in reversed(sora_mock.requests) if record["method"] == "POST"]


def test_a_clip_is_made_and_kept(app: App, sora_mock: Account) -> None:
    clip_id = app.order()
    assert app.finished(clip_id) == {"id": clip_id, "state": "ready", "reason": None}
    video = app.video(clip_id)
    assert video.headers["Content-Type"] == "video/mp4"
    assert video.content[4:8] == b"ftyp"
    assert app.http.get("/credits").json() == {"remaining": pytest.approx(1000 - PRICE)}
    assert sora_mock.deliveries()[0]["state"] == "succeeded"


def test_moderation_is_reported_and_costs_nothing(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("moderation_celebrity")
    clip = app.finished(app.order())
    assert clip["state"] == "failed"
    assert clip["reason"] == "content_policy_violation: celebrity detected in image"
    assert sora_mock.credits == 1000
    assert app.video(clip["id"]).status_code == 404


def test_a_create_request_that_moderation_rejects_is_not_repeated(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("moderation_nudity_input")
    assert app.finished(app.order())["reason"] == "content_policy_violation: nudity detected"
    assert create_statuses(sora_mock) == [400]


def test_an_empty_account_is_reported(app: App, sora_mock: Account) -> None:
    sora_mock.credits = 3
    assert app.finished(app.order())["reason"].startswith("insufficient_quota: ")
    assert app.http.get("/credits").json() == {"remaining": 3}
    assert create_statuses(sora_mock) == [402]


def test_too_many_requests_are_waited_for(app: App, sora_mock: Account) -> None:
    sora_mock.rate_limit = "1/second"
    sora_mock.clock.freeze()
    app.order("A cat")
    dog = app.order("A dog")
    while app.http.get(f"/clips/{dog}").json()["reason"] != "too many requests":
        pass  # the mock's clock is frozen, so the second create request is rejected even on a slow machine
    sora_mock.clock.unfreeze()
    assert app.finished(dog)["state"] == "ready"
    # an application that ignores Retry-After is rejected twenty times a second
    assert [record["status"] for record in sora_mock.requests].count(429) < 8


@pytest.mark.parametrize("scenario", ["response_lost", "truncated_body", "malformed_json", "empty_body"])
def test_a_lost_response_is_not_paid_twice(app: App, sora_mock: Account, scenario: str) -> None:
    sora_mock.scenario(scenario)
    assert app.finished(app.order())["state"] == "ready"
    assert len(create_statuses(sora_mock)) == 2
    assert len(sora_mock.tasks) == 1
    assert sora_mock.used_credits == PRICE


def test_faults_of_the_service_pass(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("bad_gateway", times=2)
    sora_mock.scenario("service_unavailable", match={"operation": "query"})
    assert app.finished(app.order())["state"] == "ready"
    assert create_statuses(sora_mock) == [502, 502, 200]


def test_a_download_that_fails_is_repeated(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("internal_error", match={"operation": "file"})
    clip_id = app.order()
    assert app.finished(clip_id)["state"] == "ready"
    assert app.video(clip_id).content[4:8] == b"ftyp"


def test_a_callback_that_comes_twice_changes_nothing(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("callback_duplicate")
    clip_id = app.order()
    first = app.finished(clip_id)
    looks = len(sora_mock.requests)
    sora_mock.clock.advance(2)
    (delivery,) = sora_mock.deliveries()
    assert [attempt["status"] for attempt in delivery["attempts"]] == [204, 204]
    assert app.finished(clip_id) == first
    assert len(sora_mock.requests) == looks


def test_a_callback_may_come_before_the_response(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("callback_before_reply")
    assert app.finished(app.order())["state"] == "ready"


def test_callbacks_may_come_in_another_order(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("callback_out_of_order", times=2)
    clips = [app.order("A cat"), app.order("A dog")]
    sora_mock.clock.advance(10)
    assert [app.finished(clip)["state"] for clip in clips] == ["ready", "ready"]


def test_a_callback_that_lies_is_not_believed(app: App, sora_mock: Account) -> None:
    sora_mock.clock.freeze()
    clip_id = app.order()
    lie = {"status": "completed", "results": ["https://example.com/other.mp4"]}
    assert app.http.post(f"/callbacks/{clip_id}", json=lie).status_code == 204
    assert app.http.post("/callbacks/unknown", json=lie).status_code == 404
    sora_mock.clock.unfreeze()
    assert app.finished(clip_id)["state"] == "ready"
    assert app.video(clip_id).content[4:8] == b"ftyp"


@pytest.mark.parametrize("look", [0.05])
def test_without_a_callback_the_task_is_polled(app: App, sora_mock: Account) -> None:
    sora_mock.route(HOOKS, "http://127.0.0.1:1")  # no server listens there
    assert app.finished(app.order())["state"] == "ready"
    (delivery,) = sora_mock.deliveries()
    assert not any(attempt["status"] for attempt in delivery["attempts"])


def test_orders_survive_a_restart(sora_mock: Account, config: Config) -> None:
    with running(replace(config, base_url="http://127.0.0.1:1")) as before:
        clip_id = before.order()
    with running(config) as after:
        sora_mock.route(HOOKS, after.url)
        assert after.finished(clip_id)["state"] == "ready"
    assert len(sora_mock.tasks) == 1


def test_a_disk_that_rejects_a_video_does_not_stop_the_worker(app: App, sora_mock: Account, config: Config) -> None:
    sora_mock.clock.freeze()
    cat = app.order("A cat")
    taken = config.folder / f"{cat}.mp4"
    taken.mkdir()
    (config.folder / f"{cat}.part").mkdir()
    sora_mock.clock.unfreeze()
    app.has_reason(cat, "an error in this application: IsADirectoryError")
    assert app.finished(app.order("A dog"))["state"] == "ready"
    taken.rmdir()
    assert app.finished(cat)["state"] == "ready"
    assert app.video(cat).content[4:8] == b"ftyp"


def test_a_worker_logs_an_error_and_continues(
    app: App, sora_mock: Account, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    sora_mock.scenario("service_unavailable", times=None)
    clip_id = app.order()
    app.has_reason(clip_id, "the service responded with 503")
    with contextlib.closing(sqlite3.connect(config.folder / "clips.db")) as db:
        db.execute("ALTER TABLE clips RENAME TO away")
        while not [record for record in caplog.records if record.levelno == logging.ERROR]:
            pass
        db.execute("ALTER TABLE away RENAME TO clips")
    sora_mock.call("DELETE", "/scenarios")
    assert app.finished(clip_id)["state"] == "ready"
    assert "no such table" in caplog.text


@pytest.mark.parametrize("look", [0.05])
def test_a_rejected_poll_does_not_end_a_paid_clip(app: App, sora_mock: Account) -> None:
    for status in (401, 402, 403, 404):
        sora_mock.scenario("completed", status=status, match={"operation": "query"})
    clip_id = app.order()
    assert app.finished(clip_id)["state"] == "ready"
    looks = [record["status"] for record in sora_mock.requests if record["path"].startswith("/v1/tasks/")]
    assert {401, 402, 403, 404} < set(looks)


def test_a_download_without_a_video_is_repeated(app: App, sora_mock: Account) -> None:
    sora_mock.scenario("empty_body", match={"operation": "file"})
    clip_id = app.order()
    assert app.finished(clip_id)["state"] == "ready"
    assert app.video(clip_id).content[4:8] == b"ftyp"


@pytest.mark.parametrize("look", [0.05])
def test_a_create_request_stays_the_same_when_the_public_url_changes(sora_mock: Account, config: Config) -> None:
    sora_mock.scenario("response_lost")
    with running(replace(config, retry=60)) as before:
        clip_id = before.order()
        before.has_reason(clip_id, "no response: ")
    with contextlib.closing(sqlite3.connect(config.folder / "clips.db")) as db, db:
        db.execute("UPDATE clips SET due = 0")
    with running(replace(config, public_url="https://moved.example.com")) as after:
        assert after.finished(clip_id)["state"] == "ready"
    assert sora_mock.used_credits == PRICE


def test_no_request_waits_forever() -> None:
    assert [patience(text) for text in ("1e9", "inf", "nan", "-1", "20")] == [60, 60, 60, 0, 20]


@pytest.mark.parametrize("look", [0.05])
def test_two_processes_pay_once(app: App, sora_mock: Account, config: Config) -> None:
    sora_mock.clock.freeze()
    clip_id = app.order()
    app.has_reason(clip_id, None)
    with running(config) as other:
        sora_mock.clock.unfreeze()
        assert [each.finished(clip_id)["state"] for each in (app, other)] == ["ready", "ready"]
    assert app.video(clip_id).content[4:8] == b"ftyp"
    assert len(sora_mock.tasks) == 1
    assert list(config.folder.glob("*.part")) == []


class TestPatience:
    """How long a clip may have nothing but faults, here 0 seconds after the first one."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return replace(config, give_up=0, look=0.05)

    def test_one_fault_does_not_end_a_clip(self, app: App, sora_mock: Account) -> None:
        sora_mock.scenario("service_unavailable")
        assert app.finished(app.order())["state"] == "ready"

    def test_a_clip_with_nothing_but_faults_fails(self, app: App, sora_mock: Account) -> None:
        sora_mock.scenario("service_unavailable", times=None)
        assert app.finished(app.order())["reason"] == "gave_up: the service responded with 503"

    def test_a_paid_clip_is_tried_for_longer(self, app: App, sora_mock: Account) -> None:
        sora_mock.scenario("service_unavailable", times=5, match={"operation": "query"})
        assert app.finished(app.order())["state"] == "ready"

    def test_a_clip_that_may_be_paid_is_tried_for_longer_too(self, app: App, sora_mock: Account) -> None:
        sora_mock.scenario("wrapped_in_data")
        clip_id = app.order()
        while len(create_statuses(sora_mock)) < 5:
            assert app.http.get(f"/clips/{clip_id}").json()["state"] == "ordered"
        assert sora_mock.used_credits == PRICE

    def test_a_good_response_resets_the_time(self, sora_mock: Account, config: Config) -> None:
        sora_mock.clock.freeze()
        with running(replace(config, give_up_paid=0)) as app:
            clip_id = app.order()
            for _ in range(3):
                app.has_reason(clip_id, None)
                sora_mock.scenario("service_unavailable", match={"operation": "query"})
                app.has_reason(clip_id, "the service responded with 503")
            sora_mock.clock.unfreeze()
            assert app.finished(clip_id)["state"] == "ready"

    def test_time_without_a_running_application_does_not_count(self, sora_mock: Account, config: Config) -> None:
        with running(replace(config, base_url="http://127.0.0.1:1", give_up=60)) as before:
            clip_id = before.order()
            before.has_reason(clip_id, "no response: ConnectError")
        sora_mock.scenario("service_unavailable")
        with running(config) as after:
            assert after.finished(clip_id)["state"] == "ready"


@pytest.mark.parametrize(
    "body", ['{"prompt": null}', '{"prompt": " "}', '{"prompt": 5}', '{"prompt": ["a"]}', "[]", "{"]
)
def test_a_prompt_that_is_not_text_is_rejected(app: App, sora_mock: Account, body: str) -> None:
    assert app.http.post("/clips", content=body).status_code == 400
    assert app.http.post("/clips", content=rb'{"prompt": "\ud800"}').status_code == 400
    assert not sora_mock.tasks


def test_an_unreadable_balance_is_an_error_of_the_service(app: App, sora_mock: Account, config: Config) -> None:
    for scenario in ("unauthorized", "service_unavailable", "empty_body", "truncated_body", "connection_reset"):
        sora_mock.scenario(scenario, match={"operation": "credits"})
        response = app.http.get("/credits")
        assert (response.status_code, list(response.json())) == (502, ["error"])


def test_forged_callbacks_do_not_become_as_many_requests(app: App, sora_mock: Account) -> None:
    sora_mock.clock.freeze()
    clip_id = app.order()
    while not sora_mock.tasks:
        pass
    before = len(sora_mock.requests)
    for _ in range(100):
        assert app.http.post(f"/callbacks/{clip_id}").status_code == 204
    assert 1 <= len(sora_mock.requests) - before < 10
    sora_mock.clock.unfreeze()
    assert app.finished(clip_id)["state"] == "ready"


@pytest.mark.parametrize("retry_after", ["soon", "-5", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_without_a_future_time_means_the_default_pause(retry_after: str) -> None:
    assert wait(retry_after, 7) == 7


def test_retry_after_is_a_number_or_a_date() -> None:
    assert wait("3", 7) == 3
    date = datetime.now(UTC) + timedelta(seconds=60)
    assert 50 < wait(format_datetime(date, usegmt=True), 7) <= 60
