"""`/`, `/health`, the probes, the docs, and what holds for every response."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.service.api.rig import problem, serving

from claude_agent_http.api.body_limit import MAX_BODY_BYTES, BodyLimit
from claude_agent_http.runtime.fake import Wait
from claude_agent_http.system.loopback import LoopbackServer

SESSIONS = "/api/v1/sessions"


async def test_root_tells_where_things_are(client):
    answer = (await client.get("/")).json()
    assert answer["name"] == "claude-agent-http"
    assert (answer["version"], answer["docs"], answer["health"]) == ("1.2.3", "/docs", "/health")
    assert answer["model"]["mode"] == "demo"
    assert "ANTHROPIC_API_KEY" in answer["model"]["hint"]


async def test_health_has_every_field_of_the_former_service(client, create):
    await create(client)
    answer = await client.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("model")["mode"] == "demo"
    assert body.pop("isolation") == {"mode": "required", "landlock": 7, "missing": []}
    assert body == {
        "status": "healthy",
        "version": "1.2.3",
        "active_sessions": 1,
        "in_memory_clients": 0,
        "memory_mb": 100,
        "storage_type": "memory",
        "uptime_seconds": 1.5,
        "hint": None,
    }


async def test_unhealthy_is_503_with_the_same_fields(client, service):
    service.state["status"] = "unhealthy"
    answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"


async def test_degraded_is_200_for_a_restart_would_not_mend_it(client, service):
    service.state["status"] = "degraded"
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


async def test_probes(client, service):
    assert (await client.get("/livez")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200
    service.state["reason"] = "draining"
    assert "draining" in problem(await client.get("/readyz"), 503)["detail"]
    assert (await client.get("/livez")).status_code == 200


async def test_docs_need_no_other_host(client):
    page = (await client.get("/docs")).text
    addresses = [piece.split('"')[0] for piece in page.split('src="')[1:] + page.split('href="')[1:]]
    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        assert (await client.get(address)).status_code == 200


async def test_unknown_paths_and_methods(client):
    problem(await client.get("/nothing"), 404)
    answer = await client.put("/health")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("path", [SESSIONS, "/api/v1/chat", "/api/v1/chat/stream"])
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b'{"user_id": "alice"}', 415),
        ({}, b'{"user_id": "alice"}', 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"user_id=alice", 415),
        ({"Content-Type": "application/json"}, b"{not json", 422),
        ({"Content-Type": "application/json"}, b"", 422),
        ({"Content-Type": "application/json"}, b"[]", 422),
        ({"Content-Type": "application/json"}, b"null", 422),
        ({"Content-Type": "application/json"}, b'{"user_id": "\xff"}', 400),
        ({"Content-Type": "application/json"}, b"[" * 100_000, 400),
        ({"Content-Type": "application/json"}, b'{"user_id": ' + b"9" * 5000 + b"}", 400),
        ({"Content-Type": "application/json"}, b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)
async def test_bodies_that_are_no_request(client, path, headers, body, status):
    problem(await client.post(path, content=body, headers=headers), status)


async def test_a_streamed_body_is_cut_at_the_limit(wire):
    sent = 0

    async def endless():
        nonlocal sent
        while sent < 50 * MAX_BODY_BYTES:
            sent += 65_536
            yield b" " * 65_536

    answer = await wire.post(SESSIONS, content=endless(), headers={"Content-Type": "application/json"})
    problem(answer, 413)


async def test_a_body_that_does_not_come_is_not_waited_for(service):
    async with LoopbackServer(BodyLimit(service.api, seconds=0.2)) as server:
        url = httpx.URL(server.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"POST {SESSIONS} HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\n"
        writer.write(f'{head}Content-Length: 30\r\n\r\n{{"user_id": '.encode())
        async with asyncio.timeout(5):
            answer = await reader.read()  # to the end: the service closes the connection
        writer.close()
    status, _, body = answer.decode().partition("\r\n")
    assert status.startswith("HTTP/1.1 408 ")
    assert "the body did not come whole within 0.2 s" in body


async def trickled(size: int, pause: float, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield b"x" * size
        await asyncio.sleep(pause)  # the attack is slowness itself


async def test_a_file_that_trickles_in_is_not_waited_for(service, create):
    """Something comes all the time, and far too little; a steady one may take longer than its first pause."""
    async with (
        LoopbackServer(BodyLimit(service.api, seconds=0.3, upload_bytes=10**6)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=10) as client,
    ):
        address = f"{SESSIONS}/{await create(client)}/files/a"
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
        writer.write(f"PUT {address} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
        # No further than that: who still writes when the server has closed is reset.
        answer = asyncio.create_task(reader.readuntil(b"bytes a second"))
        async for byte in trickled(1, 0.05, 100):
            if answer.done():
                break
            writer.write(byte)
        assert (await answer).startswith(b"HTTP/1.1 408 ")
        writer.close()
        assert os.listdir(service.folder / "alice") == []
        steady = await client.put(address, content=trickled(5_000, 0.05, 20))
        assert steady.status_code == 201
        assert steady.json()["size"] == 100_000


async def test_who_waits_for_an_answer_has_sent_the_body(service, create):
    service.says["slowly"] = [Wait(asyncio.Event())]
    async with (
        LoopbackServer(BodyLimit(service.api, seconds=0.2)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=10) as client,
    ):
        body = {"session_id": await create(client), "message": "slowly", "timeout": 1}
        problem(await client.post("/api/v1/chat", json=body), 504)
        await service.engine.stop(0)


async def test_json_of_another_name_is_json(client):
    headers = {"Content-Type": "application/vnd.api+json; charset=utf-8"}
    answer = await client.post(SESSIONS, content=b'{"user_id": "alice"}', headers=headers)
    assert answer.status_code == 201


async def test_a_sane_request_id_is_taken_over(client):
    given = await client.get("/livez", headers={"X-Request-Id": "trace-1:a.b"})
    assert given.headers["x-request-id"] == "trace-1:a.b"
    for odd in ("has space", "x" * 129, 'quote"', ""):
        made = (await client.get("/livez", headers={"X-Request-Id": odd})).headers["x-request-id"]
        assert made.startswith("req_")


@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/chat/stream"])
async def test_the_log_tells_which_request_began_which_turn(client, service, create, caplog, path):
    session_id = await create(client)
    with caplog.at_level(logging.INFO):
        body = {"session_id": session_id, "message": "hi"}
        await client.post(path, json=body, headers={"X-Request-Id": "trace-1"})
    [logged] = [record for record in caplog.records if getattr(record, "request_id", "") == "trace-1"]
    [message, *_] = await service.engine.events(session_id)
    assert (logged.turn_id, logged.session_id, logged.user_id) == (message.turn_id, session_id, "alice")


@pytest.mark.parametrize(
    ("method", "path", "knows_the_user"),
    [
        ("GET", "", True),
        ("POST", "/resume", True),
        ("POST", "/interrupt", False),
        ("GET", "/events", False),
        ("DELETE", "", False),
    ],
)
async def test_the_log_tells_of_whom_a_request_was(client, create, caplog, method, path, knows_the_user):
    caplog.set_level(logging.INFO)
    session_id = await create(client)
    assert [(one.session_id, one.user_id) for one in requests(caplog)] == [(session_id, "alice")]
    caplog.clear()
    assert (await client.request(method, f"{SESSIONS}/{session_id.upper()}{path}")).is_success
    [logged] = requests(caplog)
    assert logged.session_id == session_id
    assert getattr(logged, "user_id", None) == ("alice" if knows_the_user else None)


async def test_the_log_tells_of_whom_a_failed_request_was(client, service, create, caplog):
    caplog.set_level(logging.INFO)
    session_id = await create(client)
    service.store.sessions_error = RuntimeError("unforeseen")
    assert (await client.get(f"{SESSIONS}/{session_id}")).status_code == 500
    refused = {"session_id": session_id, "message": "hi"}
    assert (await client.post("/api/v1/chat", json=refused)).status_code == 500
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.session_id for record in failed] == [session_id, session_id]
    assert [record.session_id for record in requests(caplog)] == [session_id] * 3


async def test_an_unforeseen_error_says_nothing_but_its_id(client, service, caplog):
    service.store.sessions_error = RuntimeError("password=hunter2")
    with caplog.at_level(logging.ERROR):
        answer = await client.get(SESSIONS)
    body = problem(answer, 500, "internal_error")
    assert answer.headers["x-request-id"] in body["detail"]
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text
    assert "Traceback" in caplog.text


async def test_cors_is_off_unless_origins_are_named(client, tmp_path):
    origin = {"Origin": "https://app.example"}
    assert "access-control-allow-origin" not in (await client.get("/livez", headers=origin)).headers
    for origins, expected in ((["https://app.example"], "https://app.example"), (["*"], "*")):
        async with (
            serving(tmp_path, cors_origins=origins) as other,
            httpx.AsyncClient(transport=httpx.ASGITransport(other.api), base_url="http://test") as browser,
        ):
            headers = (await browser.get("/livez", headers=origin)).headers
            assert headers["access-control-allow-origin"] == expected
            assert ("access-control-allow-credentials" in headers) == (expected != "*")
            stranger = await browser.get("/livez", headers={"Origin": "https://evil.example"})
            assert stranger.headers.get("access-control-allow-origin") == ("*" if expected == "*" else None)


def requests(caplog):
    """The line of each request."""
    return [record for record in caplog.records if record.getMessage() == "request"]
