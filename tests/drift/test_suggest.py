"""`drift --suggest`: a recording of a mock with other settings gives exactly these settings back."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_mock.cli.commands import main
from sora_mock.client import Account
from sora_mock.config.loading import read_table
from sora_mock.config.settings import Settings
from sora_mock.domain.contract import CREATE, QUERY
from sora_mock.domain.exchange import ApiResponse
from sora_mock.domain.task import Behaviour
from sora_mock.drift.recording import RecordedBody, RecordedExchange, RecordedRequest, RecordedResponse, read
from sora_mock.drift.suggest import Suggestion, not_shown, suggestions, toml
from sora_mock.server import MockServer
from tests.frozen import FrozenService
from tests.guard.live import CREATE as CREATE_PATH
from tests.guard.live import ORDER, REAL, guarding

# --- recordings of the guard ---


def traffic(client: httpx.Client, account: Account) -> None:
    """What shows every setting: 16 tasks and their ends, a link that expires, a 429, a key that is used again."""
    key = {"Idempotency-Key": "suggest-0123456789"}
    client.post(CREATE_PATH, json={**ORDER, "duration": 15}, headers=key)
    client.post(CREATE_PATH, json={**ORDER, "duration": 15}, headers=key)
    client.post(CREATE_PATH, json={**ORDER, "duration": 10}, headers=key)
    made = [client.post(CREATE_PATH, json=ORDER).json()["id"] for _ in range(15)]
    done, cancelled = made[:2]
    client.get(f"/v1/tasks/{done}")
    account.task(done).finish()
    account.task(cancelled).finish("cancelled")
    client.get(f"/v1/tasks/{cancelled}")
    link = client.get(f"/v1/tasks/{done}").json()["results"][0]
    client.get(httpx.URL(link).path)
    account.clock.advance(86_400)
    client.get(httpx.URL(link).path)
    client.get(f"/v1/tasks/{made[2]}")
    client.get("/v1/credits", headers={"X-Mock-Scenario": "rate_limited"})


DEFAULTS: dict[str, Any] = {
    "generation-time": "5",
    "prices": {"10": 5.76, "15": 8.64},
    "service": {name: getattr(Behaviour(), name) for name in Behaviour.__struct_fields__},
}
CONTRARY = {
    "generation-time": "60..62",
    "prices": {"10": 5, "15": 8.1234},
    "service": {
        "cancelled_status": "cancelled",
        "user_group": "vip",
        "queue_share": 0.0,
        "query_usage": True,
        "query_estimated_time": True,
        "expired_link_status": 410,
        "idempotency_conflict_status": 422,
        "retry_after": "date",
    },
}
SILENT = {
    "generation-time": "300",
    "prices": {"10": 0, "15": 2.5},
    "service": {
        **CONTRARY["service"],  # type: ignore[dict-item]
        "cancelled_status": "failed",
        "expired_link_status": 451,
        "idempotency_conflict_status": 400,
        "retry_after": False,
    },
}


@pytest.mark.parametrize("table", [DEFAULTS, CONTRARY, SILENT], ids=["defaults", "contrary", "silent"])
def test_a_recording_of_the_guard_gives_exactly_the_settings_of_the_mock_back(
    table: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    with MockServer(Settings(port=0, seed=1, **read_table(table))) as mock:
        with guarding(mock.url, "--max-credits", "1000", "--record", str(path)) as guard, guard.client() as client:
            traffic(client, Account(mock.url, REAL))
            guard.stop()
    assert main(["drift", str(path), "--suggest"]) == 0
    out, err = capsys.readouterr()
    assert (tomllib.loads(out), err) == (table, "")
    assert "not shown" not in out
    numbers = {each.number: each.line for each in read(path)}
    places = [line.split(":")[0].split() for line in out.splitlines() if line.startswith("# request")]
    assert len(places) == 11
    assert all(numbers[int(place[2].rstrip(","))] == int(place[4]) for place in places)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    path.write_text('{"sora-mock-recording":1,"at":1,"target":"https://api.evolink.ai"}\n')
    return path


def test_an_empty_recording_shows_nothing(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", str(recording), "--suggest"]) == 0
    out, err = capsys.readouterr()
    assert (tomllib.loads(out), err) == ({}, "")
    assert out.startswith("# not shown by this recording: generation-time, prices.10, prices.15, service.cancelled_st")


@pytest.mark.parametrize("content", ["", "hello", '{"sora-mock-recording":1}\n{\n'])
def test_a_corrupt_recording_is_one_line_and_2(
    content: str, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording.write_text(content)
    assert main(["drift", str(recording), "--suggest"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert f"{recording}, line {2 if content.endswith('}') or '{' in content else 1}:" in err


def test_a_missing_recording_is_one_line_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", str(tmp_path / "none"), "--suggest"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


def test_a_target_beside_it_is_wrong_usage(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", str(recording), "--suggest", "--target", "http://127.0.0.1:4010"]) == 2
    assert "leave out --target" in capsys.readouterr().err


# --- recordings in simulated time ---


class Recorder:
    """A service in simulated time, and what a guard would record of it."""

    def __init__(self, **settings: Any) -> None:
        self.mock = FrozenService(**settings)
        self.exchanges: list[RecordedExchange] = []

    def send(self, operation: str, *, task_id: str = "", body: Any = None) -> Any:
        """Sends one request, records the exchange and returns the body of the response."""
        response = self.mock.send(operation, task_id=task_id, body=body)
        if operation == CREATE:
            self.add("POST", CREATE_PATH, response)
        else:
            self.add("GET", f"/v1/tasks/{task_id}", response)
        return json.loads(response.body)

    def add(self, method: str, target: str, response: ApiResponse) -> None:
        headers = [(name.decode(), value.decode()) for name, value in response.headers]
        reply = RecordedResponse(response.status, headers, RecordedBody(text=response.body.decode()))
        number = len(self.exchanges) + 1
        request = RecordedRequest([], RecordedBody())
        made = RecordedExchange(self.mock.real, "live", method, target, request, reply, number=number, line=number + 1)
        self.exchanges.append(made)

    def live(self, duration: int, every: float, until: float) -> None:
        """A task that is polled at equal intervals."""
        begin = self.mock.real
        task_id = self.send(CREATE, body={**ORDER, "duration": duration})["id"]
        for number in range(1, int(until / every) + 2):
            self.mock.real = begin + number * every
            self.send(QUERY, task_id=task_id)


def suggested(exchanges: list[RecordedExchange]) -> dict[str, Any]:
    """By key, with the table as a prefix."""
    return {f"{each.table}.{each.key}".lstrip("."): each.value for each in suggestions(exchanges)}


@settings(max_examples=60, deadline=None)
@given(
    share=st.integers(0, 10).map(lambda tenths: tenths / 10),
    low=st.integers(20, 60),
    behaviour=st.fixed_dictionaries(
        {
            "user_group": st.sampled_from(["default", "vip"]),
            "query_usage": st.booleans(),
            "query_estimated_time": st.booleans(),
        }
    ),
    prices=st.fixed_dictionaries({10: st.integers(0, 10**9), 15: st.integers(0, 10**9)}),
)
def test_polls_of_a_second_give_the_settings_back(
    share: float, low: int, behaviour: dict[str, Any], prices: dict[int, int]
) -> None:
    recorder = Recorder(
        generation_time=(float(low), float(low)),
        prices=prices,
        behaviour=Behaviour(queue_share=share, **behaviour),
        credits=None,
    )
    for duration in (10, 15):
        recorder.live(duration, 1.0, low)
    found = suggested(recorder.exchanges)
    assert found.pop("service.queue_share") == share
    assert found.pop("generation-time") == str(low)
    assert {key: value * 10_000 for key, value in found.items() if key.startswith("prices.")} == pytest.approx(
        {f"prices.{duration}": price for duration, price in prices.items()}, rel=1e-12
    )
    assert {key: value for key, value in found.items() if key.startswith("service.")} == {
        f"service.{name}": value for name, value in behaviour.items()
    }


@pytest.mark.parametrize(("low", "high"), [(2, 4), (5, 5), (60, 63)])
def test_tasks_of_different_length_give_the_range(low: int, high: int) -> None:
    recorder = Recorder(generation_time=(float(low), float(high)))
    for _ in range(20):
        recorder.live(10, 0.5, high)
    assert suggested(recorder.exchanges)["generation-time"] == (str(low) if low == high else f"{low}..{high}")


def estimating(recorder: Recorder, seconds: int) -> list[RecordedExchange]:
    """The same recording of a service that promises another time in each response to a create request."""
    return list(_changed(recorder.exchanges, lambda body: body["task_info"].update(estimated_time=seconds)))


def _changed(exchanges: list[RecordedExchange], change: Any) -> Iterator[RecordedExchange]:
    for each in exchanges:
        body = each.json()
        if each.path == CREATE_PATH:
            change(body)
        assert each.response is not None
        # a live service does not name scenarios
        headers = [(name, value) for name, value in each.response.headers if name != "x-mock-scenario"]
        reply = msgspec.structs.replace(each.response, headers=headers, body=RecordedBody(text=json.dumps(body)))
        yield msgspec.structs.replace(each, response=reply)


def test_what_the_polls_show_beats_an_estimate_that_they_contradict() -> None:
    recorder = Recorder(generation_time=(93.0, 93.0))
    recorder.live(10, 5.0, 93.0)
    assert suggested(estimating(recorder, 300))["generation-time"] == "90..95"
    assert suggested(estimating(recorder, 93))["generation-time"] == "93"


def test_a_task_that_was_polled_late_does_not_widen_the_range() -> None:
    recorder = Recorder(generation_time=(93.0, 93.0))
    recorder.live(10, 5.0, 93.0)
    recorder.live(10, 1000.0, 93.0)
    assert suggested(estimating(recorder, 300))["generation-time"] == "90..95"


def test_a_running_task_shows_its_estimate_alone() -> None:
    recorder = Recorder(generation_time=(93.0, 93.0))
    recorder.send(CREATE)
    assert suggested(recorder.exchanges)["generation-time"] == "93"
    assert suggested(recorder.exchanges)["service.queue_share"] == 0.1


def test_a_task_that_runs_longer_than_its_estimate_shows_no_generation_time() -> None:
    recorder = Recorder(generation_time=(93.0, 93.0))
    recorder.live(10, 5.0, 60.0)
    assert "generation-time" not in suggested(estimating(recorder, 30))
    assert suggested(estimating(recorder, 93))["generation-time"] == "93"


def test_an_expired_link_is_known_by_its_age_with_any_body() -> None:
    recorder = Recorder(generation_time=(5.0, 5.0))
    recorder.live(10, 5.0, 5.0)
    link = json.loads(recorder.exchanges[-1].response.body.text or "")["results"][0]  # type: ignore[union-attr]
    path = link.removeprefix("http://localhost")
    recorder.mock.real += 3600
    recorder.add("GET", path, ApiResponse(403, b"<Error>", (), b"application/xml"))
    assert "service.expired_link_status" not in suggested(recorder.exchanges)
    recorder.mock.real += 86_400
    recorder.add("GET", path, ApiResponse(403, b"<Error>", (), b"application/xml"))
    assert suggested(recorder.exchanges)["service.expired_link_status"] == 403


@pytest.mark.parametrize(
    ("header", "value"),
    [(None, False), ("30", True), ("1.5", True), ("Wed, 21 Oct 2026 07:28:00 GMT", "date"), ("soon", None)],
)
def test_the_form_of_retry_after_is_read(header: str | None, value: Any) -> None:
    recorder = Recorder()
    headers = () if header is None else ((b"retry-after", header.encode()),)
    recorder.add("GET", "/v1/credits", ApiResponse(429, b"{}", headers))
    assert suggested(recorder.exchanges).get("service.retry_after") == value


def test_the_value_of_most_exchanges_is_suggested_and_the_others_are_named() -> None:
    recorder = Recorder()
    for header in ((b"retry-after", b"30"), (b"x-other", b"1"), (b"retry-after", b"5")):
        recorder.add("GET", "/v1/credits", ApiResponse(429, b"{}", (header,)))
    text = toml(suggestions(recorder.exchanges))
    assert text.splitlines()[:4] == [
        "[service]",
        "# request 1, line 2: GET /v1/credits; 2 exchanges show it; it is the default",
        "# but request 2, line 3: GET /v1/credits shows false",
        "retry_after = true",
    ]


def test_of_values_as_frequent_the_later_is_suggested() -> None:
    recorder = Recorder()
    for headers in (((b"retry-after", b"30"),), ()):
        recorder.add("GET", "/v1/credits", ApiResponse(429, b"{}", headers))
    assert suggested(recorder.exchanges)["service.retry_after"] is False


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["completed", "cancelled", "vip", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("id", "model", "status", "usage", "task_info", "results", "error")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["create", "query"]), st.dictionaries(st.sampled_from(FIELDS), ODD)), max_size=4
    ),
    ODD,
)
def test_odd_bodies_of_a_service_never_fail_and_never_give_a_file_that_cannot_be_read(
    bodies: list[tuple[str, dict[str, Any]]], inner: Any
) -> None:
    recorder = Recorder()
    for kind, fields in bodies:
        body = {"id": "t", "model": "sora-2-beta-max", "usage": {"credits_reserved": inner, "user_group": inner}}
        body |= {"task_info": {"video_duration": 10, "estimated_time": inner}, **fields}
        response = ApiResponse(200, json.dumps(body).encode())
        recorder.add(*(("POST", CREATE_PATH) if kind == "create" else ("GET", "/v1/tasks/t")), response)
    read_table(tomllib.loads(toml(suggestions(recorder.exchanges))))


def test_every_setting_of_the_service_table_can_be_suggested() -> None:
    names = {each.removeprefix("service.") for each in not_shown([]) if each.startswith("service.")}
    assert names == set(Behaviour.__struct_fields__)
    assert not Suggestion("service", "retry_after", "date", []).is_default
