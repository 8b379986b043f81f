"""Result links: what they look like, what is behind them, and how long they work."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from contract_tests.links import completed_link, completed_path, described, link_of, path_of
from contract_tests.orders import DAY, GENERATION
from contract_tests.reading import error_of
from contract_tests.service import Service, accepted
from contract_tests.wire import BODY, Wire, create_head
from sora_mock.client import Account
from sora_mock.runtime.package_data import data_folder
from sora_mock.verify.rule import TEN_SECONDS

RECORDED = "recorded responses, result links (R)"
LIFETIME = "published contract, description"
PROSE = "published contract, prose of duration, aspect_ratio and remove_watermark"
LINK = re.compile(r"https?://[^/]+(/[^/]+)?/[A-Z0-9]{18}/videos/\d{4}/\d{2}/\d{2}/[0-9a-f]{32}\.mp4")
DAY_OF_LINK = re.compile(r"/videos/(\d{4}/\d{2}/\d{2})/")


@pytest.fixture
def keyless(service: Service) -> Service:
    """A client without a key, as anyone who has a link uses."""
    return service.with_key(None)


@pytest.fixture
def path(service: Service, mock: Account) -> str:
    """The path of the link of a task that has just completed."""
    return completed_path(service, mock)


@pytest.fixture
def fresh_link(service: Service, request: pytest.FixtureRequest) -> str:
    """The link of a task that has just completed; of the shared task on the live service."""
    if service.is_mock:
        return completed_link(service, request.getfixturevalue("mock"))
    return link_of(request.getfixturevalue("completed_views")[-1])


def day_of(now: float) -> str:
    """The UTC day of a timestamp as a link has it."""
    return f"{datetime.fromtimestamp(now, UTC):%Y/%m/%d}"


def boxes_of(film: bytes) -> list[bytes]:
    """The kinds of the boxes of an MP4 file (ISO/IEC 14496-12, 4.2). The last is b"cut" where a box is not whole."""
    place, kinds = 0, list[bytes]()
    while place < len(film):
        size = int.from_bytes(film[place : place + 4], "big")
        if not 8 <= size <= len(film) - place:
            return [*kinds, b"cut"]
        kinds.append(film[place + 4 : place + 8])
        place += size
    return kinds


@pytest.mark.contract(id="link.form", source=RECORDED, price=TEN_SECONDS, shared="usual")
def test_the_link_has_the_documented_form(service: Service, fresh_link: str, now: Callable[[], float]) -> None:
    """The link is .../{18 of A-Z0-9}/videos/YYYY/MM/DD/{32 hex}.mp4 of the day of completion."""
    assert LINK.fullmatch(fresh_link)
    # the shared task of the live service may have completed before midnight
    days = {day_of(now())} if service.is_mock else {day_of(now()), day_of(now() - 3600)}
    assert set(DAY_OF_LINK.findall(fresh_link)) <= days


@pytest.mark.contract(
    id="link.day", source=f"{RECORDED}; which day is an assumption (docs/fidelity.md)", needs={"clock"}
)
def test_a_task_over_midnight_utc_has_the_day_of_its_completion_in_its_link(service: Service, mock: Account) -> None:
    """The link of a task that runs over midnight UTC has the day of its completion."""
    mock.clock.advance(DAY - mock.clock.now % DAY - 5)
    link = completed_link(service, mock)
    assert DAY_OF_LINK.findall(link) == [day_of(mock.clock.now)]


@pytest.mark.contract(id="link.video", source=RECORDED, price=TEN_SECONDS, shared="usual")
def test_the_link_gets_an_mp4_without_a_key(keyless: Service, fresh_link: str) -> None:
    """The link gets 200 video/mp4 without a key, and the bytes are a whole MP4."""
    response = keyless.get(fresh_link)
    assert response.status_code == 200
    assert response.headers.get("content-type") == "video/mp4"
    assert response.headers.get("content-length") == str(len(response.content))
    kinds = boxes_of(response.content)
    assert kinds[:1] == [b"ftyp"]
    assert {b"moov", b"mdat"} <= set(kinds)
    assert b"cut" not in kinds


@pytest.mark.contract(id="link.before", source="service documentation, task query (D): results", needs={"clock"})
def test_there_is_no_file_before_the_task_is_completed(service: Service, keyless: Service, mock: Account) -> None:
    service.created()
    tasks = mock.tasks
    assert len(tasks) == 1
    path = path_of(tasks[0]["mock"]["result_url"])
    mock.clock.advance(GENERATION - 1)
    assert keyless.get(path).status_code == 404
    mock.clock.advance(1)
    assert keyless.get(path).status_code == 200


@pytest.mark.contract(id="link.24h", source=LIFETIME, needs={"clock"})
def test_the_link_works_for_24_hours_from_completion_and_no_longer(keyless: Service, mock: Account, path: str) -> None:
    mock.clock.advance(DAY - 1)
    assert keyless.get(path).status_code == 200
    mock.clock.advance(1.01)
    error = error_of(keyless.get(path))
    assert 400 <= error.status < 500
    assert (error.code, error.type) == ("file_expired", "invalid_request_error")


@pytest.mark.contract(id="link.24h.completion", source=LIFETIME, needs={"clock"})
def test_the_24_hours_begin_at_the_completion(service: Service, keyless: Service, mock: Account) -> None:
    """The 24 hours begin at the completion, not at the first query."""
    task_id = service.created()["id"]
    mock.clock.advance(GENERATION + 3600)
    path = path_of(link_of(service.task(task_id)))
    mock.clock.advance(DAY - 3600 - 1)
    assert keyless.get(path).status_code == 200
    mock.clock.advance(1.01)
    assert keyless.get(path).status_code >= 400


@pytest.mark.contract(id="link.24h.exact", source=f"{LIFETIME}; the exact time is an assumption", needs={"clock"})
def test_the_link_has_expired_at_24_hours(service: Service, keyless: Service, mock: Account) -> None:
    """The link works for less than 24 hours: at 24 hours it has expired, and it does not come back."""
    task_id = service.created()["id"]
    mock.clock.advance(GENERATION)
    link = link_of(service.task(task_id))
    mock.clock.advance(DAY)
    for _ in range(2):
        assert error_of(keyless.get(path_of(link)))[:3] == (404, "file_expired", "invalid_request_error")
        mock.clock.advance(DAY * 30)
    assert len(service.task(task_id)["results"]) == 1


@pytest.mark.contract(id="link.head", source="RFC 9110, 9.3.2", needs={"clock"})
def test_head_gets_the_response_of_get_without_the_bytes(keyless: Service, path: str) -> None:
    """HEAD gets the response of GET without the bytes."""
    size = len(keyless.get(path).content)
    response = keyless.head(path)
    headers = {name: response.headers.get(name) for name in ("content-length", "content-type")}
    assert (response.status_code, headers, response.content) == (
        200,
        {"content-length": str(size), "content-type": "video/mp4"},
        b"",
    )


@pytest.mark.contract(
    id="link.method",
    source="RFC 9110, 15.5.6; the envelope is an assumption (docs/fidelity.md)",
    needs={"clock"},
)
def test_a_result_file_is_read_only(service: Service, keyless: Service, path: str) -> None:
    """A result file can be read and nothing else: 405 names GET and HEAD."""
    for method in ("POST", "PUT", "DELETE"):
        response = service.request(method, path)
        assert error_of(response)[:3] == (405, "method_not_allowed", "invalid_request_error"), method
        assert response.headers.get("allow") == "GET, HEAD", method
    assert keyless.get(path).status_code == 200


@pytest.mark.contract(id="link.unknown", source="docs/fidelity.md, result files", needs={"clock"})
def test_a_link_of_no_task_gets_404(service: Service, keyless: Service, mock: Account) -> None:
    link = completed_link(service, mock)
    assert LINK.fullmatch(link)
    path = path_of(link)
    name, account = path[-36:-4], path.split("/")[2]
    wrong = [path.replace(name, "0" * 32), path.replace(account, "A" * 18), path.replace("/20", "/19")]
    assert {each: keyless.get(each).status_code for each in wrong} == dict.fromkeys(wrong, 404)


@pytest.mark.contract(id="link.paths", source="docs/fidelity.md, result files", needs={"clock"})
def test_a_path_that_is_nearly_right_gets_404(keyless: Service, path: str) -> None:
    """Only the exact link gets the file: one that is nearly right gets 404."""
    name, day = path[-36:-4], path[-47:-37]
    wrong = [
        path[:-4],
        path + "4",
        path[:-4] + ".mp3",
        path + "/",
        "/x" + path,
        path.replace("/videos/", "/images/"),
        path.replace(name, name.upper()),
        path.replace(name, name[1:]),
        path.replace(name, "0" + name),
        path.replace(name, f"{int(name, 16) ^ 1:032x}"),
        path.replace(name, "g" * 32),
        path.replace(name, "f" * 32),
        path.replace(day, "1970/01/01"),
        path.replace("/files/", "/files/x/"),
        path.replace("files", "file"),
    ]
    for each in wrong:
        # a name without letters is the same in upper case
        if each != path:
            error = error_of(keyless.get(each))
            assert (error.status, error.type) == (404, "invalid_request_error"), each
            assert error.code in ("file_not_found", "invalid_url"), each
    assert keyless.get(path).status_code == 200


@pytest.mark.contract(id="link.differ", source=RECORDED, needs={"clock"})
def test_two_tasks_have_two_links(service: Service, mock: Account) -> None:
    assert completed_path(service, mock) != completed_path(service, mock)


@pytest.mark.contract(id="link.failed", source=RECORDED, needs={"clock"})
def test_a_task_that_failed_has_no_file(service: Service, keyless: Service, mock: Account) -> None:
    task_id = service.created()["id"]
    path = path_of(mock.tasks[0]["mock"]["result_url"])
    mock.task(task_id).finish("failed")
    for seconds in (0, GENERATION):
        mock.clock.advance(seconds)
        assert error_of(keyless.get(path))[:2] == (404, "file_not_found")


@pytest.mark.contract(id="link.origin", source="docs/reference.md, settings, --public-url", needs={"clock"})
def test_the_link_begins_with_the_host_of_the_create_request(service: Service, mock: Account) -> None:
    """The link begins with the Host that the create request was sent to, for every later reader."""
    own = service.target.url.partition("://")[2]
    # the server takes its own address where the Host is none
    hosts = {
        "mock.example": "mock.example",
        "a-b.example:8080": "a-b.example:8080",
        "[::1]:99": "[::1]:99",
        "[fe80::1]": "[fe80::1]",
        "exa mple": own,
        "a/b": own,
        "name:123456": own,
        "[::1": own,
        "x?y": own,
    }
    origins = {}
    for host in hosts:
        task_id = accepted(service.create(headers={"Host": host}))["id"]
        mock.clock.advance(GENERATION)
        task = service.task(task_id, headers={"Host": "another.example"})
        origins[host] = link_of(task).partition("/files/")[0]
    assert origins == {host: f"http://{shown}" for host, shown in hosts.items()}
    with Wire(service) as wire:
        wire.send(create_head(service).replace(b"HTTP/1.1\r\nHost: localhost", b"HTTP/1.0") + BODY)
        assert wire.read().status_code == 200
    assert mock.tasks[0]["mock"]["result_url"].partition("/files/")[0] == f"http://{own}"


@pytest.mark.contract(id="link.order", source=PROSE, needs={"mock"})
def test_the_video_is_the_one_that_was_ordered(service: Service, keyless: Service, mock: Account) -> None:
    films = [
        keyless.get(completed_path(service, mock, duration=seconds, aspect_ratio=ratio, remove_watermark=clean)).content
        for seconds in (10, 15)
        for ratio in ("16:9", "9:16")
        for clean in (True, False)
    ]
    assert len(set(films)) == 8


@pytest.mark.contract(id="link.files", source=f"{PROSE}; fixtures/videos", needs={"mock"})
def test_the_file_of_a_mock_is_the_shipped_one(service: Service, keyless: Service, mock: Account) -> None:
    """The file of a mock is the shipped one of that shape, length and watermark."""
    orders = {
        f"{shape}-{duration}s{mark}.mp4": {"aspect_ratio": ratio, "duration": duration, "remove_watermark": clean}
        for ratio, shape in (("16:9", "landscape"), ("9:16", "portrait"))
        for duration in (10, 15)
        for clean, mark in ((True, ""), (False, "-watermark"))
    }
    shipped = {name: (data_folder("fixtures") / "videos" / name).read_bytes() for name in orders}
    for name, order in orders.items():
        film = keyless.get(completed_path(service, mock, **order)).content
        assert described(film) == described(shipped[name]), name
    usual = keyless.get(completed_path(service, mock)).content
    assert described(usual) == described(shipped["landscape-10s.mp4"])
