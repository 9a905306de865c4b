"""Errors as HTTP: the one table of status codes, and RFC 9457 problem details.

`detail` is always a readable string: clients of the former service read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from claude_agent_http.api.json_text import to_json
from claude_agent_http.api.rate_headers import rate_headers
from claude_agent_http.domain import errors
from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.domain.usage import seconds_until_tomorrow

__all__ = ["PROBLEM_JSON", "TurnFailedError", "handle_problems", "problem_of", "unforeseen"]

PROBLEM_JSON = "application/problem+json"


class TurnFailedError(Exception):
    """A turn that was waited for ended without an answer."""

    def __init__(self, error: TurnError) -> None:
        super().__init__(error.message)
        self.kind = error.kind


@dataclass(frozen=True, slots=True)
class _Rule:
    """`kind` is the problem's type; `retry_after` is in seconds, when the same request may work later."""

    status: int
    kind: str
    retry_after: int | None = None


# The nearest class in an error's ancestry counts.
_ERRORS: dict[type[Exception], _Rule] = {
    errors.SessionNotFoundError: _Rule(404, "session_not_found"),
    errors.ApiKeyNotFoundError: _Rule(404, "api_key_not_found"),
    errors.SessionConflictError: _Rule(409, "session_conflict"),
    errors.SessionClosedError: _Rule(409, "session_closed"),
    errors.NotAuthenticatedError: _Rule(401, "not_authenticated"),
    errors.IssuerError: _Rule(503, "issuer_failed", 5),
    errors.ForbiddenError: _Rule(403, "forbidden"),
    errors.InvalidInputError: _Rule(422, "invalid_input"),
    errors.BusyError: _Rule(429, "busy"),
    errors.RateLimitedError: _Rule(429, "rate_limited"),
    errors.BudgetReachedError: _Rule(402, "budget_reached"),
    errors.DayBudgetReachedError: _Rule(429, "day_budget_reached"),
    errors.DrainingError: _Rule(503, "draining"),
    errors.StorageFullError: _Rule(507, "storage_full"),
    errors.QuotaExceededError: _Rule(507, "quota_exceeded"),
    errors.StorageError: _Rule(503, "storage_failed", 5),
    errors.NotDeletedError: _Rule(503, "not_deleted", 5),
    errors.FilesElsewhereError: _Rule(503, "files_elsewhere", 5),
    errors.WorkspaceError: _Rule(500, "workspace_failed"),
    errors.ApprovalNotFoundError: _Rule(404, "approval_not_found"),
    errors.ApprovalConflictError: _Rule(409, "approval_decided"),
    errors.ApprovalOverError: _Rule(409, "approval_over"),
    errors.NoSuchFileError: _Rule(404, "file_not_found"),
    errors.FileRefusedError: _Rule(409, "file_refused"),
    errors.FileExistsAlreadyError: _Rule(412, "file_exists"),
    errors.RuntimeStartError: _Rule(502, "runtime_start_failed"),
    errors.RuntimeDiedError: _Rule(502, "runtime_died"),
    errors.TurnTimeoutError: _Rule(504, "turn_timeout"),
}

# 502: what answers behind us failed, and asking again at once may fail again. 503: it passes with time.
_TURNS: dict[ErrorKind, _Rule] = {
    ErrorKind.MODEL_OVERLOADED: _Rule(503, "model_overloaded", 10),
    ErrorKind.MODEL_RATE_LIMITED: _Rule(503, "model_rate_limited", 30),
    ErrorKind.MODEL_AUTHENTICATION: _Rule(502, "model_authentication"),
    ErrorKind.MODEL_REQUEST_FAILED: _Rule(502, "model_request_failed"),
    ErrorKind.MODEL_NOT_ALLOWED: _Rule(502, "model_not_allowed"),
    ErrorKind.BUDGET_REACHED: _Rule(402, "budget_reached"),
    ErrorKind.DAY_BUDGET_REACHED: _Rule(429, "day_budget_reached"),
    ErrorKind.MAX_TURNS: _Rule(502, "max_turns_reached"),
    ErrorKind.RUNTIME_DIED: _Rule(502, "runtime_died"),
    ErrorKind.RUNTIME_START_FAILED: _Rule(502, "runtime_start_failed"),
    ErrorKind.RUNTIME_UNRESPONSIVE: _Rule(502, "runtime_unresponsive"),
    ErrorKind.STORAGE_FAILED: _Rule(503, "storage_failed", 5),
    ErrorKind.STORAGE_FULL: _Rule(507, "storage_full"),
    ErrorKind.QUOTA_EXCEEDED: _Rule(507, "quota_exceeded"),
    ErrorKind.FILES_ELSEWHERE: _Rule(503, "files_elsewhere", 5),
    ErrorKind.SERVICE_RESTARTED: _Rule(503, "service_restarted", 5),
    ErrorKind.INTERNAL: _Rule(500, "internal_error"),
    ErrorKind.INTERRUPTED: _Rule(409, "interrupted"),
}

_UNFORESEEN = _Rule(500, "internal_error")
# What the framework says, and what of it helps a caller.
_FRAMEWORK = {
    "There was an error parsing the body": (
        "the body cannot be read: send JSON in UTF-8, not nested deeper than a few hundred levels"
    ),
    "Not Found": "there is nothing at this address; /docs lists every route",
    "Method Not Allowed": "this address does not take that method; /docs lists every route",
}


def handle_problems(api: FastAPI) -> None:
    """Answer for every error that a route can raise."""
    for kind in (errors.ClaudeAgentError, TurnFailedError, HTTPException, RequestValidationError):
        api.add_exception_handler(kind, _handle)


def problem_of(request: Request, error: Exception) -> Response:
    """The error as a problem; what the table does not know says nothing about itself."""
    response = _problem_of(request, error)
    if isinstance(error, errors.NotAuthenticatedError):
        # RFC 6750: what was shown and is not valid has an error code, what is missing has none.
        is_missing = isinstance(error, errors.CredentialMissingError)
        reason = "" if is_missing else ', error="invalid_token"'
        response.headers["WWW-Authenticate"] = f'Bearer realm="claude-agent-http"{reason}'
    if isinstance(error, errors.RateLimitedError):
        response.headers.update(rate_headers(error.standing))
    return response


def _problem_of(request: Request, error: Exception) -> Response:
    match error:
        case RequestValidationError():
            fields = [_field(given) for given in error.errors()]
            return _problem(request, _Rule(422, "invalid_input"), _joined(fields), fields)
        case errors.InvalidInputError(field=str(field)) | errors.ForbiddenError(field=str(field)):
            finding = {"field": field, "message": str(error).removeprefix(f"{field}: ")}
            return _problem(request, _rule(error), str(error), [finding])
        case TurnFailedError():
            return _problem(request, _of_turn(error.kind), str(error))
        case HTTPException():
            return _from_framework(request, error)
        case errors.ClaudeAgentError() if (rule := _rule(error)) is not _UNFORESEEN:
            return _problem(request, rule, str(error))
    return unforeseen(request)


def unforeseen(request: Request) -> Response:
    """A generic 500; the log has the rest under the request's id."""
    request_id = getattr(request.state, "request_id", "unknown")
    detail = f"the service failed to handle this request; its log says why under request id {request_id}"
    return _problem(request, _UNFORESEEN, detail)


async def _handle(request: Request, error: Exception) -> Response:
    if isinstance(error, errors.ClaudeAgentError) and _rule(error) is _UNFORESEEN:
        raise error
    return problem_of(request, error)


def _rule(error: errors.ClaudeAgentError) -> _Rule:
    rule = next((_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS), _UNFORESEEN)
    if isinstance(error, errors.BusyError):
        return _Rule(rule.status, rule.kind, error.retry_after)
    return rule


def _of_turn(kind: ErrorKind) -> _Rule:
    rule = _TURNS[kind]
    if kind is ErrorKind.DAY_BUDGET_REACHED:
        return replace(rule, retry_after=seconds_until_tomorrow(datetime.now(UTC)))
    return rule


def _from_framework(request: Request, error: HTTPException) -> Response:
    phrase = HTTPStatus(error.status_code).phrase
    response = _problem(
        request,
        _Rule(error.status_code, phrase.lower().replace(" ", "_")),
        _FRAMEWORK.get(error.detail, error.detail or phrase),
    )
    response.headers.update(error.headers or {})
    return response


def _problem(request: Request, rule: _Rule, detail: str, fields: Sequence[dict[str, str]] = ()) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:claude-agent-http:problem:{rule.kind}",
        "title": HTTPStatus(rule.status).phrase,
        "status": rule.status,
        "detail": detail,
        "instance": request.url.path,
    }
    if fields:
        body["errors"] = list(fields)
    headers = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
    return Response(to_json(body), rule.status, headers, PROBLEM_JSON)


def _field(given: dict[str, Any]) -> dict[str, str]:
    """One finding of the validation, as the caller knows the field."""
    if given["type"] == "json_invalid":
        reason = given["ctx"]["error"]
        return {"field": "body", "message": f"is not valid JSON at character {given['loc'][1]}: {reason}"}
    place, *names = given["loc"]
    message = str(given["msg"]).removeprefix("Value error, ")
    return {"field": ".".join(map(str, names)) or str(place), "message": message}


def _joined(fields: Sequence[dict[str, str]]) -> str:
    return "; ".join(f"{field['field']}: {field['message']}" for field in fields)
