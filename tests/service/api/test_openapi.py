"""The OpenAPI document: it names every route with its errors, and what the service does is what it says."""

import asyncio
import re

import pytest
import schemathesis
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from tests.proof import PROOF, amount
from tests.service.api.rig import build

from claude_agent_http.auth import KnownCallers
from claude_agent_http.domain.caller import Caller
from claude_agent_http.engine import Limits

ANYWHERE = {421, 500}
REFUSALS = {"open": set(), "owner": {401}, "caller": {401, 403}, "admin": {401, 403}}
ROUTES = {
    ("GET", "/"): set(),
    ("GET", "/health"): {503},
    ("GET", "/livez"): set(),
    ("GET", "/readyz"): {503},
    ("POST", "/api/v1/sessions"): {400, 408, 409, 413, 415, 422, 503, 507},
    ("GET", "/api/v1/sessions"): {422, 503},
    ("GET", "/api/v1/sessions/{session_id}"): {404, 503},
    ("DELETE", "/api/v1/sessions/{session_id}"): {404, 503, 507},
    ("POST", "/api/v1/sessions/{session_id}/resume"): {404, 503, 507},
    ("POST", "/api/v1/sessions/{session_id}/interrupt"): {404, 503},
    ("POST", "/api/v1/chat"): {400, 402, 404, 408, 409, 413, 415, 422, 429, 502, 503, 504, 507},
    ("POST", "/api/v1/chat/stream"): {400, 402, 404, 408, 409, 413, 415, 422, 429, 503, 504, 507},
    ("GET", "/api/v1/sessions/{session_id}/events"): {404, 422, 503},
    ("GET", "/api/v1/sessions/{session_id}/events/stream"): {404, 422, 503},
    ("GET", "/api/v1/sessions/{session_id}/approvals"): {404, 503},
    ("POST", "/api/v1/sessions/{session_id}/approvals/{approval_id}"): {
        *(400, 404, 408, 409, 413, 415, 422, 503, 507),
    },
    ("GET", "/api/v1/sessions/{session_id}/files"): {404, 409, 422, 429, 503},
    ("GET", "/api/v1/sessions/{session_id}/files/{path}"): {404, 409, 416, 422, 429, 503},
    ("HEAD", "/api/v1/sessions/{session_id}/files/{path}"): {404, 409, 422, 429, 503},
    ("PUT", "/api/v1/sessions/{session_id}/files/{path}"): {
        *(400, 404, 408, 409, 412, 413, 415, 422, 429, 503, 507),
    },
    ("DELETE", "/api/v1/sessions/{session_id}/files/{path}"): {404, 409, 422, 429, 503},
    ("GET", "/api/v1/sessions/{session_id}/usage"): {404, 503},
    ("GET", "/api/v1/usage"): {422, 503},
    ("DELETE", "/api/v1/users/{user_id}"): {422, 429, 503, 507},
    ("GET", "/api/v1/admin/audit"): {422, 503},
    ("POST", "/api/v1/admin/keys"): {400, 408, 413, 415, 422, 503, 507},
    ("GET", "/api/v1/admin/keys"): {422, 503},
    ("DELETE", "/api/v1/admin/keys/{key_id}"): {404, 422, 503, 507},
}
STREAMS = {"/api/v1/chat/stream", "/api/v1/sessions/{session_id}/events/stream"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Runs in schemathesis' own event loop, where nobody stops it: its runtimes end by themselves. What it
    does from time to time ends with the loop that it was started in."""
    limits = Limits(prestart=False, idle_seconds=0.1, max_turns_at_once=50)
    service = build(tmp_path_factory.mktemp("users"), limits)
    asyncio.run(service.engine.start())
    return service


@pytest.fixture(scope="module")
def document(service):
    return service.api.openapi()


def test_every_route_is_listed_and_documents_its_errors(service, document):
    listed = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(listed) == set(ROUTES)
    for key, operation in listed.items():
        documented = {int(status) for status in operation["responses"] if int(status) >= 400}
        assert documented - ANYWHERE == ROUTES[key] | REFUSALS[operation["x-access"]], key
        assert operation["summary"]
        assert operation["tags"]
        for status in documented - ({503} if key[1] == "/health" else set()):
            response = operation["responses"][str(status)]
            assert set(response["content"]) == {"application/problem+json"}
            assert ("headers" in response) == (status in (429, 503)), (key, status)


def test_streams_are_documented_as_such(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            good = next(
                operation["responses"][code]
                for code in ("200", "201", "202", "204")
                if code in operation["responses"]
            )
            assert ("text/event-stream" in good.get("content", {})) == (path in STREAMS)


def test_every_reference_leads_somewhere(document):
    schemas = document["components"]["schemas"]
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert "Problem" in names
    assert names <= set(schemas)
    assert "HTTPValidationError" not in schemas


# 403 of the routes for keys, which nobody manages where nobody is asked who they are.
# 304 and 416 are what conditions about a file ask for.
POSITIVE = ["2xx", "304", "403", "404", "409", "416", "422", "429"]
NEGATIVE = ["400", "403", "404", "405", "406", "409", "413", "415", "422", "5xx"]
CONFIG = {
    # A schema cannot say all of what makes a path safe or JSON small, so 422 may answer what fits it.
    "checks": {
        "positive_data_acceptance": {"expected-statuses": POSITIVE},
        "negative_data_rejection": {"expected-statuses": NEGATIVE},
    },
    "request-timeout": 5,
    "max-stream-events": 3,
}
BOUNDED = settings(
    max_examples=amount(25, 200),
    deadline=None,
    derandomize=not PROOF,
    database=None,
    suppress_health_check=list(HealthCheck),
)
KNOWN = "6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"
ON_A_SESSION = [key for key in ROUTES if "session_id" in key[1] or "chat" in key[1]]
# Only an agent can make one.
APPROVAL = "/api/v1/sessions/{session_id}/approvals/{approval_id}"
FILE = "/api/v1/sessions/{session_id}/files/{path}"
ENDLESS = ("GET", "/api/v1/sessions/{session_id}/events/stream")


@pytest.fixture(scope="module")
def schema(service):
    config = SchemathesisConfig.from_dict(CONFIG)
    return schemathesis.openapi.from_asgi("/openapi.json", service.api, config=config)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_any_request_is_answered_as_documented(schema, method, path, mode):
    operation = schema[path][method]

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case):
        case.call_and_validate()

    try:
        answered()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE


@pytest.mark.parametrize(("method", "path"), [key for key in ON_A_SESSION if key != ENDLESS])
def test_requests_on_a_session_are_answered_as_documented(schema, method, path):
    """Fuzzing by itself would see nothing but 404 of these routes."""
    create = schema["/api/v1/sessions"]["POST"]
    operation = schema[path][method]
    answers = []

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def answered(case):
        create.Case(body={"user_id": "alice", "session_id": KNOWN}, media_type="application/json").call()
        if "session_id" in case.path_parameters:
            case.path_parameters["session_id"] = KNOWN
        else:
            case.body["session_id"] = KNOWN
        if path == FILE and method != "PUT":
            give_file(schema, case)
        answers.append(case.call_and_validate().status_code)

    answered()
    assert path == APPROVAL or any(status < 300 for status in answers)


def give_file(schema, case):
    """Let a request be about a file that is there."""
    case.path_parameters["path"] = "known"
    place = {"session_id": KNOWN, "path": "known"}
    kind = "application/octet-stream"
    assert (
        schema[FILE]["PUT"].Case(path_parameters=place, body=b"x", media_type=kind).call().status_code < 300
    )


def test_no_route_is_missing_from_the_document(service):
    served = {
        (method, route.path_format)
        for route in iter_route_contexts(service.api.routes)
        if isinstance(route.original_route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    assert served == set(ROUTES)


@pytest.fixture(scope="module")
def asking_schema(tmp_path_factory):
    """Of a service that asks who calls, whose requests show a credential."""
    callers = KnownCallers({"root": Caller("root", acts_for_any=True, is_admin=True, credential="key:root")})
    limits = Limits(prestart=False, idle_seconds=0.1, max_turns_at_once=50)
    made = build(tmp_path_factory.mktemp("users"), limits, authenticator=callers)
    asyncio.run(made.engine.start())
    config = SchemathesisConfig.from_dict(CONFIG)
    return schemathesis.openapi.from_asgi("/openapi.json", made.api, config=config)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_request_is_answered_without_its_credential(asking_schema, method, path):
    """schemathesis takes the credential away, or shows another, and wants 401 for it."""

    @settings(BOUNDED, max_examples=amount(3, 30))
    @given(case=asking_schema[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def answered(case):
        for name in ("Authorization", "X-Api-Key"):  # one of its own making, for each scheme
            case.headers.pop(name, None)
        case.call_and_validate(headers={"X-Api-Key": "root"})

    answered()
