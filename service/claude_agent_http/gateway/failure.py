"""Failures in the Messages API's own shape, so that the CLI tries again where it helps."""

from starlette.responses import JSONResponse, Response

__all__ = ["failure"]

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


def failure(
    status: int, message: str, *, retry_after: int | None = None, retries: bool | None = None
) -> Response:
    """`retries` tells the CLI whether to ask again (None: as it does with such a status by itself);
    `retry_after` is in seconds."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    if retries is not None:
        headers["x-should-retry"] = "true" if retries else "false"
    body = {"type": "error", "error": {"type": _TYPES.get(status, "api_error"), "message": message}}
    return JSONResponse(body, status, headers)
