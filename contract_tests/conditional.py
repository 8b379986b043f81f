"""Result files as a careful client fetches them: entity tags, conditions, ranges, the origin of the link."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from contract_tests.links import DAY, completed, fetch, finished, path_of
from contract_tests.wire import BODY, Wire, order
from sora_mock.runtime.package_data import data_folder
from sora_mock.verify.rule import equal, rule, true
from sora_mock.verify.target import GENERATION, Target


@rule(
    id="link.conditional.none_match",
    claim="If-None-Match with the file's entity tag gets 304 without a body, any other the whole",
    source="RFC 9110, 13.1.2",
    needs={"clock"},
)
def none_match(target: Target) -> None:
    """Alone, weak, in a list, a star; another tag and half a tag."""
    path = finished(target)
    whole = fetch(target, path)
    tag = whole.headers.get("etag", "")
    true("etag", tag.startswith('"') and tag.endswith('"') and len(tag) > 8, tag, "an entity tag")
    equal("etag again", fetch(target, path).headers.get("etag"), tag)
    for condition in (tag, f"W/{tag}", f'"a", {tag},"b"', "*"):
        for method in ("GET", "HEAD"):
            reply = fetch(target, path, method, If_None_Match=condition)
            equal(f"{method} with {condition}", (reply.status, reply.body), (304, b""))
            equal("etag", reply.headers.get("etag"), tag)
            equal("content type", reply.headers.get("content-type"), None)
    for condition in ('"other"', tag[:-2] + '"', ""):
        reply = fetch(target, path, If_None_Match=condition)
        equal(f"with {condition}", (reply.status, reply.body), (200, whole.body))
    equal("range too", fetch(target, path, If_None_Match=tag, Range="bytes=0-9").status, 304)


@rule(
    id="link.conditional.if_range",
    claim="If-Range with the file's tag gives the range, with another one the whole; two files have two tags",
    source="RFC 9110, 13.1.5",
    needs={"clock"},
)
def if_range(target: Target) -> None:
    """So that a download can be resumed."""
    path = finished(target)
    whole = fetch(target, path)
    other = fetch(target, finished(target, duration=15)).headers["etag"]
    reply = fetch(target, path, Range="bytes=5-", If_Range=whole.headers["etag"])
    equal("status and body", (reply.status, reply.body), (206, whole.body[5:]))
    equal("etag", reply.headers.get("etag"), whole.headers["etag"])
    for condition in (other, '"x"'):
        reply = fetch(target, path, Range="bytes=5-", If_Range=condition)
        equal("status and body", (reply.status, reply.body), (200, whole.body))


def ranges(size: int) -> Iterator[tuple[str, int, int]]:
    """Ranges of a file, each with its first byte and the one after its last."""
    last = size - 1
    yield from (("bytes=0-0", 0, 1), ("bytes=7-7", 7, 8), (f"bytes={last}-{last}", last, size), ("bytes=0-", 0, size))
    yield from ((f"bytes={last}-", last, size), ("bytes=-1", last, size), (f"bytes=-{size}", 0, size))
    yield from ((f"bytes=-{size + 9}", 0, size), (f"bytes=0-{size}", 0, size), (f"bytes=9-{last}", 9, size))
    yield from (("bytes=3-4", 3, 5), (f"bytes={last - 1}-{size + 5}", last - 1, size))


@rule(
    id="link.range.edges",
    claim="ranges at the edges of the file get 206 with exactly these bytes, beyond it 416",
    source="RFC 9110, 14.1.2 and 15.5.17",
    needs={"clock"},
)
def edges(target: Target) -> None:
    """One byte, all bytes, more than there are, none."""
    path = finished(target)
    whole = fetch(target, path)
    size = len(whole.body)
    equal("accept-ranges", whole.headers.get("accept-ranges"), "bytes")
    for header, first, end in ranges(size):
        reply = fetch(target, path, Range=header)
        equal(f"status with {header}", reply.status, 206)
        equal(f"bytes with {header}", reply.body, whole.body[first:end])
        equal("Content-Range", reply.headers.get("content-range"), f"bytes {first}-{end - 1}/{size}")
        equal("Accept-Ranges", reply.headers.get("accept-ranges"), "bytes")
        equal("content type", reply.headers.get("content-type"), "video/mp4")
    for header in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=-0", f"bytes={size + 1}-"):
        reply = fetch(target, path, Range=header)
        reply.error(416, "range_not_satisfiable", "invalid_request_error")
        equal("Content-Range", reply.headers.get("content-range"), f"bytes */{size}")
    for header in ("bytes=-", "bytes=8-7", "bytes 0-9", "xbytes=0-9", "bytes=0-9x", f"bytes={size}-{size - 1}"):
        reply = fetch(target, path, Range=header)
        equal(f"with {header}", (reply.status, len(reply.body)), (200, size))
    reply = fetch(target, path, "HEAD", Range="bytes=0-9")
    equal("HEAD", (reply.status, reply.headers.get("content-length"), reply.body), (200, str(size), b""))


@rule(
    id="link.method",
    claim="a result file can be read and nothing else: 405 names GET and HEAD",
    source="RFC 9110, 15.5.6; the envelope is an assumption (docs/fidelity.md)",
    needs={"clock"},
)
def method(target: Target) -> None:
    """And the file is still there."""
    path = finished(target)
    for name in ("POST", "PUT", "DELETE"):
        reply = target.send(name, path)
        reply.error(405, "method_not_allowed", "invalid_request_error")
        equal("Allow", reply.headers.get("allow"), "GET, HEAD")
    equal("status", fetch(target, path).status, 200)


@rule(
    id="link.paths",
    claim="only the very link leads to the file: one that is nearly right gets 404",
    source="docs/fidelity.md, result files",
    needs={"clock"},
)
def paths(target: Target) -> None:
    """Other endings, folders, letters, lengths; the right name under another task's account or day."""
    path = finished(target)
    name = path[-36:-4]
    wrong = [path[:-4], path + "4", path[:-4] + ".mp3", path + "/", "/x" + path, path.replace("/videos/", "/images/")]
    wrong += [path.replace(name, name.upper()), path.replace(name, name[1:]), path.replace(name, "0" + name)]
    wrong += [
        path.replace(name, f"{int(name, 16) ^ 1:032x}"),
        path.replace(name, "g" * 32),
        path.replace(name, "f" * 32),
    ]
    day = path[-47:-37]
    wrong += [path.replace(day, "1970/01/01"), path.replace("/files/", "/files/x/"), path.replace("files", "file")]
    for each in wrong:
        if each != path:
            error = fetch(target, each).error(404, fetch(target, each).json()["error"]["code"], "invalid_request_error")
            true("code", error["code"] in ("file_not_found", "invalid_url"), error, "file_not_found or invalid_url")
    equal("status", fetch(target, path).status, 200)


@rule(
    id="link.origin",
    claim="the link begins with the Host that the create request was sent to, for every later reader",
    source="docs/reference.md, settings, --public-url",
    needs={"clock"},
)
def origin(target: Target) -> None:
    """Name, port, IPv6; what is no host gets with the server's own address."""
    own = urlsplit(target.url).netloc
    hosts = {"mock.example": "mock.example", "a-b.example:8080": "a-b.example:8080", "[::1]:99": "[::1]:99"}
    hosts |= {"[fe80::1]": "[fe80::1]", "exa mple": own, "a/b": own, "name:123456": own, "[::1": own, "x?y": own}
    for host, shown in hosts.items():
        task_id = target.create(headers={"Host": host}).must_be(200)["id"]
        target.advance(GENERATION)
        link = target.task(task_id, headers={"Host": "another.example"})["results"][0]
        equal(f"origin with Host: {host}", link.partition("/files/")[0], f"http://{shown}")
    with Wire(target) as wire:
        wire.send(order(target).replace(b"HTTP/1.1\r\nHost: localhost", b"HTTP/1.0") + BODY)
        equal("status without Host", wire.read().status, 200)
    link = target.control("GET", "/tasks")["tasks"][0]["mock"]["result_url"]
    equal("origin without Host", link.partition("/files/")[0], f"http://{own}")


@rule(
    id="link.24h.exact",
    claim="the link lives for less than 24 hours: at 24 hours it is over, and stays so",
    source="published contract, description; the exact time is an assumption",
    needs={"clock"},
)
def exact(target: Target) -> None:
    """Nothing in between; the query still names it."""
    task_id, link = completed(target)
    path = path_of(link)
    target.advance(DAY)
    for _ in range(2):
        fetch(target, path).error(404, "file_expired", "invalid_request_error")
        target.advance(DAY * 30)
    equal("results", len(target.task(task_id)["results"]), 1)


@rule(
    id="link.failed",
    claim="a task that failed has no file",
    source="recorded responses, result links (R)",
    needs={"clock"},
)
def failed(target: Target) -> None:
    """Its link, had it been completed."""
    task_id = target.created()["id"]
    link = target.control("GET", "/tasks")["tasks"][0]["mock"]["result_url"]
    # late enough for another end, early enough for the same day
    target.control("POST", f"/tasks/{task_id}/finish", {"outcome": "failed"})
    for wait in (0, GENERATION):
        target.advance(wait)
        fetch(target, link[link.index("/", 8) :]).error(404, "file_not_found")


@rule(
    id="link.files",
    claim="the file of a mock is the shipped one of that shape, length and watermark",
    source="published contract, prose of duration, aspect_ratio and remove_watermark; fixtures/videos",
    needs={"mock"},
)
def files(target: Target) -> None:
    """Eight orders; what is left out is 16:9, ten seconds, without a watermark."""
    shipped = data_folder("fixtures") / "videos"
    for ratio, shape in (("16:9", "landscape"), ("9:16", "portrait")):
        for seconds in (10, 15):
            for clean, mark in ((True, ""), (False, "-watermark")):
                wanted = (shipped / f"{shape}-{seconds}s{mark}.mp4").read_bytes()
                path = finished(target, aspect_ratio=ratio, duration=seconds, remove_watermark=clean)
                equal(f"file of {ratio}, {seconds} s{mark}", fetch(target, path).body == wanted, True)
    usual = (shipped / "landscape-10s.mp4").read_bytes()
    equal("file of the usual order", fetch(target, finished(target)).body == usual, True)
