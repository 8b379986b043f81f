"""Replies in the shapes of another version of the API: what a scenario makes of a body that is otherwise right."""

from typing import Any

from sora_mock.domain.scenario import Shape

Body = dict[str, Any]


def shaped(body: Body, shape: Shape | None, status: int = 200) -> Body:
    """The body of an answer in that shape. `status` is its HTTP status; None as shape leaves it as it is."""
    if shape is None:
        return body
    match shape:
        case "unknown_status" if body.get("status") == "processing":
            return {**body, "status": "reviewing"}
        case "unknown_fields" if "error" not in body or "id" in body:
            return {**_more(body), "model_version": "2.1", "queue": {"position": 1, "region": "eu"}}
        case "numeric_error_code" if isinstance(body.get("error"), dict):
            return {**body, "error": _older(body["error"], status)}
        case "wrapped_in_data":
            return {"code": status, "data": body}
        case "cancelled_as_status" if body.get("status") == "failed":
            return {**body, "status": "cancelled"}
        case _:
            return body


def _more(body: Body) -> Body:
    info = body.get("task_info")
    return body if info is None else {**body, "task_info": {**info, "worker": "gpu-17"}}


def _older(error: Body, status: int) -> Body:
    """The error object of older documentation (service-facts, HTTP errors): the code is the HTTP status."""
    older = {**error, "code": status if status >= 400 else 500}
    older.setdefault("param", None)
    older["fallback_suggestion"] = "try again later"
    return older
