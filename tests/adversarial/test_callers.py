"""What a caller with a key of its own can learn of another user, and do to the service, by requests alone."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from tests.service.e2e.client import script
from tests.service.e2e.service_process import ServiceProcess, Services

pytestmark = [
    pytest.mark.tier("cli", "landlock"),
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

_KEYS = {user: f"{user}-{40 * '0'}" for user in ("eve", "bob")}
_SECRET = "what only bob may read"
# What tries to be more than a text, in whatever field.
_INJECTIONS = (
    "'; DROP TABLE sessions; --",
    '" OR "1"="1',
    "$(touch /tmp/injected)",
    "{{7*7}}",
    "%(session_id)s%n",
    'x\n{"level":"error","event":"forged"}',
    "x\r\nSet-Cookie: forged=1",
    "\u2028\u202e\x1b[31mforged",
    "../../bob",
    "..%2f..%2fbob",
    "\x00bob",
)


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceProcess]:
    services = Services()
    made = services.make(None, CLAUDE_AGENT_AUTH="api-keys", CLAUDE_AGENT_AUTH_KEYS_DIR="keys")
    (made.folder / "keys").mkdir()
    for user, key in _KEYS.items():
        (made.folder / "keys" / user).write_text(json.dumps({"key": key, "user_id": user}))
    yield made.start()
    services.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with _caller(service, "bob") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def eve(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with _caller(service, "eve") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secret(bob: httpx.AsyncClient, service: ServiceProcess) -> str:
    """Bob's session, in which something was said and a file lies."""
    session = await _created(bob)
    said = await bob.post("/api/v1/chat", json={"session_id": session, "message": _SECRET})
    assert said.status_code == 200, said.text
    (service.users / "bob" / "file").write_text(_SECRET)
    return session


def _caller(service: ServiceProcess, user: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=service.url, headers={"X-Api-Key": _KEYS[user]}, timeout=60, trust_env=False
    )


async def _created(client: httpx.AsyncClient, **fields: object) -> str:
    answer = await client.post("/api/v1/sessions", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session_id"])


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


async def test_the_time_tells_nothing_of_others(eve: httpx.AsyncClient, secret: str) -> None:
    known, unknown = [], []
    for _ in range(150):
        known.append(await _seconds(eve, secret))
        unknown.append(await _seconds(eve, str(uuid4())))
    assert abs(median(known) - median(unknown)) < 0.5 * median(unknown)


async def _seconds(client: httpx.AsyncClient, session: str) -> float:
    began = time.perf_counter()
    assert (await client.get(f"/api/v1/sessions/{session}")).status_code == 404
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "path", ["../bob/file", "%2e%2e/bob/file", "..%2fbob%2ffile", "%2Fetc%2Fpasswd", "link", "folder/file"]
)
async def test_a_path_leads_out_of_no_workspace(
    eve: httpx.AsyncClient, service: ServiceProcess, secret: str, path: str
) -> None:
    own = await _created(eve)
    _link_to_bob(service.users)
    answer = await eve.get(f"/api/v1/sessions/{own}/files/{path}")
    assert answer.status_code in (400, 404, 409, 422), answer.text
    assert _SECRET not in answer.text


def _link_to_bob(users: Path) -> None:
    for name, target in (("link", "file"), ("folder", "")):
        if not (users / "eve" / name).is_symlink():
            (users / "eve" / name).symlink_to(users / "bob" / target)


@pytest.mark.parametrize("text", _INJECTIONS, ids=repr)
async def test_a_text_is_a_text_in_every_field(
    eve: httpx.AsyncClient, bob: httpx.AsyncClient, service: ServiceProcess, secret: str, text: str
) -> None:
    bodies = ({"user_id": text}, {"subdir": text}, {"metadata": {"a": text}}, {"session_id": text}, {text: 1})
    answers = [await eve.post("/api/v1/sessions", json=body) for body in bodies]
    answers += [
        await eve.get("/api/v1/sessions", params={"user_id": text, "after": text}),
        await eve.get(f"/api/v1/sessions/{quote(text, safe='')}"),
        await eve.post("/api/v1/chat", json={"session_id": text, "message": text}),
        await eve.get("/health", headers={"X-Request-Id": text.encode("unicode_escape").decode()}),
    ]
    assert {answer.status_code for answer in answers} <= {200, 201, 400, 403, 404, 405, 422}, answers
    assert all("forged" not in "".join(answer.headers.values()) for answer in answers)
    assert all("set-cookie" not in answer.headers for answer in answers)
    assert (await bob.get(f"/api/v1/sessions/{secret}")).status_code == 200
    assert not _was_run()
    assert all(isinstance(json.loads(line), dict) for line in _log_lines(service))
    assert all(json.loads(line).get("event") != "forged" for line in _log_lines(service))
    assert "\x1b[31mforged" not in service.log


def _was_run() -> bool:
    return Path("/tmp/injected").exists()


def _log_lines(service: ServiceProcess) -> list[str]:
    return [line for line in (service.folder / "err.log").read_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("field", ["cli_path", "settings", "hooks", "env", "permission_mode", "cwd"])
async def test_a_request_chooses_nothing_of_how_an_agent_runs(eve: httpx.AsyncClient, field: str) -> None:
    given = {field: {"hooks": {"SessionStart": []}} if field in ("settings", "hooks") else "/tmp/evil"}
    answer = await eve.post("/api/v1/sessions", json=given)
    if answer.status_code == 201:  # What it does not know it passes over, as its predecessor did.
        assert "/tmp/evil" not in answer.text
    else:
        assert answer.status_code == 422


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
                body = {"session_id": await _created(client, user_id="eve"), "message": message}
                assert (await client.post("/api/v1/chat", json=body)).status_code == 200
        assert (service.users / "eve" / ".claude" / "settings.json").exists()
        assert (service.users / "eve" / "hooked").exists() == reads
    finally:
        services.end()
