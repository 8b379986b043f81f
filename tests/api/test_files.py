"""The result files: the video that was asked for, whole or in part, for 24 hours of the account's clock."""

from datetime import UTC, datetime
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sora_mock.runtime.package_data import video_bytes
from sora_mock.server import MockServer
from tests.conftest import Api

DAY = 24 * 3600


def finished(api: Api, **fields: Any) -> str:
    """The result link of a new task that has completed."""
    task_id = api.new_task(**fields)
    api.account.clock.advance(5)
    return link(api, task_id)


def link(api: Api, task_id: str) -> str:
    [url] = api.task(task_id)["results"]
    return str(url)


def refusal(response: httpx.Response) -> Any:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert {"code", "message", "type"} <= set(body["error"]) <= {"code", "message", "type", "param"}
    return body["error"]


@pytest.fixture
def url(api: Api) -> str:
    """The link of a landscape video of 10 s without watermark."""
    return finished(api)


@pytest.fixture
def video() -> bytes:
    """What that link serves."""
    return video_bytes("landscape-10s.mp4")


# --- what is served ---


@pytest.mark.parametrize(
    ("shape", "duration", "marked"), list(product(("16:9", "9:16"), (10, 15), (False, True))), ids=str
)
def test_each_order_gets_its_own_video(api: Api, shape: str, duration: int, marked: bool) -> None:
    response = api.client.get(finished(api, aspect_ratio=shape, duration=duration, remove_watermark=not marked))
    name = f"{'portrait' if shape == '9:16' else 'landscape'}-{duration}s{'-watermark' if marked else ''}.mp4"
    assert response.content == video_bytes(name)


def test_the_eight_videos_differ() -> None:
    names = [
        f"{shape}-{seconds}s{mark}.mp4"
        for shape, seconds, mark in product(("landscape", "portrait"), (10, 15), ("", "-watermark"))
    ]
    assert len({video_bytes(name) for name in names}) == 8
    assert sum(len(video_bytes(name)) for name in names) < 2_000_000


def test_the_default_is_landscape_of_10_seconds_without_watermark(api: Api, url: str, video: bytes) -> None:
    assert api.client.get(url).content == video


def test_a_video_is_an_mp4_with_its_length(api: Api, url: str, video: bytes) -> None:
    response = api.client.get(url)
    assert response.status_code == 200
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["content-length"] == str(len(video))
    assert response.headers["accept-ranges"] == "bytes"
    assert response.content[4:8] == b"ftyp"


def test_a_link_needs_no_key(api: Api, url: str) -> None:
    assert api.client.get(url).status_code == 200
    assert api.client.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 200


def test_a_query_string_does_not_break_a_link(api: Api, url: str) -> None:
    assert api.client.get(url + "?download=1").status_code == 200


def test_head_gets_the_headers_alone(api: Api, url: str, video: bytes) -> None:
    whole, head = api.client.get(url), api.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_link_can_only_be_read(api: Api, url: str, method: str) -> None:
    response = api.client.request(method, url)
    assert response.status_code == 405
    assert {name.strip() for name in response.headers["allow"].split(",")} == {"GET", "HEAD"}
    assert refusal(response)["type"] == "invalid_request_error"


# --- ranges ---


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=100-199", 100, 199),
        ("bytes=100-", 100, None),
        ("bytes=0-", 0, None),
        ("bytes=0-999999999", 0, None),
        ("bytes=-1", -1, None),
        ("bytes=-500", -500, None),
        ("bytes=-999999999", 0, None),
    ],
)
def test_a_range_gets_206(api: Api, url: str, video: bytes, asked: str, first: int, last: int | None) -> None:
    response = api.client.get(url, headers={"Range": asked})
    start = first % len(video)
    end = len(video) - 1 if last is None else last
    assert response.status_code == 206
    assert response.content == video[start : end + 1]
    assert response.headers["content-range"] == f"bytes {start}-{end}/{len(video)}"
    assert response.headers["content-length"] == str(end - start + 1)
    assert response.headers["content-type"] == "video/mp4"


def test_the_last_byte_can_be_asked_for_by_its_place(api: Api, url: str, video: bytes) -> None:
    last = len(video) - 1
    response = api.client.get(url, headers={"Range": f"bytes={last}-{last}"})
    assert (response.status_code, response.content) == (206, video[-1:])


def test_a_download_in_parts_is_the_whole(api: Api, url: str, video: bytes) -> None:
    step = 10_000
    parts = [
        api.client.get(url, headers={"Range": f"bytes={start}-{start + step - 1}"}).content
        for start in range(0, len(video), step)
    ]
    assert b"".join(parts) == video


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes={size}-{size}", "bytes=999999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_416_and_tells_the_size(api: Api, url: str, video: bytes, asked: str) -> None:
    response = api.client.get(url, headers={"Range": asked.format(size=len(video))})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{len(video)}"
    assert refusal(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-9", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "items=0-5", "0-5", "bytes=1-2-3"]
)
def test_a_range_that_is_none_or_several_is_ignored(api: Api, url: str, video: bytes, asked: str) -> None:
    response = api.client.get(url, headers={"Range": asked})
    assert (response.status_code, response.content) == (200, video)


def test_head_of_a_range_beyond_the_end_has_no_body(api: Api, url: str) -> None:
    assert api.client.head(url, headers={"Range": "bytes=999999999-"}).content == b""


# --- entity tags ---


def test_an_entity_tag_is_quoted_and_stays(api: Api, url: str) -> None:
    tags = {api.client.get(url).headers["etag"] for _ in range(2)}
    [tag] = tags
    assert tag.startswith('"')
    assert tag.endswith('"')


@pytest.mark.parametrize("condition", ["{tag}", "W/{tag}", '"x", {tag}', "*"])
def test_a_known_entity_tag_gets_304(api: Api, url: str, condition: str) -> None:
    tag = api.client.get(url).headers["etag"]
    response = api.client.get(url, headers={"If-None-Match": condition.format(tag=tag)})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == tag


def test_another_entity_tag_gets_the_whole(api: Api, url: str, video: bytes) -> None:
    response = api.client.get(url, headers={"If-None-Match": '"other"'})
    assert (response.status_code, response.content) == (200, video)


def test_if_range_with_the_tag_gets_the_part(api: Api, url: str) -> None:
    tag = api.client.get(url).headers["etag"]
    assert api.client.get(url, headers={"Range": "bytes=0-9", "If-Range": tag}).status_code == 206


@pytest.mark.parametrize("condition", ['"other"', "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_if_range_with_anything_else_gets_the_whole(api: Api, url: str, video: bytes, condition: str) -> None:
    response = api.client.get(url, headers={"Range": "bytes=0-9", "If-Range": condition})
    assert (response.status_code, response.content) == (200, video)


# --- which links there are ---


def test_each_task_has_a_link_of_its_own(api: Api) -> None:
    tasks = [api.new_task() for _ in range(10)]
    api.account.clock.advance(5)
    assert len({link(api, task_id) for task_id in tasks}) == 10


def test_two_tasks_have_two_entity_tags(api: Api) -> None:
    tags = [api.client.get(finished(api)).headers["etag"] for _ in range(2)]
    assert tags[0] != tags[1]


def test_a_link_carries_the_day_of_completion_on_the_accounts_clock(api: Api) -> None:
    api.account.clock.advance(40 * DAY)
    task_id = api.new_task()
    now = api.account.clock.advance(5)
    day = datetime.fromtimestamp(now, UTC)
    assert f"/videos/{day:%Y/%m/%d}/" in link(api, task_id)


def changed(url: str, place: int, value: str) -> str:
    parts = url.split("/")
    parts[place] = value
    return "/".join(parts)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (-1, "0" * 32 + ".mp4"),
        (-1, "f" * 32 + ".mp4"),
        (-1, "a.mp4"),
        (-1, "%0A" + "0" * 32 + ".mp4"),
        (-2, "32"),
        (-3, "13"),
        (-4, "1999"),
        (-5, "images"),
        (-6, "A" * 18),
    ],
)
def test_a_link_that_was_never_given_out_is_404(api: Api, url: str, place: int, value: str) -> None:
    response = api.client.get(changed(url, place, value))
    assert response.status_code == 404
    assert refusal(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize("ending", ["", ".mov", ".mp4.mp4", ".MP4", ".mp4/", ".mp4%0A", ".mp4%00"])
def test_a_link_with_another_ending_is_404(api: Api, url: str, ending: str) -> None:
    response = api.client.get(url.removesuffix(".mp4") + ending)
    assert response.status_code == 404
    assert refusal(response)


def test_a_name_in_upper_case_is_another_name(api: Api, url: str) -> None:
    name = url.rsplit("/", 1)[1]
    assert api.client.get(changed(url, -1, name.removesuffix(".mp4").upper() + ".mp4")).status_code == 404


@pytest.mark.parametrize("path", ["/files", "/files/", "/files/A/videos", "/files/../v1/credits", "/files/%2e%2e/x"])
def test_there_is_nothing_else_under_files(api: Api, path: str) -> None:
    response = api.client.get(path)
    assert response.status_code in (401, 404)
    assert refusal(response)


def test_head_of_a_missing_file_gets_404_without_a_body(api: Api, url: str) -> None:
    response = api.client.head(changed(url, -1, "0" * 32 + ".mp4"))
    assert (response.status_code, response.content) == (404, b"")


# --- when ---


def planned(api: Api) -> str:
    """The link that the newest task will have, which the control API knows before anybody."""
    return str(api.account.tasks[0]["mock"]["result_url"])


def test_before_completion_there_is_no_file(api: Api) -> None:
    task_id = api.new_task()
    url = planned(api)
    assert api.client.get(url).status_code == 404
    api.account.clock.advance(4.875)
    assert refusal(api.client.get(url))["type"] == "invalid_request_error"
    api.account.clock.advance(0.125)
    assert api.client.get(url).status_code == 200
    assert link(api, task_id) == url


def test_a_failed_task_has_no_file(api: Api) -> None:
    task_id = api.new_task()
    url = planned(api)
    api.account.task(task_id).finish("failed")
    api.account.clock.advance(60)
    assert api.client.get(url).status_code == 404


def test_a_task_finished_by_hand_has_its_file_at_once(api: Api, video: bytes) -> None:
    task_id = api.new_task()
    api.account.task(task_id).finish()
    assert api.client.get(link(api, task_id)).content == video


def test_a_link_lives_24_hours_from_completion(api: Api) -> None:
    task_id = api.new_task()
    completed_at = api.account.clock.advance(5)
    url = link(api, task_id)
    api.account.clock.now = completed_at + DAY - 0.001
    assert api.client.get(url).status_code == 200
    api.account.clock.now = completed_at + DAY
    response = api.client.get(url)
    assert response.status_code == 404
    assert "expired" in refusal(response)["message"]


def test_an_expired_link_expires_for_ranges_and_known_tags_too(api: Api, url: str) -> None:
    tag = api.client.get(url).headers["etag"]
    api.account.clock.advance(DAY)
    assert api.client.get(url, headers={"Range": "bytes=0-9"}).status_code == 404
    assert api.client.get(url, headers={"If-None-Match": tag}).status_code == 404


def test_a_task_outlives_its_link(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    before = api.task(task_id)
    api.account.clock.advance(30 * DAY)
    assert api.task(task_id) == before


def test_a_link_expires_on_its_own_accounts_clock(api: Api) -> None:
    other = Api(api.client, api.key + "-other")
    other.account.clock.freeze()
    mine, theirs = finished(api), finished(other)
    api.account.clock.advance(DAY)
    assert [api.client.get(url).status_code for url in (mine, theirs)] == [404, 200]


def test_the_status_of_an_expired_link_is_a_setting() -> None:

    with (
        MockServer(port=0, service={"expired_link_status": 403}) as own,
        httpx.Client(base_url=own.url) as client,
    ):
        api = Api(client, "sk-own")
        api.account.clock.freeze()
        url = finished(api)
        api.account.clock.advance(DAY)
        response = client.get(url)
    assert response.status_code == 403
    assert "expired" in refusal(response)["message"]


def test_a_link_dies_with_its_account(api: Api, url: str) -> None:
    api.account.reset()
    assert api.client.get(url).status_code == 404


def test_a_link_with_a_public_url_is_served_here_under_its_path() -> None:
    with MockServer(port=0, public_url="https://cdn.example") as own, httpx.Client(base_url=own.url) as client:
        api = Api(client, "sk-own")
        api.account.clock.freeze()
        url = finished(api)
        assert url.startswith("https://cdn.example/files/")
        assert client.get(urlsplit(url).path).status_code == 200


def test_month_and_day_have_two_digits_in_a_link(api: Api) -> None:
    now = datetime.fromtimestamp(api.account.clock.now, UTC)
    api.account.clock.now = datetime(now.year + 1, 3, 4, tzinfo=UTC).timestamp()
    assert f"/{now.year + 1}/03/04/" in finished(api)


def test_a_head_request_knows_no_ranges(api: Api) -> None:
    task_id = api.new_task()
    api.account.clock.advance(5)
    link = api.task(task_id)["results"][0]
    whole = api.client.head(link)
    for wanted in ("bytes=0-9", "bytes=99999999-"):
        part = api.client.head(link, headers={"Range": wanted})
        assert (part.status_code, part.headers["content-length"]) == (200, whole.headers["content-length"])


@pytest.mark.parametrize(
    ("scenario", "status", "code"),
    [
        ("unauthorized", 401, "unauthorized"),
        ("insufficient_quota", 402, "quota_exceeded"),
        ("model_access_denied", 403, "permission_denied"),
        ("rate_limited", 429, "rate_limit_exceeded"),
        ("internal_error status=418", 418, "invalid_request"),
        ("internal_error", 500, "internal_error"),
    ],
)
def test_a_scenario_refuses_a_file_in_the_words_of_its_status(
    api: Api, url: str, scenario: str, status: int, code: str
) -> None:
    refused = api.client.get(url, headers={"X-Mock-Scenario": scenario})
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
