"""The real service over HTTP: whatever the OpenAPI document allows, or forbids, is answered as it says."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from tests.proof import PROOF, amount
from tests.service.api.test_openapi import APPROVAL, CONFIG, FILE, KNOWN, ON_A_SESSION, ROUTES, give_file
from tests.service.e2e.service_process import Services

pytestmark = [pytest.mark.tier("cli", "linux"), pytest.mark.timeout(1800)]

BOUNDED = settings(
    max_examples=amount(5, 40),
    deadline=None,
    derandomize=not PROOF,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    made = Services()
    service = made.start(CLAUDE_AGENT_PRESTART="false")
    config = SchemathesisConfig.from_dict(CONFIG | {"request-timeout": 30})
    yield schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=config)
    made.end()


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_any_request_is_answered_as_documented(
    schema: Any, method: str, path: str, mode: GenerationMode, proven: Counter[str]
) -> None:
    @BOUNDED
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate()
        proven["requests over HTTP"] += 1

    try:
        answered()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE


@pytest.mark.parametrize(("method", "path"), ON_A_SESSION)
def test_requests_on_a_session_are_answered_as_documented(
    schema: Any, method: str, path: str, proven: Counter[str]
) -> None:
    """Streams too: three of their events are read."""
    create = schema["/api/v1/sessions"]["POST"]
    chat = schema["/api/v1/chat"]["POST"]
    answers: list[int] = []

    @BOUNDED
    @given(case=schema[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def answered(case: Any) -> None:
        create.Case(body={"user_id": "alice", "session_id": KNOWN}, media_type="application/json").call()
        if path.endswith("/events/stream"):
            # From the first event on, of which there are enough: nobody waits for more.
            chat.Case(body={"session_id": KNOWN, "message": "hello"}, media_type="application/json").call()
            case.query["after"], case.headers = 0, {}
        if "session_id" in case.path_parameters:
            case.path_parameters["session_id"] = KNOWN
        else:
            # A first turn may take longer than the shortest timeout.
            case.body |= {"session_id": KNOWN, "timeout": 60}
        if path == FILE and method != "PUT":
            give_file(schema, case)
        answers.append(case.call_and_validate().status_code)
        proven["requests over HTTP"] += 1

    answered()
    assert path == APPROVAL or any(status < 300 for status in answers)
