"""Result links: what they look like, what is behind them, and how long."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sora_mock.verify.reply import TargetResponse
from sora_mock.verify.rule import equal, rule, true
from sora_mock.verify.target import GENERATION, Target

SOURCE = "recorded responses, result links (R)"
LINK = re.compile(r"https?://[^/]+(/[^/]+)?/[A-Z0-9]{18}/videos/\d{4}/\d{2}/\d{2}/[0-9a-f]{32}\.mp4")
DAY = 86_400


def completed(target: Target, **fields: Any) -> tuple[str, str]:
    """The id and the link of a task that has just completed."""
    task_id = target.created(**fields)["id"]
    target.advance(GENERATION)
    return task_id, link_of(target, task_id)


def link_of(target: Target, task_id: str) -> str:
    """The link of a completed task. Raises Broken where there is none."""
    results = target.task(task_id)["results"]
    true("results", isinstance(results, list) and results and isinstance(results[0], str), results, "a link")
    return str(results[0])


def path_of(link: str) -> str:
    """What a link asks its server for."""
    return urlsplit(link).path


def finished(target: Target, **fields: Any) -> str:
    """The path of the link of a task that has just completed."""
    return path_of(completed(target, **fields)[1])


def fetch(target: Target, path: str, method: str = "GET", **headers: str) -> TargetResponse:
    """The file, without a key."""
    return target.send(method, path, key=None, headers={name.replace("_", "-"): each for name, each in headers.items()})


@rule(
    id="link.form",
    claim="the link is .../{18 of A-Z0-9}/videos/YYYY/MM/DD/{32 hex}.mp4 of the day of completion",
    source=SOURCE,
    needs={"clock"},
)
def form(target: Target) -> None:
    """UTC."""
    _, link = completed(target)
    true("link", LINK.fullmatch(link), link, LINK.pattern)
    _is_of(link, target.now())


@rule(
    id="link.day",
    claim="the link of a task that runs over midnight UTC has the day of its completion",
    source=f"{SOURCE}; which day is an assumption (docs/fidelity.md)",
    needs={"clock"},
)
def day(target: Target) -> None:
    """Created five seconds before midnight."""
    target.advance(DAY - target.now() % DAY - 5)
    _, link = completed(target)
    _is_of(link, target.now())


def _is_of(link: str, now: float) -> None:
    wanted = f"/{datetime.fromtimestamp(now, UTC):%Y/%m/%d}/"
    true("day of the link", wanted in link, link, wanted)


@rule(
    id="link.video",
    claim="the link gets 200 video/mp4 without a key, and the bytes are an MP4, whole to its end",
    source=SOURCE,
    needs={"clock"},
)
def video(target: Target) -> None:
    """Box by box."""
    reply = fetch(target, finished(target))
    equal("status", reply.status, 200)
    equal("content type", reply.headers.get("content-type"), "video/mp4")
    equal("content length", reply.headers.get("content-length"), str(len(reply.body)))
    kinds = _boxes(reply.body)
    equal("first box", kinds[0], b"ftyp")
    true("boxes", {b"moov", b"mdat"} <= set(kinds), kinds, "the description of a film, and its pictures")


def _boxes(film: bytes) -> list[bytes]:
    """The kinds of the boxes that a file is made of, which have to end where it does (ISO/IEC 14496-12, 4.2)."""
    place, kinds = 0, []
    while place < len(film):
        size = int.from_bytes(film[place : place + 4], "big")
        fits_in = 8 <= size <= len(film) - place
        true("box", fits_in, f"{size} bytes at {place} of {len(film)}", "a box that ends in the file")
        kinds.append(film[place + 4 : place + 8])
        place += size
    return kinds


@rule(
    id="link.before",
    claim="there is no file before the task is completed",
    source="service documentation, task query (D): results",
    needs={"clock"},
)
def before(target: Target) -> None:
    """Even for who knows the link."""
    target.created()
    tasks = target.control("GET", "/tasks")["tasks"]
    equal("tasks", len(tasks), 1)
    path = path_of(tasks[0]["mock"]["result_url"])
    target.advance(GENERATION - 1)
    equal("status", fetch(target, path).status, 404)
    target.advance(1)
    equal("status", fetch(target, path).status, 200)


@rule(
    id="link.24h",
    claim="the link lives 24 hours from completion and not longer",
    source="published contract, description",
    needs={"clock"},
)
def lifetime(target: Target) -> None:
    """A second before and after."""
    path = finished(target)
    target.advance(DAY - 1)
    equal("status", fetch(target, path).status, 200)
    target.advance(1.01)
    reply = fetch(target, path)
    true("status", 400 <= reply.status < 500, reply.status, "a refusal")
    reply.error(reply.status, "file_expired", "invalid_request_error")


@rule(
    id="link.24h.completion",
    claim="the 24 hours begin at the completion, not at the first query",
    source="published contract, description",
    needs={"clock"},
)
def from_completion(target: Target) -> None:
    """First asked for an hour later."""
    task_id = target.created()["id"]
    target.advance(GENERATION + 3600)
    path = path_of(link_of(target, task_id))
    target.advance(DAY - 3600 - 1)
    equal("status", fetch(target, path).status, 200)
    target.advance(1.01)
    true("status", fetch(target, path).status >= 400, "200", "a refusal")


RANGES = {
    "first": ("bytes=0-9", 0, 10),
    "middle": ("bytes=100-199", 100, 200),
    "open": ("bytes=100-", 100, None),
    "suffix": ("bytes=-50", -50, None),
    "beyond": ("bytes=10-99999999", 10, None),
}


def _range(name: str, header: str, first: int, end: int | None) -> None:
    @rule(
        id=f"link.range.{name}",
        claim=f"Range: {header} gets 206 with exactly these bytes",
        source=SOURCE,
        needs={"clock"},
    )
    def check(target: Target) -> None:
        path = finished(target)
        whole = fetch(target, path).body
        reply = fetch(target, path, Range=header)
        equal("status", reply.status, 206)
        equal("bytes", reply.body, whole[first:end])
        start = first % len(whole)
        shown = f"bytes {start}-{start + len(reply.body) - 1}/{len(whole)}"
        equal("Content-Range", reply.headers.get("content-range"), shown)


for _name, _case in RANGES.items():
    _range(_name, *_case)


@rule(
    id="link.range.416",
    claim="a range beyond the end gets 416 with the size",
    source="RFC 9110, 15.5.17",
    needs={"clock"},
)
def unsatisfiable(target: Target) -> None:
    """In the envelope."""
    path = finished(target)
    size = len(fetch(target, path).body)
    reply = fetch(target, path, Range=f"bytes={size}-")
    equal("status", reply.status, 416)
    equal("Content-Range", reply.headers.get("content-range"), f"bytes */{size}")


@rule(id="link.range.ignored", claim="a range that cannot be read is ignored", source="RFC 9110, 14.2", needs={"clock"})
def ignored(target: Target) -> None:
    """200 and the whole."""
    path = finished(target)
    for header in ("bytes=5-2", "bytes=x", "seconds=1-2", "bytes=0-1,4-5"):
        equal("status", fetch(target, path, Range=header).status, 200)


@rule(
    id="link.head", claim="HEAD gets the response of GET without the bytes", source="RFC 9110, 9.3.2", needs={"clock"}
)
def head(target: Target) -> None:
    """Length and type."""
    path = finished(target)
    size = len(fetch(target, path).body)
    reply = fetch(target, path, "HEAD")
    found = (reply.status, reply.headers.get("content-length"), reply.headers.get("content-type"), reply.body)
    equal("HEAD", found, (200, str(size), "video/mp4", b""))


@rule(
    id="link.unknown",
    claim="a link that was never given out gets 404",
    source="docs/fidelity.md, result files",
    needs={"clock"},
)
def unknown(target: Target) -> None:
    """Another name, another account, another day."""
    _, link = completed(target)
    true("link", LINK.fullmatch(link), link, LINK.pattern)
    path = path_of(link)
    name = path[-36:-4]
    for wrong in (path.replace(name, "0" * 32), path.replace(path.split("/")[2], "A" * 18), path.replace("/20", "/19")):
        equal("status", fetch(target, wrong).status, 404)


@rule(id="link.differ", claim="two tasks have two links", source=SOURCE, needs={"clock"})
def differ(target: Target) -> None:
    """Even at one time."""
    first, second = finished(target), finished(target)
    true("links", first != second, first, "another one")


@rule(
    id="link.order",
    claim="the video is the one that was ordered",
    source="published contract, prose of duration, aspect_ratio and remove_watermark",
    needs={"mock"},
)
def as_ordered(target: Target) -> None:
    """Eight orders, eight files."""
    files = {
        fetch(target, finished(target, duration=d, aspect_ratio=a, remove_watermark=w)).body
        for d in (10, 15)
        for a in ("16:9", "9:16")
        for w in (True, False)
    }
    equal("different files", len(files), 8)
