"""Response bodies in the shape of another version of the API, which a scenario makes of a correct body."""

from typing import Any

from sora_mock.domain.scenario import Shape

Body = dict[str, Any]


def shaped(body: Body, shape: Shape | None, status: int = 200) -> Body:
    """The body in the given shape. None, or a shape that does not apply to this body, returns the body unchanged.

    status: the HTTP status of the response.
    """
    if shape is None:
        return body
    match shape:
        case "unknown_status" if body.get("status") == "processing":
            return {**body, "status": "reviewing"}
        case "unknown_fields" if "error" not in body or "id" in body:
            return {**_with_task_info(body), "model_version": "2.1", "queue": {"position": 1, "region": "eu"}}
        case "numeric_error_code" if isinstance(body.get("error"), dict):
            return {**body, "error": _with_numeric_code(body["error"], status)}
        case "wrapped_in_data":
            return {"code": status, "data": body}
        case "cancelled_as_status" if body.get("status") == "failed":
            return {**body, "status": "cancelled"}
        case _:
            return body


def _with_task_info(body: Body) -> Body:
    """The body with an unknown field in its `task_info`, where it has one."""
    info = body.get("task_info")
    return body if info is None else {**body, "task_info": {**info, "worker": "gpu-17"}}


def _with_numeric_code(error: Body, status: int) -> Body:
    """The error object of older documentation (docs/fidelity.md, C): the code is the HTTP status."""
    older = {**error, "code": status if status >= 400 else 500}
    older.setdefault("param", None)
    older["fallback_suggestion"] = "try again later"
    return older
