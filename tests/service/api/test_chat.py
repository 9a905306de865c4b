"""`POST /api/v1/chat`: the whole answer, and every way in which there is none."""

import asyncio
import json
from datetime import datetime

import pytest
from tests.service.api.rig import problem, serving

from claude_agent_http.domain.errors import StorageError, StorageFullError
from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.engine import Limits
from claude_agent_http.runtime.fake import Die, Fail, Hang, Say, UseTool, Wait

CHAT = "/api/v1/chat"
UNKNOWN = "6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"


@pytest.fixture
def chat(client, body):
    async def send(message="hi", **fields):
        return await client.post(CHAT, json=body(message, **fields))

    return send


async def test_the_answer_has_text_and_tool_calls(chat, service, session_id):
    service.says["hi"] = [
        Say("hm", thinking=True),
        Say("Let me look. "),
        UseTool("Bash", {"command": "ls"}),
        UseTool("mcp__github__search", {"q": "x"}),
        Say("Done.", whole=True),
    ]
    answer = await chat()
    assert answer.status_code == 200
    body = answer.json()
    assert datetime.fromisoformat(body.pop("timestamp")).tzinfo is not None
    assert body == {
        "session_id": session_id,
        "text": "Let me look. \n\nDone.",
        "tool_calls": [
            {"tool": "Bash", "input": {"command": "ls"}},
            {"tool": "mcp__github__search", "input": {"q": "x"}},
        ],
    }
    assert answer.headers["x-stop-reason"] == "end_turn"


async def test_nothing_is_read_from_the_log_of_a_turn_that_runs_here(chat, service, monkeypatch):
    reads = []
    read = service.store.events.read

    async def counted(*args, **more):
        reads.append(args)
        return await read(*args, **more)

    monkeypatch.setattr(service.store.events, "read", counted)
    for number in range(20):
        assert (await chat(str(number))).json()["text"] == f"You said: {number}"
    assert reads == []


@pytest.mark.parametrize("message", ["x" * 100_000, "a\x00b", "😀", "\u200d👩\u200d👧", " a ", "ﬃ\u0301"])
async def test_messages_arrive_as_they_are(chat, message):
    assert (await chat(message)).json()["text"] == f"You said: {message}"


async def test_the_longest_message_arrives_however_it_is_escaped(client, chat, service, session_id):
    message = "😀" * 100_000
    body = json.dumps({"session_id": session_id, "message": message}, ensure_ascii=True)
    answer = await client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["text"] == f"You said: {message}"


async def test_an_agents_odd_text_arrives_too(chat, service):
    service.says["hi"] = [Say("cut \ud83d"), UseTool("Bash", {"command": "\udc00"})]
    body = (await chat()).json()
    assert body["text"] == "cut \ud83d"
    assert body["tool_calls"][0]["input"] == {"command": "\udc00"}


@pytest.mark.parametrize(
    "message",
    ["", " ", "\t\r\n", "\u3000", "\u200b\ufeff\u2060", "\x00", "\u00ad", "x" * 100_001, 1, None],
)
@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/stream"])
async def test_bad_messages(client, session_id, path, message):
    answer = await client.post(path, json={"session_id": session_id, "message": message})
    assert problem(answer, 422)["errors"][0]["field"] == "message"


async def test_a_lone_surrogate_is_refused(client, session_id):
    body = f'{{"session_id": "{session_id}", "message": "a\\ud800"}}'
    answer = await client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert problem(answer, 422)["errors"][0]["field"] == "message"


@pytest.mark.parametrize("timeout", [0, 0.99, 600.1, -1, "x", None, "NaN"])
async def test_bad_timeouts(chat, timeout):
    assert problem(await chat(timeout=timeout), 422)["errors"][0]["field"] == "timeout"


@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/stream"])
@pytest.mark.parametrize("odd", [UNKNOWN, "x", "", "'; --"])
async def test_unknown_sessions(client, path, odd):
    problem(await client.post(path, json={"session_id": odd, "message": "hi"}), 404, "session_not_found")


async def test_two_turns_at_once(client, chat, service, session_id):
    go = asyncio.Event()
    service.says["slow"] = [Wait(go), Say("slow")]
    first = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "user.message")
    for path in (CHAT, f"{CHAT}/stream"):
        second = await client.post(path, json={"session_id": session_id, "message": "hi"})
        problem(second, 429, "busy")
        assert second.headers["retry-after"] == "1"
    go.set()
    assert (await first).json()["text"] == "slow"
    assert (await chat()).status_code == 200


async def test_too_many_turns_at_once(tmp_path, create):
    import httpx

    async with (
        serving(tmp_path, Limits(prestart=False, max_turns_at_once=1)) as small,
        httpx.AsyncClient(transport=httpx.ASGITransport(small.api), base_url="http://test") as client,
    ):
        one, other = await create(client), await create(client)
        small.says["slow"] = [Hang()]
        first = asyncio.create_task(client.post(CHAT, json={"session_id": one, "message": "slow"}))
        await small.until_logged(one, "user.message")
        answer = await client.post(CHAT, json={"session_id": other, "message": "hi"})
        assert "limit of 1 turns at once" in problem(answer, 429)["detail"]
        await client.post(f"/api/v1/sessions/{one}/interrupt")
        await first


async def test_a_timeout_ends_the_turn_and_not_the_session(chat, service):
    service.says["slow"] = [Say("begun"), Hang()]
    answer = await chat("slow", timeout=1)
    assert "timeout of 1 s" in problem(answer, 504, "turn_timeout")["detail"]
    assert (await chat()).json()["text"] == "You said: hi"


async def test_an_interrupted_turn_is_answered_with_what_there_is(client, chat, service, session_id):
    service.says["slow"] = [Say("begun"), Hang()]
    asked = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "agent.message")
    answer = await client.post(f"/api/v1/sessions/{session_id}/interrupt")
    assert (answer.status_code, answer.json()) == (202, {"interrupted": True})
    ended = await asked
    assert (ended.status_code, ended.json()["text"]) == (200, "begun")
    assert ended.headers["x-stop-reason"] == "interrupted"
    idle = await client.post(f"/api/v1/sessions/{session_id}/interrupt")
    assert (idle.status_code, idle.json()) == (202, {"interrupted": False})


async def test_a_session_deleted_under_its_turn(client, chat, service, session_id):
    service.says["slow"] = [Say("begun"), Hang()]
    asked = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "agent.message")
    assert (await client.delete(f"/api/v1/sessions/{session_id}")).status_code == 204
    problem(await asked, 404)


async def test_draining(chat, service, session_id):
    service.says["slow"] = [Say("begun"), Hang()]
    asked = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "agent.message")
    await service.engine.stop(0)
    cut = await asked
    problem(cut, 503, "draining")
    refused = await chat()
    problem(refused, 503, "draining")
    assert cut.headers["retry-after"] == refused.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    ("kind", "status", "wait"),
    [
        (ErrorKind.MODEL_OVERLOADED, 503, "10"),
        (ErrorKind.MODEL_RATE_LIMITED, 503, "30"),
        (ErrorKind.MODEL_AUTHENTICATION, 502, None),
        (ErrorKind.MODEL_REQUEST_FAILED, 502, None),
        (ErrorKind.MODEL_NOT_ALLOWED, 502, None),
        (ErrorKind.BUDGET_REACHED, 402, None),
        (ErrorKind.MAX_TURNS, 502, None),
        (ErrorKind.RUNTIME_DIED, 502, None),
        (ErrorKind.RUNTIME_START_FAILED, 502, None),
        (ErrorKind.RUNTIME_UNRESPONSIVE, 502, None),
        (ErrorKind.STORAGE_FAILED, 503, "5"),
        (ErrorKind.STORAGE_FULL, 507, None),
        (ErrorKind.QUOTA_EXCEEDED, 507, None),
        (ErrorKind.FILES_ELSEWHERE, 503, "5"),
        (ErrorKind.SERVICE_RESTARTED, 503, "5"),
        (ErrorKind.INTERNAL, 500, None),
        (ErrorKind.INTERRUPTED, 409, None),
    ],
)
async def test_every_failure_of_a_turn(chat, service, kind, status, wait):
    service.says["fail"] = [Fail(TurnError(kind, "what went wrong"))]
    answer = await chat("fail")
    assert problem(answer, status)["detail"] == "what went wrong"
    assert answer.headers.get("retry-after") == wait
    assert (await chat()).status_code == 200


def test_no_failure_is_left_out():
    marks = test_every_failure_of_a_turn.pytestmark[0].args[1]
    assert {case[0] for case in marks} == set(ErrorKind) - {ErrorKind.DAY_BUDGET_REACHED}


async def test_a_day_budget_spent_in_a_turn_comes_back_with_the_next_utc_day(chat, service):
    service.says["hello"] = [Fail(TurnError(ErrorKind.DAY_BUDGET_REACHED, "spent"))]
    answer = await chat("hello")
    assert problem(answer, 429)["type"].endswith(":day_budget_reached")
    assert 0 < int(answer.headers["retry-after"]) <= 86_400


async def test_max_turns_is_an_answer_when_something_was_done(chat, service):
    reached = Fail(TurnError(ErrorKind.MAX_TURNS, "too many"))
    for done, text in ((Say("half"), "half"), (UseTool(), "")):
        service.says["long"] = [done, reached]
        answer = await chat("long")
        assert (answer.status_code, answer.json()["text"]) == (200, text)
        assert answer.headers["x-stop-reason"] == "max_turns_reached"


async def test_an_agent_that_dies_or_does_not_start(chat, service):
    service.says["die"] = [Say("half"), Die("exit code 137")]
    assert problem(await chat("die"), 502, "runtime_died")["detail"] == "exit code 137"
    service.runtimes.start_failures.append("no AVX")
    assert problem(await chat(), 502, "runtime_start_failed")["detail"] == "no AVX"
    assert (await chat()).status_code == 200


@pytest.mark.parametrize(("error", "status"), [(StorageFullError("full"), 507), (StorageError("gone"), 503)])
@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/stream"])
async def test_a_message_that_cannot_be_stored(client, service, session_id, path, error, status):
    service.store.events.error = error
    body = {"session_id": session_id, "message": "hi"}
    assert problem(await client.post(path, json=body), status)["detail"] == str(error)
    service.store.events.error = None
    assert (await client.post(CHAT, json=body)).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(StorageFullError("full"), 507, "storage_full"), (StorageError("gone"), 503, "storage_failed")],
)
async def test_a_storage_failure_in_the_turn(chat, service, session_id, error, status, kind):
    go = asyncio.Event()
    service.says["slow"] = [Wait(go), Say("lost")]
    asked = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "session.status_running")
    service.store.events.error = error
    go.set()
    problem(await asked, status, kind)
    service.store.events.error = None
    assert (await chat()).json()["text"] == "You said: hi"
