"""What the OpenAPI document says beside the routes themselves: their errors, as problems."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from claude_agent_http.api.access import Access, declared
from claude_agent_http.api.models import ApprovalChunk, ChatChunk, Problem
from claude_agent_http.api.problems import PROBLEM_JSON
from claude_agent_http.api.stream_models import EVENT_STREAM_MODELS

__all__ = ["BINARY", "DESCRIPTION", "TAGS", "documented", "event_stream", "with_problems"]

DESCRIPTION = """
Sessions of the Claude agent over HTTP. Create a session, send it messages, and read its event log, which
holds everything that happened, at any time and from any point.

Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem whose `detail` says what to do.
Each response carries an `X-Request-Id`.
"""

TAGS = [
    {"name": "sessions", "description": "Create, find, resume and delete conversations."},
    {"name": "chat", "description": "Send a message and get the answer, whole or as it is written."},
    {"name": "approvals", "description": "Tools that wait until somebody allows them."},
    {"name": "events", "description": "The session's event log: the truth behind every other view."},
    {"name": "files", "description": "The files of the session's folder."},
    {"name": "usage", "description": "What sessions and users used of models, and what it cost."},
    {"name": "users", "description": "Erase a user with all that is stored of them."},
    {"name": "admin", "description": "Give API keys out and take them back."},
    {"name": "service", "description": "What this is and how it is."},
]

_MEANINGS = {
    400: "The body cannot be read as JSON in UTF-8, or is a part of a file.",
    401: "No credential was shown, or none that is valid.",
    402: "The session's budget is spent; no time gives it another.",
    403: "The caller may not do this; `errors` names the value that is not theirs, if it is one.",
    404: "There is no such session that is open to the caller, no such key, or nothing at this path.",
    408: "The body did not come whole within 30 s, or a file came too slowly.",
    409: (
        "The session is closed, the id or key was used with other values, the path is no file's, or the "
        "approval was decided otherwise or is over."
    ),
    412: "The file exists already.",
    413: "The body is larger than 2 MB, or a file than `api.max_upload_mb`.",
    415: "The body is not declared as `application/json`, or a file is declared as packed.",
    416: "The file has none of the bytes that `Range` asks for.",
    421: "The service listens on a local address, and `Host` is no local name.",
    422: "A value is not acceptable; `errors` names the fields.",
    429: (
        "A limit is reached for now: the session is busy, too many turns run or files are open, or a day's "
        "budget is spent."
    ),
    500: "The service failed; its log says why under the request's id.",
    502: "The model or the agent's process failed.",
    503: "Not now: the service is stopping, its database does not answer, or the model is overloaded.",
    504: "The turn took longer than `timeout` and was interrupted; the session can be used again.",
    507: "The disk is full, or the user takes more of it than `user.quota_mb`.",
}
BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_RETRIED = frozenset({429, 503})
_BODY = (400, 408, 413, 415, 422)
_ALWAYS = (421, 500, 503)
_REFUSALS = {Access.OPEN: (), Access.OWNER: (401,), Access.CALLER: (401, 403), Access.ADMIN: (401, 403)}
_SCHEMES = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a JSON Web Token."},
}
_REFERENCE = {"$ref": "#/components/schemas/Problem"}


def documented(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can end with these statuses; `body`: it takes JSON."""
    every = {*statuses, *_ALWAYS, *(_BODY if body else ())}
    return {status: _response(status) for status in sorted(every)}


def event_stream(description: str, example: str, *models: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers with Server-Sent Events whose `data` is one of `models` as JSON."""
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    schema = {"anyOf": references} if len(references) > 1 else references[0]
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    texts = {name: {"type": "string"} for name in ("event", "id")}
    event = {"type": "object", "properties": {"data": data, **texts}, "required": ["data"]}
    content = {"text/event-stream": {"itemSchema": event, "example": example}}
    return {200: {"description": description, "content": content}}


def with_problems(api: FastAPI, *, asks_who: bool) -> None:
    """Let the document have our error responses alone, with the schema that they refer to. `asks_who`: who
    calls has to show a credential."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = generate()
            _drop_framework_errors(document)
            _add_access(document, api, asks_who=asks_who)
            for model in (ApprovalChunk, ChatChunk, Problem, *EVENT_STREAM_MODELS):
                document["components"]["schemas"] |= _schemas(model)
            api.openapi_schema = document
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _drop_framework_errors(document: dict[str, Any]) -> None:
    """FastAPI documents its own 422 on every route that takes anything and does not name one."""
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    for operation in (one for path in document["paths"].values() for one in path.values()):
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]


def _add_access(document: dict[str, Any], api: FastAPI, *, asks_who: bool) -> None:
    """`x-access` of each operation says who may ask it (`Access`)."""
    if asks_who:
        document["components"]["securitySchemes"] = _SCHEMES
        document["security"] = [{name: []} for name in _SCHEMES]
    for route in declared(api):
        for method in route.methods:
            operation = document["paths"][route.path][method.lower()]
            operation["x-access"] = route.access.value
            operation["responses"] |= {str(status): _response(status) for status in _REFUSALS[route.access]}
            if route.access is Access.OPEN:
                operation["security"] = []


def _schemas(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _response(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": _MEANINGS[status],
        "content": {PROBLEM_JSON: {"schema": _REFERENCE}},
    }
    if status in _RETRIED:
        schema = {"type": "integer", "minimum": 0}
        response["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": schema}}
    return response
