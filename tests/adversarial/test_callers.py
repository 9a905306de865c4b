"""What a caller with a key of its own can learn of another user, and do to the service, by requests alone."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from tests.adversarial.callers import caller, created, start_with_keys
from tests.service.e2e.client import script
from tests.service.e2e.service_process import ServiceProcess, Services

pytestmark = [
    pytest.mark.tier("cli", "landlock"),
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

_SECRET = "what only bob may read"
_LOOKS = 300
_TELLING = 0.1


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceProcess]:
    services = Services()
    yield start_with_keys(services, CLAUDE_AGENT_LIMITS_REQUESTS_PER_MINUTE="0")
    services.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(service, "bob") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def eve(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(service, "eve") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secret(bob: httpx.AsyncClient, service: ServiceProcess) -> str:
    """Bob's session, in which something was said and a file lies."""
    session = await created(bob)
    said = await bob.post("/api/v1/chat", json={"session_id": session, "message": _SECRET})
    assert said.status_code == 200, said.text
    (service.users / "bob" / "file").write_text(_SECRET)
    return session


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/events/stream"),
        ("GET", "/files"),
        ("GET", "/files/file"),
        ("GET", "/approvals"),
        ("POST", "/resume"),
        ("POST", "/interrupt"),
    ],
)
async def test_a_guessed_id_opens_nothing(
    eve: httpx.AsyncClient, bob: httpx.AsyncClient, secret: str, method: str, path: str
) -> None:
    url = f"/api/v1/sessions/{secret}{path}"
    headers = {"Last-Event-ID": "1"} if path.endswith("stream") else {}
    refused = await eve.request(method, url, headers=headers)
    unknown = await eve.request(method, url.replace(secret, str(uuid4())), headers=headers)
    assert (refused.status_code, unknown.status_code) == (404, 404)
    assert _SECRET not in refused.text
    async with bob.stream(method, url, headers=headers) as allowed:
        assert allowed.status_code in (200, 202)


@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/chat/stream"])
async def test_nobody_speaks_for_another(eve: httpx.AsyncClient, secret: str, path: str) -> None:
    refused = await eve.post(path, json={"session_id": secret, "message": "what did I say?"})
    assert refused.status_code == 404
    assert _SECRET not in refused.text


async def test_a_list_tells_nothing_of_others(eve: httpx.AsyncClient, secret: str) -> None:
    assert secret not in (await eve.get("/api/v1/sessions")).json()
    assert (await eve.get("/api/v1/sessions", params={"user_id": "bob"})).status_code == 403
    assert (await eve.post("/api/v1/sessions", json={"user_id": "bob"})).status_code == 403
    assert (await eve.delete("/api/v1/users/bob")).status_code == 403


async def test_the_time_tells_nothing_of_others(
    eve: httpx.AsyncClient, bob: httpx.AsyncClient, secret: str
) -> None:
    """Where the session is bob's own, the same look does tell."""
    assert await _difference(bob, secret) > _TELLING
    assert await _difference(eve, secret) < _TELLING


async def _difference(client: httpx.AsyncClient, known: str) -> float:
    """How much longer the answer about this id takes than about one that nobody has, as a part of that. Asked
    in turns, and by the fastest of each: what else the machine does makes none faster."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_LOOKS):
        for taken, session in zip(times, (known, str(uuid4())), strict=True):
            began = time.perf_counter()
            await client.get(f"/api/v1/sessions/{session}/events")
            taken.append(time.perf_counter() - began)
    of_known, of_unknown = (sorted(taken)[_LOOKS // 20] for taken in times)
    return abs(of_known / of_unknown - 1)


@pytest.mark.parametrize(
    "path", ["../bob/file", "%2e%2e/bob/file", "..%2fbob%2ffile", "%2Fetc%2Fpasswd", "link", "folder/file"]
)
async def test_a_path_leads_out_of_no_workspace(
    eve: httpx.AsyncClient, service: ServiceProcess, secret: str, path: str
) -> None:
    own = await created(eve)
    _link_to_bob(service.users)
    answer = await eve.get(f"/api/v1/sessions/{own}/files/{path}")
    assert answer.status_code in (400, 404, 409, 422), answer.text
    assert _SECRET not in answer.text


def _link_to_bob(users: Path) -> None:
    for name, target in (("link", "file"), ("folder", "")):
        if not (users / "eve" / name).is_symlink():
            (users / "eve" / name).symlink_to(users / "bob" / target)


@pytest.mark.parametrize("reads", [False, True], ids=["by default", "where project settings are on"])
async def test_hooks_that_an_agent_writes_run_only_where_they_are_wanted(reads: bool) -> None:
    """In its own workspace, whose next agent it then would be that runs them: still in a jail."""
    services = Services()
    try:
        sources = {"CLAUDE_AGENT_DEFAULTS_SETTING_SOURCES": "project"} if reads else {}
        service = services.start(None, **sources)
        hook = {"hooks": [{"type": "command", "command": "touch hooked; ls $OLDPWD/.. > listed 2>&1"}]}
        settings = json.dumps({"hooks": {"UserPromptSubmit": [hook]}})
        file = {"file_path": str(service.users / "eve" / ".claude" / "settings.json"), "content": settings}
        async with httpx.AsyncClient(base_url=service.url, timeout=60, trust_env=False) as client:
            for message in (script({"tool": "Write", "input": file}), "hello"):
                body = {"session_id": await created(client, user_id="eve"), "message": message}
                assert (await client.post("/api/v1/chat", json=body)).status_code == 200
        assert (service.users / "eve" / ".claude" / "settings.json").exists()
        assert (service.users / "eve" / "hooked").exists() == reads
    finally:
        services.end()
