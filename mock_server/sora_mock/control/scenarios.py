"""`/__mock/scenarios`: the catalogue of scenarios, and the queue of those for the next requests."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sora_mock.control.errors import ControlError, bad_body, json_response
from sora_mock.control.reading import Fields, account_key, read_fields, service_of
from sora_mock.domain.queue_rule import QueueRule, read_match
from sora_mock.domain.scenario import Scenario
from sora_mock.domain.scenario_parameters import find_scenario, override
from sora_mock.domain.values import short_text
from sora_mock.service import control
from sora_mock.service.context import Service

MAX_RULES: Final = 1_000
"""Rules in the queue of one account."""

_DEFAULTS: Final = Scenario(name="", description="")


async def show(request: Request) -> Response:
    """GET: catalogue and queue; without a key the rules of all accounts and of new ones, each once."""
    key, service = account_key(request), service_of(request)
    storage = service.storage
    if key is None:
        queues = [storage.defaults.queue, *(account.facts.queue for account in storage.accounts())]
    else:
        queues = [storage.account(key).facts.queue]
    rules = {rule.number: rule for queue in queues for rule in queue}
    scenarios = []
    for scenario in service.selector.catalogue.values():
        fields = msgspec.structs.asdict(scenario)
        scenarios.append({name: value for name, value in fields.items() if value != getattr(_DEFAULTS, name)})
    return json_response({"scenarios": scenarios, "queue": [_rule_view(rules[number]) for number in sorted(rules)]})


async def queue(request: Request) -> Response:
    """POST: puts a rule at the end of the queue; 201."""
    key, service = account_key(request), service_of(request)
    fields = await read_fields(
        request,
        scenario=short_text,
        times=_times,
        match=lambda value: read_match(value, service.models.values()),
        override=_object,
    )
    if "scenario" not in fields:
        raise bad_body('scenario is required, as in {"scenario": "failed", "times": 1}')
    rule = _rule(service, fields)
    if control.longest_queue(service, key) >= MAX_RULES:
        raise ControlError(409, "queue_full", f"a queue holds {MAX_RULES} rules; DELETE empties it")
    if rule.pattern is not None and not service.patterns.add(rule.pattern):
        raise ControlError(409, "queue_full", "the patterns of all queues are too large; DELETE empties a queue")
    control.append_rule(service, key, rule)
    return json_response(_rule_view(rule), 201)


def _rule(service: Service, fields: Fields) -> QueueRule:
    """Raises ControlError 400 for a rule that could have no effect."""
    name, given = fields["scenario"], fields.get("override", {})
    operation, match = fields.get("match", ("create", {}))
    selector = service.selector
    try:
        scenario = override(find_scenario(name, selector.catalogue), given, selector.limits)
    except ValueError as problem:
        raise ControlError(400, "unknown_scenario", str(problem)) from None
    if operation != "create" and not scenario.affects(operation):
        message = f"{name} does not change the response of operation {operation}: queue it for operation create"
        raise bad_body(message)
    return QueueRule(next(service.rule_numbers), scenario, fields.get("times", 1), operation, match, given)


async def empty_queue(request: Request) -> Response:
    """DELETE: removes every rule."""
    control.empty_queue(service_of(request), account_key(request))
    return json_response({"queue": []})


def _rule_view(rule: QueueRule) -> Fields:
    pattern = {} if rule.pattern is None else {"prompt": rule.pattern.text}
    return {
        "rule": rule.number,
        "scenario": rule.scenario.name,
        "times": rule.times,
        "match": {"operation": rule.operation, **rule.match, **pattern},
        "override": rule.override,
    }


def _times(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**6):
        raise ValueError("expected a whole number from 1, or null for ever")
    return value


def _object(value: Any) -> Fields:
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value
