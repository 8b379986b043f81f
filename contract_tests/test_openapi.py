"""Requests that schemathesis generates from the contract, and the shape of every response."""

import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies as st

from contract_tests.service import Service, check_live
from sora_mock.client import Account
from sora_mock.runtime.package_data import contract_document, data_folder
from sora_mock.verify import plugin
from sora_mock.verify.openapi import OPENAPI_RULES
from sora_mock.verify.target import FINDING, GUARDED

Case = schemathesis.Case[Any]

CREATE = "POST /v1/videos/generations"
QUERY = "GET /v1/tasks/{task_id}"
BALANCE = "GET /v1/credits"
LABELS = (CREATE, QUERY, BALANCE)

WORDS = "a cat plays the piano in a quiet house by the sea "
_LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
# with the format uri alone, hypothesis rejects hundreds of texts for each valid one; names under .example never resolve
schemathesis.openapi.format("callback-url", st.builds("https://{}.example/{}".format, _LABEL, _LABEL))
schemathesis.openapi.format("image-url", st.builds("https://{}.example/{}.jpg".format, _LABEL, _LABEL))


def document() -> dict[str, Any]:
    """The contract with our formats, and without the parts that other rules check: keys, and Idempotency-Key."""
    found: dict[str, Any] = _without_examples(contract_document())
    found.pop("security", None)
    found["components"].pop("securitySchemes", None)
    properties = found["components"]["schemas"]["VideoGenerationRequest"]["properties"]
    properties["callback_url"]["format"] = "callback-url"
    # what only has the pattern is no URL; the format has the scheme
    properties["callback_url"].pop("pattern")
    properties["image_urls"]["items"]["format"] = "image-url"
    create = found["paths"]["/v1/videos/generations"]["post"]
    create.pop("parameters")
    create.pop("callbacks")
    return found


def _without_examples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_examples(each) for name, each in value.items() if name not in ("example", "examples")}
    return [_without_examples(each) for each in value] if isinstance(value, list) else value


def schema_of(mode: str) -> Any:
    """The contract for schemathesis. mode: `positive` for requests that it allows, `negative` for others, `all`."""
    settings = tomllib.loads((data_folder("openapi") / "schemathesis.toml").read_text(encoding="utf-8"))
    settings["generation"]["mode"] = mode
    for operation in settings["operations"]:
        if operation["include-name"] == CREATE:
            # with enough credits, and without Idempotency-Key, nothing else is right
            operation["checks"]["positive_data_acceptance"]["expected-statuses"] = [200]
    return schemathesis.openapi.from_dict(document(), config=schemathesis.Config.from_dict(settings))


positive, negative, both = schema_of("positive"), schema_of("negative"), schema_of("all")


@pytest.fixture
def send(service: Service) -> Iterator[Callable[[Case], None]]:
    """Sends a case with the right key and checks the response. On a mock, the account has unlimited credits.

    An equal case is sent once. Where the guard does not send a case, the cases before it were checked; the others are
    not sent.
    """
    if service.is_mock:
        Account(service.target.url, str(service.key)).credits = "unlimited"
    seen: set[str] = set()
    ended: list[str] = []

    def send_case(case: Case) -> None:
        if not service.is_mock:
            if names_a_url(case) and case.meta is not None and case.meta.generation.mode.is_negative:
                # without the URL the request may be valid, and cost credits
                return
            make_harmless(case)
        key = repr((case.method, case.path_parameters, case.query, case.headers, case.body))
        if key in seen or ended:
            return
        response = case.call(**call_arguments(service), session=session)
        assert FINDING not in response.headers, "the response contained the API key"
        if GUARDED in response.headers:
            if not seen:
                pytest.skip(f"the guard did not send it: {response.text[:200]}")
            ended.append(response.text)
            return
        seen.add(key)
        if not service.is_mock and response.status_code in (402, 429):
            # they prove nothing about the case
            headers = {name: values[0] for name, values in response.headers.items()}
            sent = httpx.Request(case.method, service.target.url)
            check_live(
                httpx.Response(response.status_code, headers=headers, content=response.text.encode(), request=sent)
            )
        case.validate_response(response)

    with requests.Session() as session:
        session.trust_env = False
        yield send_case


def call_arguments(service: Service) -> dict[str, Any]:
    """How each case is sent."""
    headers = {"Authorization": f"Bearer {service.key}"}
    return {"base_url": service.target.url, "headers": headers, "allow_redirects": False}


URLS = ("callback_url", "image_urls")


def names_a_url(case: Case) -> bool:
    """Whether the service would send a request to a third party."""
    return isinstance(case.body, dict) and any(name in case.body for name in URLS)


def make_harmless(case: Case) -> None:
    """For the live service: an innocent prompt and no URL."""
    if isinstance(case.body, dict):
        for name in URLS:
            case.body.pop(name, None)
        if isinstance(prompt := case.body.get("prompt"), str):
            length = len(prompt)
            case.body["prompt"] = (WORDS * (length // len(WORDS) + 1))[:length]


def only(schema: Any, label: str) -> Any:
    """The part of the schema with one operation. `include` adds to the operations that schemathesis.toml names."""
    return schema.exclude(name=[each for each in LABELS if each != label])


@pytest.mark.contract(id="generated.create.accepted", **OPENAPI_RULES["generated.create.accepted"])
@only(positive, CREATE).parametrize()
def test_a_valid_create_request_is_accepted(case: Case, send: Callable[[Case], None]) -> None:
    send(case)


@pytest.mark.contract(id="generated.create.refused", **OPENAPI_RULES["generated.create.refused"])
@only(negative, CREATE).parametrize()
def test_an_invalid_create_request_is_rejected(case: Case, send: Callable[[Case], None]) -> None:
    send(case)


@pytest.mark.contract(id="generated.query", **OPENAPI_RULES["generated.query"])
@only(both, QUERY).parametrize()
def test_the_response_to_any_query_is_documented(case: Case, send: Callable[[Case], None]) -> None:
    send(case)


@pytest.mark.contract(id="generated.credits", **OPENAPI_RULES["generated.credits"])
@only(positive, BALANCE).parametrize()
def test_the_response_to_any_request_for_the_balance_is_documented(case: Case, send: Callable[[Case], None]) -> None:
    send(case)


@pytest.mark.contract(id="generated.link", **OPENAPI_RULES["generated.link"])
def test_the_link_of_a_create_request_leads_to_its_task(
    service: Service, request: pytest.FixtureRequest, send: Any
) -> None:
    created: list[schemathesis.Response] = []
    followed: list[str] = []

    class Walk(positive.as_state_machine()):  # type: ignore[misc]  # the base class exists only at run time
        """Create requests, then the links of the contract from their responses. One task on the live service."""

        def call(self, case: Case, **more: Any) -> schemathesis.Response:
            if case.operation.label != CREATE or service.is_mock:
                response: schemathesis.Response = super().call(case, **more)
                return response
            if not created:
                created.append(super().call(case, **more))
            return created[0]

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            if not service.is_mock:
                make_harmless(case)
            return call_arguments(service)

        def validate_response(self, response: schemathesis.Response, case: Case, **more: Any) -> None:
            if GUARDED in response.headers:
                pytest.skip(f"the guard did not send it: {response.text[:200]}")
            super().validate_response(response, case, **more)
            if case.operation.label == QUERY and response.status_code == 200:
                assert response.json()["id"] == case.path_parameters["task_id"]
                followed.append(case.path_parameters["task_id"])

    count = max(2, request.config.stash[plugin.OPTIONS].max_examples // 5)
    Walk.run(settings=hypothesis.settings(max_examples=count, stateful_step_count=4))
    assert followed, "no create request led to a link that could be followed"
