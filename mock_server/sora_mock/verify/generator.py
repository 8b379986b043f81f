"""Requests that schemathesis generates from the contract.

Schemathesis generates the cases and checks the responses. `Target` sends each case once and checks its costs. Nothing
shrinks a case, replays it or keeps it in a database of examples.
"""

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.errors import HypothesisException
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case as AnyCase
from schemathesis.generation.modes import GenerationMode
from schemathesis.generation.stateful.state_machine import APIStateMachine, StepInput, StepOutput

from sora_mock.runtime.package_data import contract_document
from sora_mock.verify.reply import TargetResponse
from sora_mock.verify.rule import Broken, Unverified
from sora_mock.verify.target import Target

Case = AnyCase[Any]
Mode = Literal["positive", "negative"]

CREATE: Final = "POST /v1/videos/generations"
QUERY: Final = "GET /v1/tasks/{task_id}"
BALANCE: Final = "GET /v1/credits"

TIME_FRACTION: Final = 0.7
"""Generation ends after this part of the time of a rule. The requests until then count."""

EXPECTED: Final[dict[str, dict[Mode, list[int]]]] = {
    CREATE: {"positive": [200], "negative": [400, 405]},
    # the task does not exist; other rules check which error it gets
    QUERY: {"positive": [200, 400, 403, 404], "negative": [400, 403, 404, 405]},
    BALANCE: {"positive": [200], "negative": [200, 405]},
}
"""Statuses of a correct service; schemathesis' own defaults raise false alarms here (docs/verify.md)."""

# the other checks send requests themselves, without the check of the costs, or need earlier requests
_CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "positive_data_acceptance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
)
_WORDS: Final = "a cat plays the piano in a quiet house by the sea "

if "HYPOTHESIS_STORAGE_DIRECTORY" not in os.environ:
    # otherwise hypothesis leaves a folder in the current directory
    set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "sora-mock-hypothesis")
load_all_checks()


def _register_formats() -> None:
    """Registers formats for URLs. With `uri` alone, hypothesis rejects hundreds of strings for each valid one."""
    label = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
    path = st.lists(label, max_size=3).map("/".join)
    # names under .example never resolve
    schemathesis.openapi.format("callback-url", st.builds("https://{}.example/{}".format, label, path))
    kind = st.sampled_from(["jpg", "jpeg", "png", "webp"])
    schemathesis.openapi.format("image-url", st.builds("https://{}.example/{}.{}".format, label, label, kind))


_register_formats()


def described() -> dict[str, Any]:
    """The contract for schemathesis, with our formats and without the parts that other rules check.

    It has no examples (the published one sends a callback to a third party), no keys (the rules `auth.*` check them),
    and no header `Idempotency-Key`.
    """
    document: dict[str, Any] = _without_examples(copy.deepcopy(contract_document()))
    document.pop("security", None)
    document["components"].pop("securitySchemes", None)
    properties = document["components"]["schemas"]["VideoGenerationRequest"]["properties"]
    properties["callback_url"]["format"] = "callback-url"
    properties["image_urls"]["items"]["format"] = "image-url"
    create_request = document["paths"]["/v1/videos/generations"]["post"]
    create_request.pop("parameters")
    create_request.pop("callbacks")
    return document


def _without_examples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_examples(each) for name, each in value.items() if name not in ("example", "examples")}
    return [_without_examples(each) for each in value] if isinstance(value, list) else value


class Generator:
    """Generates the cases of one rule: the fixed ones, and from the seed `session.max_examples` of each kind."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.sent = 0
        self._seen: set[Any] = set()
        self._is_stale = False
        """Whether the last case was skipped because an equal one was sent before."""
        self._problem: Broken | Unverified | None = None
        self._over_at = time.monotonic() + target.session.patience * TIME_FRACTION
        checks = {
            f"{mode}_data_{'acceptance' if mode == 'positive' else 'rejection'}": mode for mode in EXPECTED[CREATE]
        }
        config = {
            "generation": {"mode": "positive"},
            "analysis": {"constants": {"enabled": False}},
            "operations": [
                {
                    "include-name": label,
                    "checks": {name: {"expected-statuses": wanted[mode]} for name, mode in checks.items()},
                }
                for label, wanted in EXPECTED.items()
            ],
        }
        self.schema = schemathesis.openapi.from_dict(described(), config=SchemathesisConfig.from_dict(config))
        self._checks: Any = CHECKS.get_by_names(list(_CHECKS))

    def sweep(self, label: str, mode: Mode) -> None:
        """Sends the boundary cases of one operation, then random ones.

        Raises Broken, and Unverified if it could send nothing.
        """
        operation = self._operation(label)
        kind = GenerationMode(mode)
        config = self.schema.config.generation_for(operation=operation, phase="coverage")
        fixed: Iterator[Case] = self.schema.iter_coverage_cases(
            operation, generation_modes=[kind], generation_config=config
        )
        for case in fixed:
            self._try(case)
        if not self._is_over:
            self._given(operation.as_strategy(generation_mode=kind))
        self._conclude()

    def walk(self) -> None:
        """Sends create requests and follows the contract's links from their responses.

        Raises Broken, and Unverified if it could follow no link.
        """
        generator, followed = self, []

        class Walk(self.schema.as_state_machine()):  # type: ignore[misc]  # the base class exists only at run time
            """One sequence of requests. After the first problem it sends nothing."""

            def step(self, input: StepInput) -> StepOutput | None:
                response = generator._try(input.case, again=generator.target.is_mock)
                if response is None:
                    return None
                if input.transition is not None and input.applied_parameters:
                    generator._keep_problem(lambda: _same_task(input.case, response))
                    followed.append(input.case)
                return StepOutput(response, input.case)

        machine: type[APIStateMachine] = hypothesis.seed(self.target.session.seed)(Walk)
        try:
            machine.run(settings=self._settings(max(2, self.target.session.max_examples // 5), stateful_step_count=4))
        except HypothesisException:
            # hypothesis takes skipped steps after the end for a flaky test
            if not (self._is_over or self._is_stale):
                raise
        if not followed and self._problem is None:
            self._problem = Unverified("no create request led to a link that could be followed")
        self._conclude(len(followed))

    def _operation(self, label: str) -> Any:
        for found in self.schema.get_all_operations():
            operation = found.ok()  # type: ignore[union-attr]  # our contract has no broken operation
            if operation.label == label:
                return operation
        raise KeyError(label)

    def _given(self, cases: "st.SearchStrategy[Case]") -> None:
        @hypothesis.seed(self.target.session.seed)
        @self._settings(self.target.session.max_examples)
        @hypothesis.given(cases)
        def each(case: Case) -> None:
            self._try(case)

        each()

    def _settings(self, count: int, **more: Any) -> hypothesis.settings:
        return hypothesis.settings(
            max_examples=max(1, count),
            database=None,
            phases=[hypothesis.Phase.generate],
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            **more,
        )

    @property
    def _is_over(self) -> bool:
        return self._problem is not None or time.monotonic() > self._over_at

    def _try(self, case: Case, *, again: bool = False) -> Response | None:
        """Sends a case and checks the response. None if it sent nothing or the response is wrong.

        again: whether an equal case may be sent twice. A skipped case does not end a sweep, but it ends a walk.
        """
        if self._is_over:
            return None
        if not self.target.is_mock:
            _make_harmless(case)
        found: list[Response] = []

        def send() -> None:
            request = _prepared(case)
            seen = (request.method, request.url, tuple(sorted(request.headers.items())), request.body)
            if seen in self._seen and not again:
                self._is_stale = True
                return
            self._seen.add(seen)
            found.append(_response(request, self._send(request)))
            self.sent += 1
            case.validate_response(found[0], checks=self._checks)

        self._is_stale = False
        self._keep_problem(send)
        return found[0] if found and self._problem is None else None

    def _send(self, request: requests.PreparedRequest) -> TargetResponse:
        parts = urlsplit(str(request.url))
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name: str(v) for name, v in request.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        body: Any = request.body.encode() if isinstance(request.body, str) else request.body
        return self.target.send(str(request.method), path, headers=headers, content=body)

    def _keep_problem(self, check: Callable[[], None]) -> None:
        """Keeps a problem for the end. If a test of hypothesis raises it, hypothesis sends the case again."""
        try:
            check()
        except (Broken, Unverified) as problem:
            self._problem = problem
        except FailureGroup as group:
            first = group.exceptions[0]
            text = " ".join(str(first).split())
            self._problem = Broken("a generated request", text, "a response that the contract allows")

    def _conclude(self, done: int | None = None) -> None:
        """Raises the problem that was found. Running out of budget after one case is not a failure."""
        if isinstance(self._problem, Broken):
            raise self._problem
        if not (self.sent if done is None else done):
            raise self._problem or Unverified("no request could be generated")


_OF_THE_CONNECTION: Final = {"content-length", "host", "connection", "accept-encoding", "user-agent"}


def _prepared(case: Case) -> requests.PreparedRequest:
    """The request that schemathesis would send, without the header with its name."""
    parts = case.as_transport_kwargs(base_url="http://service.invalid")
    known = ("method", "url", "headers", "params", "data", "json", "files", "cookies")
    request = requests.Request(**{name: parts[name] for name in known if name in parts}).prepare()
    request.headers.pop("X-Schemathesis-TestCaseId", None)
    return request


def _response(request: requests.PreparedRequest, reply: TargetResponse) -> Response:
    headers = {name: [value] for name, value in reply.headers.items()}
    return Response(reply.status, headers, reply.body, request, elapsed=0.0, verify=False)


def _same_task(case: Case, response: Response) -> None:
    """Raises Broken unless the link leads to the task."""
    wanted = case.path_parameters["task_id"]
    if response.status_code != 200 or response.json().get("id") != wanted:
        raise Broken("the query that the link leads to", response.status_code, f"200 and the task {wanted}")


def _make_harmless(case: Case) -> None:
    """Removes URLs of third parties and replaces the prompt with an innocent one, for the live service."""
    if isinstance(case.body, dict):
        body: dict[str, Any] = {n: value for n, value in case.body.items() if n not in ("callback_url", "image_urls")}
        if isinstance(body.get("prompt"), str):
            length = len(body["prompt"])
            body["prompt"] = (_WORDS * (length // len(_WORDS) + 1))[:length]
        case.body = body
