"""Faults in result links and the files behind them."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from sora_mock.api import files
from sora_mock.domain import task as task_room
from sora_mock.domain.errors import ApiError
from sora_mock.domain.task import LINK_LIFETIME, Video, result_path, task_id_of
from sora_mock.runtime import package_data as data
from sora_mock.service import emulator
from sora_mock.service.emulator import Emulator
from tests.contract.faults.answering import Answer, task
from tests.contract.faults.planting import Plant, Table, answers, around, both, first, part, then


class _AnyPath(str):
    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _shown_until(seconds_after_end: float, code: str) -> Callable[..., Any]:
    """What is refused with that code is shown until so many seconds after the task's end."""

    def download(original: Any, self: Any, call: Any, file_name: str) -> Any:
        try:
            return original(self, call, file_name)
        except ApiError as refusal:
            found = self.store.tasks.get(task_id_of(file_name) or "")
            if refusal.code != code or found is None or result_path(found) != call.path:
                raise
            if call.at >= found.plan.ended_at + seconds_after_end:
                raise
            return data.video_bytes(found.video.file_name), b'"tag"'

    return download


def _lives_from_creation(found: Any, self: Any, call: Any, file_name: str) -> None:
    if call.at >= self.store.tasks[task_id_of(file_name)].plan.created_at + LINK_LIFETIME:
        raise ApiError(404, code="file_expired")


def _with_key(self: Any, call: Any, file_name: str) -> None:
    if b"authorization" not in call.headers:
        raise ApiError(401)


def _file(edit: Callable[[bytes], bytes]) -> Plant:
    """Another file behind every link."""
    return around(Emulator, "download", then(lambda found, *args: (edit(found[0]), found[1])))


def _suffix_first(byte_range: Any, wanted: bytes, size: int) -> Any:
    return byte_range(wanted.replace(b"=-", b"=0-"), size)


def _less(found: Any, wanted: bytes, size: int) -> Any:
    return found and (found[0], found[1] - 1)


def _starts_at_zero(found: Any, wanted: bytes, size: int) -> Any:
    return found and ((0, found[1]) if wanted.endswith(b"-") else found)


def _whole(byte_range: Any, wanted: bytes, size: int) -> Any:
    try:
        return byte_range(wanted, size)
    except ApiError:
        return None


def _strict_end(wanted: bytes, size: int) -> None:
    if re.search(rb"-\d{6,}$", wanted):
        raise ApiError(416)


def _strict_range(found: Any, wanted: bytes, size: int) -> None:
    if wanted and found is None:
        raise ApiError(416)


def _range_lost(answer: Answer) -> None:
    answer.status = 200 if answer.status == 206 else answer.status


def _wrong_type(answer: Answer) -> None:
    if answer.path.startswith("/files/") and answer.status == 200:
        answer.headers["content-type"] = "application/octet-stream"


def _no_head(answer: Answer) -> None:
    if answer.method == "HEAD" and answer.status == 200:
        answer.status = 405


def _result(edit: Callable[[str], str]) -> Plant:
    return answers(task(lambda said: "results" in said and said.update(results=[edit(said["results"][0])])))


def _of_creation(of: Any) -> str:
    plan = msgspec.structs.replace(of.plan, ended_at=of.plan.created_at)
    return result_path(msgspec.structs.replace(of, plan=plan))


LINKS: Table = {
    "octet-stream": ("link.video link.head", answers(_wrong_type)),
    "files want a key": ("link.video link.range.* link.order", around(Emulator, "download", first(_with_key))),
    "the video is cut off": ("link.video", _file(lambda body: body[:-100])),
    "the video has a tail": ("link.video", _file(lambda body: body + b"<!-- -->")),
    "a page for the video": ("link.video", _file(lambda body: b"<html></html>")),
    "path unchecked": ("link.unknown", part(emulator, "result_path", lambda of: _AnyPath(result_path(of)))),
    "file early": ("link.before", around(Emulator, "download", _shown_until(0, "file_not_found"))),
    "links for ever": ("link.24h link.24h.completion", part("sora_mock.service.emulator", "LINK_LIFETIME", 1e9)),
    "links short": ("link.24h link.24h.completion", part("sora_mock.service.emulator", "LINK_LIFETIME", 3600.0)),
    "life from creation": ("link.24h link.24h.completion", around(Emulator, "download", then(_lives_from_creation))),
    "an hour of grace": (
        "link.24h link.24h.completion",
        around(Emulator, "download", _shown_until(90_000, "file_expired")),
    ),
    "range ignored": ("link.range.[!4i]*", answers(_range_lost)),
    "suffix from the start": ("link.range.suffix", around(files, "byte_range", _suffix_first)),
    "end left out": ("link.range.[!4i]*", around(files, "byte_range", then(_less))),
    "open from zero": ("link.range.open", around(files, "byte_range", then(_starts_at_zero))),
    "whole beyond": ("link.range.416", around(files, "byte_range", _whole)),
    "end beyond refused": ("link.range.beyond", around(files, "byte_range", first(_strict_end))),
    "unreadable refused": ("link.range.ignored", around(files, "byte_range", then(_strict_range))),
    "no HEAD": ("link.head", answers(_no_head)),
    "day with hyphens": ("link.form", _result(lambda link: re.sub(r"(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3", link))),
    "link of the day of creation": (
        "link.day",
        both(*(part(room, "result_path", _of_creation) for room in (task_room, emulator))),
    ),
    "one link": ("link.differ", _result(lambda link: "http://x/one.mp4")),
    "one video": ("link.order", part(Video, "file_name", property(lambda self: "landscape-10s.mp4"))),
}
