"""Which scenario a request gets, why, and what happens to names and parameters that are wrong."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from sora_mock.app import create_app
from sora_mock.config.loading import load
from sora_mock.config.readers import moderation_rules
from sora_mock.config.settings import SettingError, Settings
from sora_mock.domain.moderation import ModerationRule
from sora_mock.domain.pattern import Pattern, read_pattern
from sora_mock.runtime.clock import processor_time
from sora_mock.server import MockServer
from tests.conftest import Api
from tests.frozen import FrozenService


def used(api: Api, **fields: Any) -> str:
    return str(api.create(**fields).headers["X-Mock-Scenario"])


def last(api: Api) -> Any:
    return api.account.call("GET", "/requests?limit=1")["requests"][0]


def queue(api: Api, scenario: str, **rule: Any) -> Any:
    return api.account.call("POST", "/scenarios", {"scenario": scenario, **rule})


def test_the_header_is_stronger_than_the_token_and_the_token_than_the_queue(api: Api) -> None:
    queue(api, "slow")
    prompt = "A cat [[mock:stuck]]"
    assert used(api, prompt=prompt, headers={"X-Mock-Scenario": "instant"}) == "instant"
    assert used(api, prompt=prompt) == "stuck"
    assert used(api) == "slow"
    assert used(api) == "completed"


def test_the_journal_says_which_rule_chose_the_scenario(api: Api) -> None:
    rule = queue(api, "slow")["rule"]
    reasons = []
    for fields in ({"headers": {"X-Mock-Scenario": "instant"}}, {"prompt": "[[mock:stuck]]"}, {}, {}):
        api.create(**fields)
        reasons.append((last(api)["scenario"], last(api)["rule"]))
    assert reasons == [
        ("instant", "header"),
        ("stuck", "token in the prompt"),
        ("slow", f"queue rule {rule} (slow)"),
        ("completed", "default scenario"),
    ]


def test_a_token_takes_parameters(api: Api) -> None:
    task_id = api.new_task(prompt="A cat [[mock:failed code=generation_timeout at=0.4 message='too slow']] at night")
    api.account.clock.advance(0.5 + 4.5 * 0.4)
    assert api.task(task_id)["error"] == {"code": "generation_timeout", "message": "too slow", "type": "task_error"}


def test_the_header_takes_parameters(api: Api) -> None:
    header = {"X-Mock-Scenario": "completed generation_time=100 queue_time=50 progress=0:10,0.5:10,1:20"}
    created = api.create(headers=header).json()
    assert created["task_info"]["estimated_time"] == 100
    api.account.clock.advance(49)
    assert api.task(created["id"])["status"] == "pending"
    api.account.clock.advance(1)
    assert api.task(created["id"])["progress"] == 10
    api.account.clock.advance(49)
    assert api.task(created["id"])["progress"] == 19


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("moderation_celebrty", "did you mean moderation_celebrity"),
        ("", "unknown scenario ''"),
        ("failed at=1.5", "at: expected a number from 0 to 1"),
        ("failed at=x", "at: expected a number"),
        ("failed att=0.5", "unknown parameter 'att'; did you mean at?"),
        ("failed at", "expected key=value"),
        ("failed code=nonsense", "no failure code"),
        ("failed code=generation_timout", "did you mean generation_timeout"),
        ("completed code=service_error", "has no effect on completed"),
        ("completed latency=61", "latency: expected a number from 0 to 60"),
        ("completed status=200", "status: expected a number from 400 to 599"),
        ("completed status=404.5", "status: expected an HTTP status"),
        ("rate_limited retry_after=1.5", "retry_after: expected whole seconds"),
        ("rate_limited retry_after=86401", "retry_after: expected a number from 0 to 86400"),
        ("failed retry_after=1", "retry_after has no effect on failed, which responds with neither 429 nor 503"),
        ("bad_gateway retry_after=1", "retry_after has no effect on bad_gateway"),
        ("completed generation_time=-1", "generation_time: expected"),
        ("completed generation_time=5 queue_time=6", "queue_time"),
        ("completed progress=50,40", "progress: expected points"),
        ("completed progress=0:1,2:40", "progress: expected points"),
        ("failed message=", "message: expected a text"),
        ("failed message='open", "cannot be read"),
    ],
)
def test_a_wrong_name_or_parameter_is_a_clear_400_everywhere(api: Api, written: str, said: str) -> None:
    for refused in (
        api.create(headers={"X-Mock-Scenario": written}),
        api.create(prompt=f"A cat [[mock:{written}]]"),
        api.request("GET", "/v1/credits", headers={"X-Mock-Scenario": written}),
    ):
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert error["code"] == "unknown_scenario"
        assert error["param"] in ("X-Mock-Scenario", "prompt")
        assert said in error["message"]
        assert "X-Mock-Scenario" not in refused.headers
    assert api.account.call("GET", "/tasks")["tasks"] == []


@pytest.mark.parametrize(
    ("written", "retry_after"),
    [
        ("rate_limited", "60"),
        ("rate_limited retry_after=0", "0"),
        ("rate_limited retry_after=2", "2"),
        ("service_unavailable", None),
        ("service_unavailable retry_after=3", "3"),
    ],
)
def test_retry_after_of_a_rejection_is_a_parameter(api: Api, written: str, retry_after: str | None) -> None:
    assert api.create(headers={"X-Mock-Scenario": written}).headers.get("Retry-After") == retry_after
    polled = api.request("GET", "/v1/credits", headers={"X-Mock-Scenario": written})
    assert polled.headers.get("Retry-After") == retry_after


def test_a_token_that_is_never_closed_is_reported(api: Api) -> None:
    assert "unknown scenario 'stuk'" in api.create(prompt="A cat [[mock:stuk").json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "scenario is required"),
        ({"scenario": "moderation_celebrty"}, "did you mean moderation_celebrity"),
        ({"scenario": "failed", "override": {"at": 2}}, "at: expected a number from 0 to 1"),
        ({"scenario": "failed", "override": []}, "override: expected an object"),
        ({"scenario": "failed", "times": 0}, "times: expected a whole number"),
        ({"scenario": "failed", "times": True}, "times"),
        ({"scenario": "failed", "time": 1}, "unknown field 'time'; did you mean times?"),
        ({"scenario": "failed", "match": {"prompt": "("}}, "no regular expression"),
        ({"scenario": "failed", "match": {"promt": "x"}}, "did you mean prompt"),
        ({"scenario": "failed", "match": {"duration": 12}}, "expected 10 or 15"),
        ({"scenario": "failed", "match": {"aspect_ratio": "1:1"}}, "expected 16:9 or 9:16"),
        ({"scenario": "failed", "match": {"has_image": 1}}, "expected true or false"),
        ({"scenario": "failed", "match": {"operation": "poll"}}, "create, query, credits, file"),
        ({"scenario": "failed", "match": {"operation": "query"}}, "queue it for operation create"),
        ({"scenario": "internal_error", "match": {"operation": "query", "prompt": "x"}}, "with the operation create"),
    ],
)
def test_the_queue_refuses_what_could_never_happen(api: Api, body: Any, said: str) -> None:
    refused = api.request("POST", "/__mock/scenarios", json=body)
    assert refused.status_code == 400
    assert said in refused.json()["error"]["message"]
    assert api.account.call("GET", "/scenarios")["queue"] == []


def test_a_queued_rule_waits_for_a_request_that_matches_and_the_journal_says_why(api: Api) -> None:
    match = {"prompt": "(?i)dog", "duration": 15, "has_image": True, "aspect_ratio": "9:16"}
    rule = queue(api, "stuck", match=match, times=2)["rule"]
    assert used(api) == "completed"
    assert last(api)["unmatched"] == [
        f"queue rule {rule} (stuck): prompt 'A cat playing piano' does not match '(?i)dog'",
        f"queue rule {rule} (stuck): duration is 10, not 15",
        f"queue rule {rule} (stuck): has_image is False, not True",
        f"queue rule {rule} (stuck): aspect_ratio is '16:9', not '9:16'",
    ]
    order = {
        "prompt": "A Dog",
        "duration": 15,
        "aspect_ratio": "9:16",
        "image_urls": ["https://a.example/dog.png"],
    }
    assert [used(api, **order) for _ in range(3)] == ["stuck", "stuck", "completed"]


def test_rules_are_taken_in_their_order_and_delete_empties_the_queue(api: Api) -> None:
    queue(api, "slow")
    queue(api, "stuck", times=None)
    assert [used(api) for _ in range(3)] == ["slow", "stuck", "stuck"]
    assert [rule["scenario"] for rule in api.account.call("GET", "/scenarios")["queue"]] == ["stuck"]
    api.account.call("DELETE", "/scenarios")
    assert used(api) == "completed"


def test_two_polls_get_503_and_the_third_the_task(api: Api) -> None:
    task_id = api.new_task()
    queue(api, "service_unavailable", times=2, match={"operation": "query"})
    statuses = [api.request("GET", f"/v1/tasks/{task_id}").status_code for _ in range(3)]
    assert statuses == [503, 503, 200]


def test_a_queue_for_credits_and_files_hits_those_alone(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    link = api.task(task_id)["results"][0]
    queue(api, "internal_error", match={"operation": "credits"})
    queue(api, "edge_html_error", match={"operation": "file"})
    assert api.task(task_id)["status"] == "completed"
    assert [api.client.get(link).status_code for _ in range(2)] == [524, 200]
    assert [api.request("GET", "/v1/credits").status_code for _ in range(2)] == [500, 200]


def test_a_truncated_download_is_seen_by_the_client(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    link = api.task(task_id)["results"][0]
    with pytest.raises(httpx.RemoteProtocolError):
        api.client.get(link, headers={"X-Mock-Scenario": "truncated_body"})
    assert api.client.get(link).status_code == 200


def test_a_scenario_about_a_tasks_life_is_ignored_on_a_poll_and_the_journal_says_so(api: Api) -> None:
    task_id = api.new_task()
    response = api.request("GET", f"/v1/tasks/{task_id}", headers={"X-Mock-Scenario": "failed"})
    assert response.json()["status"] == "pending"
    assert last(api)["rule"].startswith("ignored: failed does not change the response of operation query")


def test_a_rejected_create_request_takes_nothing_from_the_queue(api: Api) -> None:
    queue(api, "stuck")
    assert api.create(duration=12).status_code == 400
    api.account.call("PATCH", "/account", {"remaining_credits": 0})
    assert api.create().status_code == 402
    api.account.call("PATCH", "/account", {"remaining_credits": 10})
    key = {"Idempotency-Key": "order-0000000001"}
    assert used(api, headers=key) == "stuck"
    queue(api, "slow")
    assert used(api, headers=key) == "stuck"
    assert len(api.account.call("GET", "/scenarios")["queue"]) == 1


@pytest.mark.parametrize("meaning", ["no-access", "rate-limited", "broken"])
def test_a_header_or_token_overrides_a_key_that_means_a_refusal(client: httpx.Client, meaning: str) -> None:
    api = Api(client, f"sk-mock-{meaning}-override")
    assert api.create().status_code in (403, 429, 500)
    assert used(api, headers={"X-Mock-Scenario": "slow"}) == "slow"
    assert used(api, prompt="[[mock:stuck]]") == "stuck"


@pytest.mark.parametrize(("meaning", "status"), [("expired", 401), ("no-credit", 402)])
def test_nothing_overrides_the_expired_key_nor_the_ledger(client: httpx.Client, meaning: str, status: int) -> None:
    api = Api(client, f"sk-mock-{meaning}-override")
    assert api.create(headers={"X-Mock-Scenario": "slow"}).status_code == status


def test_a_scenario_of_a_shape_holds_for_the_polls_of_its_task_alone(api: Api) -> None:
    wrapped = api.create(headers={"X-Mock-Scenario": "wrapped_in_data"}).json()["data"]["id"]
    assert "data" in api.task(wrapped)
    assert "data" not in api.task(api.new_task())


def test_an_ignored_header_leaves_the_queue_and_the_meaning_of_the_key_alone(api: Api) -> None:
    task_id = api.new_task()
    queue(api, "service_unavailable", times=2, match={"operation": "query"})
    header = {"X-Mock-Scenario": "slow"}
    statuses = [api.request("GET", f"/v1/tasks/{task_id}", headers=header).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    broken = Api(api.client, "sk-mock-broken-ignored")
    assert broken.request("GET", "/v1/credits", headers=header).status_code == 500


def test_a_header_on_every_request_wraps_no_reply_twice(api: Api) -> None:
    header = {"X-Mock-Scenario": "wrapped_in_data"}
    task_id = api.create(headers=header).json()["data"]["id"]
    assert "id" in api.request("GET", f"/v1/tasks/{task_id}", headers=header).json()["data"]


@pytest.mark.parametrize("task_id", ["task-unified-1795341600-aaaaaaaa", "nope"])
def test_a_fault_hits_a_poll_that_would_be_refused_too(api: Api, task_id: str) -> None:
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.request("GET", f"/v1/tasks/{task_id}", headers={"X-Mock-Scenario": "connection_reset"})
    assert last(api)["status"] is None
    queue(api, "empty_body", match={"operation": "query"})
    assert api.request("GET", f"/v1/tasks/{task_id}").content == b""


@pytest.mark.parametrize(
    "written",
    [
        "unauthorized at=0.4",
        "failed status=503 at=0.1",
        "service_unavailable generation_time=60",
        "moderation_nudity_input progress=1,50",
        "failed_without_error_object message=hi",
        "edge_html_error code=abc",
        "connection_reset status=503",
        "connection_reset queue_time=3",
        "completed message=hi",
        "stuck at=0.5",
    ],
)
def test_a_parameter_that_could_have_no_effect_is_refused(api: Api, written: str) -> None:
    assert "has no effect on" in api.create(headers={"X-Mock-Scenario": written}).json()["error"]["message"]


def test_a_queue_time_longer_than_the_servers_generation_time_is_refused(api: Api) -> None:
    refused = api.create(headers={"X-Mock-Scenario": "completed queue_time=100"})
    assert "part of generation_time, 5 s" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("failed status=503", "service_unavailable"),
        ("moderation_nudity status=429", "rate_limit_exceeded"),
        ("failed status=503 code=mine", "mine"),
        ("moderation_nudity_input status=403", "content_policy_violation"),
    ],
)
def test_a_status_comes_with_the_code_of_that_status(api: Api, written: str, code: str) -> None:
    assert api.create(headers={"X-Mock-Scenario": written}).json()["error"]["code"] == code


def test_a_shape_is_not_queued_where_it_could_do_nothing(api: Api) -> None:
    for scenario, operation in (("wrapped_in_data", "file"), ("unknown_status", "credits")):
        body = {"scenario": scenario, "match": {"operation": operation}}
        assert api.request("POST", "/__mock/scenarios", json=body).status_code == 400


@pytest.mark.parametrize("pattern", ["a{99999999999999999999}", "(" * 400])
def test_a_pattern_that_cannot_be_compiled_is_a_bad_body(api: Api, pattern: str) -> None:
    refused = api.request("POST", "/__mock/scenarios", json={"scenario": "stuck", "match": {"prompt": pattern}})
    assert refused.status_code == 400


def test_a_number_beyond_all_bounds_is_a_bad_body(api: Api) -> None:
    body = '{"scenario": "failed", "override": {"at": 1' + "0" * 400 + "}}"
    assert api.request("POST", "/__mock/scenarios", content=body).status_code == 400


def test_a_keyless_rule_is_queued_for_all_or_for_none() -> None:
    with MockServer(port=0) as server, httpx.Client(base_url=server.url) as client:
        full, other = Api(client, "sk-full"), Api(client, "sk-other")
        for _ in range(1000):
            queue(full, "stuck")
        assert client.post("/__mock/scenarios", json={"scenario": "slow"}).status_code == 409
        assert other.account.call("GET", "/scenarios")["queue"] == []


def test_a_token_spelled_in_escapes_overrides_the_key_too(client: httpx.Client) -> None:
    api = Api(client, "sk-mock-broken-escapes")
    body = '{"model": "sora-2-beta-max", "prompt": "\\u005b\\u005bmock:slow]]"}'
    assert api.request("POST", "/v1/videos/generations", content=body).headers["X-Mock-Scenario"] == "slow"


def test_the_first_response_and_a_poll_at_the_same_time_agree(api: Api) -> None:
    created = api.create(headers={"X-Mock-Scenario": "completed queue_time=0 progress=50,99"}).json()
    assert created["progress"] == api.task(created["id"])["progress"] == 50


def outcomes(clients: int, key: str, **settings: Any) -> list[Any]:
    """Scenario by number of the create request, from 200 sent by that many clients at once."""
    with (
        MockServer(port=0, seed=42, credits="unlimited", **settings) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        api = Api(client, key)
        with ThreadPoolExecutor(clients) as pool:
            assert {response.status_code for response in pool.map(lambda _: api.create(), range(200))} == {200}
        tasks = api.account.call("GET", "/tasks")["tasks"]
    return [task["mock"]["scenario"] for task in reversed(tasks)]


def test_the_same_seed_gives_the_same_outcomes_also_under_32_clients() -> None:
    rates = {"failure_rate": 0.2, "moderation_rate": 0.1}
    alone = outcomes(1, "sk-a", **rates)
    assert outcomes(32, "sk-a", **rates) == alone
    assert outcomes(1, "sk-b", **rates) != alone
    assert 20 <= sum(name.startswith("failed") for name in alone) <= 60
    assert 5 <= sum(name.startswith("moderation") for name in alone) <= 35
    assert len(set(alone)) > 5


def test_moderation_rules_look_at_the_prompt_and_at_the_image() -> None:
    rules = [
        {"prompt": "(?i)elvis", "type": "celebrity", "stage": "output"},
        {"image": r"people\d", "type": "real_person", "stage": "input"},
    ]
    with MockServer(port=0, moderation={"rules": rules}) as server, httpx.Client(base_url=server.url) as client:
        api = Api(client, "sk-a")
        assert used(api, prompt="Elvis sings") == "moderation_celebrity_output"
        assert last(api)["rule"] == "moderation rule '(?i)elvis'"
        refused = api.create(image_urls=["https://a.example/people1.png"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_policy_violation")
        assert used(api) == "completed"


def test_the_shipped_moderator_is_strict_when_it_is_switched_on() -> None:
    with MockServer(port=0, moderation={"strict": True}) as server, httpx.Client(base_url=server.url) as client:
        api = Api(client, "sk-a")
        assert used(api) == "completed"
        assert used(api, prompt="A nude statue") == "moderation_nudity_input"
        assert used(api, prompt="Pikachu on a beach") == "moderation_third_party_output"
        assert used(api, image_urls=["https://a.example/selfie.jpg"]) == "moderation_real_person_input"


def own(text: str, folder: Path) -> Settings:
    (folder / "sora-mock.toml").write_text(text)
    return load({"port": "0"}, {}, folder, warn=print)


def test_a_users_own_scenario_extends_a_built_in_one(tmp_path: Path) -> None:
    settings = own(
        """
        scenario = "flaky"
        [scenarios.flaky]
        extends = "failed"
        code = "service_error"
        at = 0.2
        description = "Our worst day."
        [scenarios.flakier]
        extends = "flaky"
        message = "worse"
        [[moderation.rules]]
        pattern = "forbidden"
        type = "policy"
        """,
        tmp_path,
    )
    with MockServer(settings) as server, httpx.Client(base_url=server.url) as client:
        api = Api(client, "sk-a")
        assert used(api) == "flaky"
        assert used(api, prompt="forbidden") == "moderation_policy"
        assert used(api, headers={"X-Mock-Scenario": "flakier at=0.9"}) == "flakier"
        listed = {each["name"]: each["description"] for each in api.account.call("GET", "/scenarios")["scenarios"]}
        assert listed["flaky"] == "Our worst day."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[scenarios.mine]\nextends = "faild"', "scenario 'mine': unknown scenario 'faild'; did you mean failed"),
        ('[scenarios.mine]\nextends = "failed"\nat = 7', "scenario 'mine': at: expected a number from 0 to 1"),
        ("[scenarios.mine]\natt = 7", "scenario 'mine': unknown parameter 'att'"),
        ("[scenarios.failed]\nat = 0.5", "scenario 'failed': there is a built-in scenario"),
        ('scenario = "compleed"', "unknown scenario 'compleed'; did you mean completed"),
        ("scenarios = 5", "expected a table"),
        ("[moderation]\nstrikt = true", "unknown setting strikt"),
        ('[[moderation.rules]]\ntype = "policy"', "rule 1: expected prompt or image"),
        ('[[moderation.rules]]\nprompt = "("\ntype = "policy"', "rule 1: '(' is no regular expression"),
        ('[[moderation.rules]]\nprompt = "x"\ntype = "bad"', "rule 1: type: expected one of real_person"),
        ('[[moderation.rules]]\nprompt = "x"\ntype = "policy"\nstage = "late"', "rule 1: stage: expected input"),
        ('[scenarios."a b"]', "a name is 1 to 80 characters"),
        ('[scenarios."a\\r\\nX-Evil: 1"]', "a name is 1 to 80 characters"),
        ("failure-rate = 1" + "0" * 400, "expected a number from 0 to 1"),
        ("failure-rate = 2", "expected a number from 0 to 1"),
    ],
)
def test_a_wrong_configuration_of_scenarios_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingError) as raised:
        create_app(own(text, tmp_path))
    assert said in str(raised.value)


# --- the time of patterns ---

SLOW = "(a|aa)+$"
"""Needs more time than there is to search the prompt below."""

FUSE = "a" * 500 + "!"


def test_a_pattern_that_runs_out_of_time_does_not_match_and_the_journal_names_it(api: Api) -> None:
    first = queue(api, "stuck", match={"prompt": SLOW})["rule"]
    second = queue(api, "slow", match={"prompt": "a"})["rule"]
    assert used(api, prompt=FUSE) == "completed"
    request = last(api)
    assert request["unmatched"] == [
        f"queue rule {first} (stuck): prompt '{'a' * 80}' does not match in time '{SLOW}'",
        f"queue rule {second} (slow): prompt '{'a' * 80}' does not match in time 'a'",
    ]
    assert request["hint"] == "a pattern ran out of time; `unmatched` in the journal names it"
    assert used(api, prompt="a") == "stuck"


def test_the_classic_pattern_does_not_stop_the_server(api: Api) -> None:
    queue(api, "failed", match={"prompt": "(a+)+$"}, times=None)
    assert [used(api, prompt="a" * length + "!") for length in (27, 500, 4000)] == ["completed"] * 3
    assert used(api, prompt="a" * 27) == "failed"


def slow_moderation(tmp_path: Path) -> Settings:
    rules = [
        f'[[moderation.rules]]\n{what} = "{pattern}"\ntype = "policy"'
        for what, pattern in (("prompt", "b"), ("image", SLOW), ("prompt", "a"))
    ]
    return own("\n".join(rules), tmp_path)


def test_moderation_rules_behind_one_that_runs_out_of_time_are_not_used(tmp_path: Path) -> None:
    with MockServer(slow_moderation(tmp_path)) as server, httpx.Client(base_url=server.url) as client:
        api = Api(client, "sk-a")
        assert used(api, image_urls=[f"https://pictures.example.com/{FUSE}"]) == "completed"
        assert last(api)["unmatched"] == [f"moderation rules from 2 on: '{SLOW}' used up the time of all patterns"]
        assert last(api)["hint"].startswith("a pattern ran out of time")
        assert used(api) == "moderation_policy"


def test_queue_and_moderation_have_one_time_together(tmp_path: Path) -> None:
    with MockServer(slow_moderation(tmp_path)) as server, httpx.Client(base_url=server.url) as client:
        api = Api(client, "sk-a")
        queue(api, "stuck", match={"prompt": SLOW})
        assert used(api, prompt=FUSE) == "completed"
        assert last(api)["unmatched"][1:] == [f"moderation rules from 1 on: '{SLOW}' used up the time of all patterns"]


def test_a_thousand_patterns_are_compiled_once() -> None:
    rules = tuple(ModerationRule("policy", "input", read_pattern(rf"(?i)\b(dog|cats?) {n}\b")) for n in range(1000))
    frozen = FrozenService(moderation_rules=rules)
    frozen.create()
    before = processor_time()
    for _ in range(20):
        frozen.create()
    # to compile them takes more than half a second
    assert (processor_time() - before) / 20 < 0.05
    assert frozen.exchange.hint is None


def test_the_queues_of_a_server_hold_a_bounded_size_of_patterns() -> None:
    with MockServer(port=0) as server, httpx.Client(base_url=server.url) as client:
        api = Api(client, "sk-a")
        rule: dict[str, Any] = {"scenario": "failed", "match": {"prompt": "a{9000}"}}
        while (response := api.request("POST", "/__mock/scenarios", json=rule)).status_code == 201:
            assert response.json()["match"] == {"operation": "create", **rule["match"]}
        assert (response.status_code, response.json()["error"]["code"]) == (409, "queue_full")
        assert "patterns" in response.json()["error"]["message"]
        assert len(api.account.call("GET", "/scenarios")["queue"]) == 1_000_000 // Pattern("a{9000}").steps
        api.account.call("DELETE", "/scenarios")
        assert api.request("POST", "/__mock/scenarios", json=rule).status_code == 201


def test_a_file_has_a_bounded_number_of_moderation_rules() -> None:
    with pytest.raises(ValueError, match="expected at most 10000 rules, got 10001"):
        moderation_rules([{}] * 10_001)
