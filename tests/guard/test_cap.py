"""The cap is a cap: no form of request makes a service that charges for everything spend more."""

import asyncio
import base64
import gzip
import itertools
import json
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sora_mock.domain.contract import Contract
from sora_mock.domain.ledger import to_credits, to_units
from sora_mock.guard.ledger import SpendingLedger, SpendingLimits
from sora_mock.guard.pricing import Pricing
from sora_mock.guard.proxy import GuardProxy
from sora_mock.guard.secret import Secret
from sora_mock.guard.upstream import Upstream
from sora_mock.runtime.package_data import contract_document
from sora_mock.server import MockServer
from tests.guard.eager import EagerService, eager_service
from tests.guard.live import CREATE, ORDER, PLACEHOLDER, REAL, created, guarding

PRICING = Pricing(Contract(contract_document()))
JSON = {"Content-Type": "application/json"}
DEARER = {**ORDER, "model": "dearer"}
TEXT = json.dumps(DEARER)

Form = tuple[str, str, dict[str, str], bytes]
"""Method, target, headers, body."""


def plain(value: Any, target: str = CREATE, method: str = "POST", **headers: str) -> Form:
    return method, target, {**JSON, **headers}, json.dumps(value).encode()


def raw(body: str | bytes, content_type: str | None = None, method: str = "POST", **headers: str) -> Form:
    kind = {} if content_type is None else {"Content-Type": content_type}
    return method, CREATE, {**kind, **headers}, body.encode() if isinstance(body, str) else body


MULTIPART = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ndearer\r\n--b--\r\n'
ODD: dict[str, Form] = {
    "n": plain({**ORDER, "n": 10}),
    "n text": plain({**ORDER, "n": "10"}),
    "count": plain({**ORDER, "options": {"count": 10}}),
    "quality": plain({**ORDER, "quality": "dearer"}),
    "dearer": plain(DEARER),
    "query model": plain(ORDER, CREATE + "?model=dearer"),
    "query n": plain(ORDER, CREATE + "?n=10"),
    "query alone": ("POST", CREATE + "?model=dearer&prompt=x", {}, b""),
    "model list": plain({**ORDER, "model": ["dearer"]}),
    "model object": plain({**ORDER, "model": {"name": "dearer"}}),
    "model object of ours": plain({**ORDER, "model": {"sora-2-beta-max": "dearer"}}),
    "Model": plain({**ORDER, "Model": "dearer"}),
    "duplicate": raw(json.dumps(ORDER)[:-1] + ',"model":"dearer"}', "application/json"),
    "duplicate first": raw('{"model":"dearer",' + json.dumps(ORDER)[1:], "application/json"),
    "inside": plain({**ORDER, "input": DEARER}),
    "inside the prompt": plain({**ORDER, "prompt": {"text": "x", "model": "dearer"}}),
    "prompts": plain({**ORDER, "prompt": ["A cat"] * 30}),
    "pictures": plain({**ORDER, "image_urls": ["https://example.com/1.jpg"] * 30}),
    "orders": plain([ORDER] * 30),
    "order of another": plain([DEARER]),
    "lines": raw((json.dumps(ORDER) + "\n") * 10, "application/x-ndjson"),
    "lines as JSON": raw((json.dumps(ORDER) + "\n") * 10, "application/json"),
    "trailing": raw(json.dumps(ORDER) + TEXT, "application/json"),
    "form": raw("model=dearer&prompt=x", "application/x-www-form-urlencoded"),
    "form as JSON": raw("model=dearer&prompt=x", "application/json"),
    "form as nothing": raw("model=dearer&prompt=x"),
    "form with percent": raw("%6dodel=%64earer&prompt=x"),
    "multipart": raw(MULTIPART, "multipart/form-data; boundary=b"),
    "multipart as JSON": raw(MULTIPART, "application/json"),
    "yaml": raw("model: dearer\nprompt: x\n", "application/yaml"),
    "yaml as JSON": raw("model: dearer\nprompt: x\n", "application/json"),
    "xml": raw("<order><model>dearer</model></order>", "application/xml"),
    "xml as JSON": raw("<order><model>dearer</model></order>", "application/json"),
    "JSON in a string": raw(json.dumps(TEXT), "application/json"),
    "JSON in a field": plain({**ORDER, "payload": TEXT}),
    "JSON in a prompt": plain({"prompt": TEXT}),
    "base64": raw(base64.b64encode(TEXT.encode()), "application/json"),
    "base64 in a string": raw(json.dumps(base64.b64encode(TEXT.encode()).decode()), "application/json"),
    "text": raw(TEXT, "text/plain"),
    "python": raw(repr(DEARER), "application/json"),
    "comma": raw(TEXT[:-1] + ",}", "application/json"),
    "comment": raw("// order\n" + TEXT, "application/json"),
    "byte order mark": raw(b"\xef\xbb\xbf" + TEXT.encode(), "application/json"),
    "utf-16": raw(TEXT.encode("utf-16"), "application/json"),
    "utf-16le": raw(TEXT.encode("utf-16-le"), "application/json; charset=utf-16le"),
    "gzip": raw(gzip.compress(TEXT.encode()), "application/json", **{"Content-Encoding": "gzip"}),
    "gzip undeclared": raw(gzip.compress(TEXT.encode()), "application/json"),
    "zlib undeclared": raw(zlib.compress(TEXT.encode()), "application/json"),
    "deflate": raw(zlib.compress(TEXT.encode())[2:-4], "application/json", **{"Content-Encoding": "deflate"}),
    "gzip twice": raw(
        gzip.compress(gzip.compress(TEXT.encode())), "application/json", **{"Content-Encoding": "gzip, gzip"}
    ),
    "gzip of ours with n": raw(gzip.compress(json.dumps({**ORDER, "n": 10}).encode()), "application/json"),
    "get": plain(DEARER, method="GET"),
    "get of ours with n": plain({**ORDER, "n": 10}, method="GET"),
    "head": plain(DEARER, method="HEAD"),
    "get of credits": plain(DEARER, "/v1/credits", "GET"),
    "put": plain(DEARER, method="PUT"),
    "override": plain(ORDER, method="PUT", **{"X-HTTP-Method-Override": "POST", "X-Model": "dearer"}),
    "header": plain(ORDER, **{"X-Model": "dearer"}),
    "cookie": plain(ORDER, Cookie="model=dearer"),
    "another route": plain({"prompt": "dearer"}, "/v1/audios/generations"),
    "empty on another route": ("POST", "/v1/tasks/task-unified-1/again", {}, b""),
    "percent in the path": plain({**ORDER, "n": 10}, "/v1/videos/%67enerations"),
    "by the second": plain({**ORDER, "duration": 1000}),
    "by the second in a list": plain({**ORDER, "duration": [100] * 5}),
    "by the second in a text": plain({**ORDER, "duration": "1e3"}),
    "empty objects": raw("[" + "{}," * 200 + "]", "application/json"),
    "lines of empty objects": raw("{}\n" * 200, "application/json"),
    "prompts with a comma at the end": raw('{"prompt":[' + '"x",' * 200 + "]}", "application/json"),
    "durations of null": plain({**ORDER, "duration": [None] * 200}),
    "short durations": plain({**ORDER, "duration": [1] * 15}),
    "texts": plain(["abc"] * 200),
    "numbers": plain([1] * 200),
    "empty lists": plain([[]] * 200),
    "empty prompts": plain({**ORDER, "prompt": [{}] * 200}),
    "two letters": plain({**ORDER, "model": "o3"}),
    "a letter and x": plain({**ORDER, "model": "x3"}),
    "header value": plain(ORDER, **{"X-Options": "model=dearer"}),
    "preference": plain(ORDER, Prefer="model=dearer"),
    "accept": plain(ORDER, Accept="application/json;model=dearer"),
    "user agent": plain(ORDER, **{"User-Agent": "model=dearer"}),
    "idempotency key": plain(ORDER, **{"Idempotency-Key": "model=dearer-0123456789"}),
    "beside the key": plain(ORDER, Authorization="Bearer contract-live, model=dearer"),
    "override of GET": ("GET", CREATE + "?prompt=x&model=dearer", {"X_HTTP_Method_Override": "POST"}, b""),
    "endless": raw('{"model":"sora-2-beta-max","prompt":"x","duration":1e999}', "application/json"),
    "deep": raw('{"a":' * 3000 + TEXT + "}" * 3000, "application/json"),
    "long": raw(TEXT + " " * 2_000_000, "application/json"),
}


@dataclass
class Spending:
    """An eager service and two connections to it, in one event loop."""

    service: EagerService
    upstreams: list[Upstream]
    runner: asyncio.Runner

    def booked(self, forms: list[Form], cap: str, rejection: str, seed: int) -> float:
        """Sends all forms at once through two guards with one ledger. The credits that are booked at the end."""
        self.service.restart(seed)
        with tempfile.TemporaryDirectory() as folder:
            limits = SpendingLimits(to_units(cap), to_units(rejection))
            ledgers = [SpendingLedger(Path(folder) / "ledger", limits) for _ in self.upstreams]
            try:
                self.runner.run(self._send(forms, ledgers))
                return float(to_credits(ledgers[0].book().spent))
            finally:
                for ledger in ledgers:
                    ledger.close()

    async def _send(self, forms: list[Form], ledgers: list[SpendingLedger]) -> None:
        clients = []
        for upstream, ledger in zip(self.upstreams, ledgers, strict=True):
            guard = GuardProxy(upstream, Secret(REAL.encode()), ledger, PRICING, say=lambda line: None)
            transport = httpx.ASGITransport(app=guard)
            clients.append(httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=PLACEHOLDER))
        requests = [
            client.request(method, target, headers=headers, content=body or None)
            for client, (method, target, headers, body) in zip(itertools.cycle(clients), forms, strict=False)
        ]
        await asyncio.gather(*requests)


@pytest.fixture(scope="module")
def spending() -> Iterator[Spending]:
    with eager_service() as service, asyncio.Runner() as runner:
        upstreams = [Upstream(service.url, 10) for _ in range(2)]
        yield Spending(service, upstreams, runner)
        for upstream in upstreams:
            runner.run(upstream.close())


@pytest.mark.parametrize("name", ODD)
def test_twenty_of_an_odd_form_at_once_never_spend_above_the_cap(spending: Spending, name: str) -> None:
    for seed in range(3):
        booked = spending.booked([ODD[name]] * 20, "50", "8.64", seed)
        assert spending.service.spent <= booked <= 50


VALUES = st.sampled_from([None, True, 0, 1, 2, 10, 1000, 1.5, "", "x", "10", "dearer", "sora-2-beta-max", TEXT])
NESTED = st.recursive(
    VALUES,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.sampled_from(["n", "model"]), each, max_size=2),
    max_leaves=6,
)
FIELDS = {
    "model": st.sampled_from(["sora-2-beta-max", "contract-none", "dearer", ["dearer"], "SORA-2-BETA-MAX"]) | NESTED,
    "prompt": st.just("A cat"),
    "duration": st.sampled_from([10, 15, 16, 25, 60, 10**9, "20", 10.5, [10, 15], "x"]) | NESTED,
    "n": st.sampled_from([1, 2, 10, "10", [10]]),
    "no_such_field": st.sampled_from([1, True, "contract-x", "dearer"]) | NESTED,
    "image_urls": st.lists(st.just("https://example.com/1.jpg"), max_size=5) | NESTED,
    "aspect_ratio": st.sampled_from(["16:9", "1:1", "9:16", "16:9 "]) | NESTED,
    "seed": NESTED,
}
ORDERS = st.fixed_dictionaries(
    {"prompt": FIELDS["prompt"]}, optional={name: values for name, values in FIELDS.items() if name != "prompt"}
)
GOOD = st.fixed_dictionaries(
    {"model": st.just("sora-2-beta-max"), "prompt": st.just("A cat")}, optional={"duration": st.sampled_from([10, 15])}
)
BODIES = (
    st.one_of(GOOD, ORDERS, st.lists(ORDERS, max_size=3), ORDERS.map(json.dumps), NESTED)
    .map(json.dumps)
    .flatmap(
        lambda text: st.sampled_from(
            [
                text,
                text,
                text,
                text[:-1] + ",}",
                text * 2,
                text.replace('"', "'"),
                text[:-1],
                "\ufeff" + text,
                text + " x",
            ]
        )
    )
)
CODED = BODIES.map(str.encode).flatmap(
    lambda body: st.sampled_from(
        [body] * 4 + [gzip.compress(body), zlib.compress(body), base64.b64encode(body), body.decode().encode("utf-16")]
    )
)
TARGETS = [
    *[CREATE] * 6,
    f"{CREATE}/",
    f"{CREATE}?model=dearer",
    f"{CREATE}?n=9",
    "/v1/tasks/x",
    "/v1/images/generations",
]
HEADERS: list[dict[str, str]] = [
    *[JSON] * 6,
    {},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {**JSON, "Content-Encoding": "gzip"},
    {**JSON, "X-Model": "dearer"},
    {**JSON, "Prefer": "model=dearer"},
    {**JSON, "X-HTTP_Method_Override": "POST"},
]
FORMS = st.tuples(
    st.sampled_from(["POST"] * 6 + ["PUT", "GET", "HEAD", "DELETE", "OPTIONS", "QUERY"]),
    st.sampled_from(TARGETS),
    st.sampled_from(HEADERS),
    CODED | st.sampled_from([b"", b"{", b"n=10", b"n: 10", b"model=dearer", b"[]", b"1", b'"x"']),
)
CAPS = st.sampled_from(["0", "6", "20", "50"])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(forms=st.lists(FORMS, min_size=1, max_size=20), cap=CAPS, seed=st.integers(0, 99))
def test_no_mixture_of_forms_at_once_spends_above_the_cap(
    spending: Spending, forms: list[Form], cap: str, seed: int
) -> None:
    booked = spending.booked(forms, cap, "0" if cap in ("0", "6") else "8.64", seed)
    assert spending.service.spent <= booked <= float(cap)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(forms=st.lists(GOOD.map(plain), min_size=20, max_size=20), seed=st.integers(0, 99))
def test_plain_orders_at_once_never_spend_above_the_cap(spending: Spending, forms: list[Form], seed: int) -> None:
    booked = spending.booked(forms, "50", "0", seed)
    assert spending.service.spent <= booked <= 50


def test_twenty_orders_of_ten_videos_each_cost_nothing(spending: Spending) -> None:
    spending.service.restart(0)
    with guarding(spending.service.url, "--max-credits", "50") as guard, guard.client() as client:
        with ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(lambda _: client.post(CREATE, json={**ORDER, "n": 10}), range(20)))
    assert {each.status_code for each in replies} == {470}
    assert "'n'" in replies[0].json()["error"]["message"]
    assert spending.service.spent == 0


@pytest.mark.parametrize("fields", [{"no_such_field": 1}, {"contract_note": "contract-x"}, {"duration": 10.0}])
def test_an_order_of_uncertain_price_goes_out_and_only_its_cost_stays_booked(fields: dict[str, Any]) -> None:
    with (
        MockServer(port=0, seed=1) as live,
        guarding(live.url, "--max-credits", "17.28") as guard,
        guard.client() as client,
    ):
        assert [client.post(CREATE, json={**ORDER, **fields}).status_code for _ in range(2)] == [200, 470]
        assert len(created(live.url)) == 1
        assert "spent 5.76 of 17.28 credits" in guard.stop()[1]


@pytest.mark.parametrize("model", ["sora-9", "contract-no-such-model", "SORA-2-BETA-MAX", ["sora-2-beta-max"], None])
def test_a_model_that_cannot_exist_goes_out_and_its_rejection_gives_everything_back(model: Any) -> None:
    with (
        MockServer(port=0, seed=1) as live,
        guarding(live.url, "--max-credits", "14.40") as guard,
        guard.client() as client,
    ):
        assert [client.post(CREATE, json={**ORDER, "model": model}).status_code for _ in range(3)] == [400] * 3
        assert "spent 0 of 14.4" in guard.stop()[1]
