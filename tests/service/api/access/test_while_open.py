"""A credential that ends, or becomes another's, while a stream is open or a body comes."""

import asyncio
from dataclasses import replace

import pytest
from tests.service.api.access.callers import CHAT, SESSIONS, shown
from tests.service.api.rig import problem, sse, take

from claude_agent_http.api import valid_response
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import StorageError


async def test_a_stream_ends_with_its_credential(wire, hers, known, monkeypatch):
    """As a whole response, not as a broken one; others' streams go on."""
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    path = f"{SESSIONS}/{hers}/events/stream"
    async with (
        asyncio.timeout(5),
        wire.stream("GET", path, headers=shown("alice")) as stream,
        wire.stream("GET", path, headers=shown("backend")) as other,
    ):
        items = sse(stream)
        while (await anext(items)).data["type"] != "session.status_idle":
            pass
        del known.callers["alice"]
        assert [item async for item in items] == []
        chat = {"session_id": hers, "message": "again"}
        await wire.post(CHAT, json=chat, headers=shown("backend"))
        await take(other, lambda sent: sent.data["seq"] > 8 and sent.data["type"] == "session.status_idle")
    problem(await wire.get(path, headers=shown("alice")), 401)


async def test_a_stream_ends_when_its_credential_becomes_another_callers(wire, hers, known, monkeypatch):
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    path = f"{SESSIONS}/{hers}/events/stream"
    async with asyncio.timeout(5), wire.stream("GET", path, headers=shown("alice")) as stream:
        items = sse(stream)
        while (await anext(items)).data["type"] != "session.status_idle":
            pass
        known.callers["alice"] = replace(known.callers["alice"], user_id="bob")
        assert [item async for item in items] == []


@pytest.mark.parametrize("pause", [0.005, 0.1])
@pytest.mark.parametrize("change", ["revoked", "another's"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", f"{SESSIONS}/{{}}/files/late.txt", b"x" * 100), ("POST", SESSIONS, b'{"subdir": "late"}')],
)
async def test_a_body_that_still_comes_when_its_credential_ends_does_nothing(
    wire, hers, known, service, monkeypatch, method, path, body, change, pause
):
    """Whether it comes in small pieces or not at all for a while."""
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    alice, ask, asked = known.callers["alice"], known.caller, asyncio.Event()

    async def noting(credential: str | None, **more: bool) -> Caller:
        caller = await ask(credential, **more)
        asked.set()
        return caller

    monkeypatch.setattr(known, "caller", noting)

    async def slowly():
        yield body[:1]
        await asked.wait()
        if change == "revoked":
            del known.callers["alice"]
        else:
            known.callers["alice"] = replace(alice, user_id="bob")
        for at in range(1, len(body)):
            await asyncio.sleep(pause if at < 10 else 0)
            yield body[at : at + 1]

    headers = {**shown("alice"), "Content-Type": "application/json"}
    late = await wire.request(method, path.format(hers), headers=headers, content=slowly())
    answer = problem(late, 401, "not_authenticated")
    assert "invalid_token" in late.headers["www-authenticate"]
    assert ("another caller's" in answer["detail"]) is (change != "revoked")
    known.callers["alice"] = alice
    listed = await wire.get(f"{SESSIONS}/{hers}/files", headers=shown("alice"))
    assert [one["path"] for one in listed.json()["data"]] == ["notes.txt"]
    assert (await wire.get(SESSIONS, headers=shown("alice"))).json() == [hers]


async def test_a_body_that_comes_slowly_is_taken_while_its_credential_is_good(wire, hers, monkeypatch):
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.005)

    async def slowly():
        for _ in range(10):
            await asyncio.sleep(0.01)
            yield b"x"

    path = f"{SESSIONS}/{hers}/files/slow.txt"
    assert (await wire.put(path, headers=shown("alice"), content=slowly())).status_code == 201
    assert (await wire.get(path, headers=shown("alice"))).content == b"x" * 10


async def test_a_stream_goes_on_while_the_database_does_not_answer(wire, hers, known, monkeypatch):
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    asked = asyncio.Event()

    async with wire.stream("GET", f"{SESSIONS}/{hers}/events/stream", headers=shown("alice")) as stream:
        good = known.caller

        async def broken(credential: str | None, *, suspect: bool = False) -> Caller:
            asked.set()
            raise StorageError("the database does not answer")

        known.caller = broken
        await asyncio.wait_for(asked.wait(), 5)
        known.caller = good
        await wire.post(CHAT, json={"session_id": hers, "message": "again"}, headers=shown("alice"))
        sent = await take(stream, lambda sent: sent.data["seq"] > 8)
        assert sent
