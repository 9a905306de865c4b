"""`POST /api/v1/chat/stream`: tokens as they come, and how the stream ends."""

import asyncio

import pytest
from tests.service.api.rig import sse

from claude_agent_http.domain.errors import StorageFullError
from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.runtime.fake import Cut, Die, Fail, Hang, Say, UseTool, Wait

STREAM = "/api/v1/chat/stream"


FIELDS = ["type", "text", "tool_name", "tool_input", "error"]


@pytest.fixture
def chat(wire, body):
    """The chunks of one streamed turn, without the fields that are null."""

    async def read(message="hi", **fields):
        request = wire.stream("POST", STREAM, json=body(message, **fields))
        async with asyncio.timeout(10), request as response:
            assert response.status_code == 200
            chunks = [sent.data async for sent in sse(response)]
        assert all(list(chunk) == FIELDS for chunk in chunks)
        return [{name: value for name, value in chunk.items() if value is not None} for chunk in chunks]

    return read


def joined(chunks):
    """The chunks, with neighbouring pieces of text as one: how they are cut depends on when they are read."""
    whole: list[dict] = []
    for chunk in chunks:
        if chunk["type"] == "text_delta" and whole and whole[-1]["type"] == "text_delta":
            whole[-1]["text"] += chunk["text"]
        else:
            whole.append(chunk)
    return whole


def text_of(chunks):
    return "".join(chunk["text"] for chunk in chunks if chunk["type"] == "text_delta")


async def test_nothing_is_read_from_the_log_of_a_turn_that_runs_here(chat, service, monkeypatch):
    reads = []
    read = service.store.events.read

    async def counted(*args, **more):
        reads.append(args)
        return await read(*args, **more)

    monkeypatch.setattr(service.store.events, "read", counted)
    for _ in range(20):
        assert (await chat())[-1] == {"type": "done"}
    assert reads == []


async def test_tokens_and_tools_in_order(chat, service):
    service.says["hi"] = [
        Say("secret thoughts", thinking=True),
        Say("one two"),
        UseTool("mcp__github__search", {"q": "x"}),
        Say("three", whole=True),
    ]
    assert joined(await chat()) == [
        {"type": "text_delta", "text": "one two"},
        {"type": "tool_use", "tool_name": "mcp__github__search", "tool_input": {"q": "x"}},
        {"type": "text_delta", "text": "\n\nthree"},
        {"type": "done"},
    ]


async def test_the_lines_and_headers_are_what_clients_parse(wire, body):
    async with wire.stream("POST", STREAM, json=body()) as response:
        raw = (await response.aread()).decode()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-request-id"]
    first, *_, last = raw.split("\n\n")[:-1]
    assert first.startswith('data: {"type":"text_delta","text":"You')
    assert first.endswith('","tool_name":null,"tool_input":null,"error":null}')
    assert last == 'data: {"type":"done","text":null,"tool_name":null,"tool_input":null,"error":null}'


async def test_tokens_come_before_the_turn_ends(wire, service, body):
    go = asyncio.Event()
    service.says["slow"] = [Say("first"), Wait(go), Say("second")]
    async with wire.stream("POST", STREAM, json=body("slow")) as response:
        chunks = sse(response)
        async with asyncio.timeout(5):
            assert (await anext(chunks)).data["text"] == "first"
            go.set()
            assert [sent.data.get("text") async for sent in chunks] == ["\n\nsecond", None]


async def test_streamed_text_is_the_answers_text(chat, service):
    text = "".join(f" {number}\n😀\u2028\u2029\x85\x0b\x1c" for number in range(500))
    service.says["long"] = [Say(text), Say(text, whole=True)]
    assert text_of(await chat("long")) == f"{text}\n\n{text}"


async def test_only_this_turns_items(chat):
    await chat("first")
    assert text_of(await chat("second")) == "You said: second"


async def test_odd_text_arrives(chat, service):
    service.says["odd"] = [Say("cut \ud83d"), UseTool("Bash", {"command": "\udc00\r\n"})]
    chunks = await chat("odd")
    assert text_of(chunks) == "cut \ud83d"
    assert chunks[-2]["tool_input"] == {"command": "\udc00\r\n"}


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([Say("half"), Fail(TurnError(ErrorKind.MODEL_OVERLOADED, "overloaded"))], "overloaded"),
        ([Say("half"), Fail(TurnError(ErrorKind.MAX_TURNS, "too many"))], "too many"),
        ([Say("half"), Die("exit code 137")], "exit code 137"),
    ],
)
async def test_failures_end_with_error(chat, service, steps, error):
    service.says["fail"] = steps
    assert (await chat("fail"))[-2:] == [
        {"type": "text_delta", "text": "half"},
        {"type": "error", "error": error},
    ]
    assert (await chat())[-1] == {"type": "done"}


async def test_a_timeout_ends_with_error_and_the_session_goes_on(chat, service):
    service.says["slow"] = [Say("half"), Hang()]
    chunks = await chat("slow", timeout=1)
    assert chunks[-1]["type"] == "error"
    assert "timeout of 1 s" in chunks[-1]["error"]
    assert (await chat())[-1] == {"type": "done"}


async def test_an_interrupt_ends_with_done(wire, chat, service, session_id):
    service.says["slow"] = [Say("half"), Hang()]
    reading = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "agent.message")
    await wire.post(f"/api/v1/sessions/{session_id}/interrupt")
    assert await reading == [{"type": "text_delta", "text": "half"}, {"type": "done"}]


async def test_a_deleted_session_ends_with_error(wire, chat, service, session_id):
    service.says["slow"] = [Say("half"), Hang()]
    reading = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "agent.message")
    await wire.delete(f"/api/v1/sessions/{session_id}")
    assert (await reading)[-1]["type"] == "error"


async def test_a_drain_ends_with_error(chat, service, session_id):
    service.says["slow"] = [Say("half"), Hang()]
    reading = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "agent.message")
    await service.engine.stop(0)
    assert "shutting down" in (await reading)[-1]["error"]


async def test_an_end_that_the_log_cannot_show(chat, service, session_id):
    go = asyncio.Event()
    service.says["slow"] = [Wait(go), Say("said but not stored")]
    reading = asyncio.create_task(chat("slow"))
    await service.until_logged(session_id, "session.status_running")
    service.store.events.error = StorageFullError("full")
    go.set()
    chunks = await reading
    assert chunks[-1]["type"] == "error"
    assert "stored" in chunks[-1]["error"]
    service.store.events.error = None
    assert (await chat())[-1] == {"type": "done"}


async def test_the_next_message_may_follow_done_at_once(chat):
    for number in range(30):
        assert text_of(await chat(str(number))) == f"You said: {number}"


async def test_a_client_that_goes_away_does_not_end_its_turn(wire, service, session_id, body):
    go = asyncio.Event()
    service.says["slow"] = [Say("first"), Wait(go), Say("second")]
    async with wire.stream("POST", STREAM, json=body("slow")) as response:
        await anext(sse(response))
    go.set()
    await service.until_logged(session_id, "session.status_idle")
    events = await service.log(session_id)
    texts = [event.data["content"][0]["text"] for event in events if event.type.value == "agent.message"]
    assert texts == ["first", "second"]
    assert "user.interrupt" not in {event.type.value for event in events}


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([Say("one two three")], "one two three"),
        ([Say("one two three", whole=True)], "one two three"),
        ([Say("one two")], "one two"),
        ([Say("one two", whole=True)], "one two"),
        ([Cut("one"), Say("one two three")], "one two three"),
        ([Cut("one two three"), Say("one two three four")], "one two three four"),
        ([Say("something else")], "one two\n\nsomething else"),
        ([Say("one three")], "one two\n\none three"),
        ([Say("one")], "one two\n\none"),
        ([Cut("else"), Say("else again")], "one two\n\nelse again"),
        ([UseTool("Bash", {}), Say("one two three")], "one two\n\none two three"),
        ([Say("hm", thinking=True), Say("one two three"), Say("one two")], "one two three\n\none two"),
        ([], "one two"),
    ],
)
async def test_what_was_shown_and_then_withdrawn_is_not_shown_twice(wire, service, body, steps, text):
    shown, said, last = asyncio.Event(), "", None
    service.says["hi"] = [Say("so:"), Cut("one two", shown), *steps]
    async with asyncio.timeout(5), wire.stream("POST", STREAM, json=body()) as response:
        async for sent in sse(response):
            last, said = sent.data["type"], said + (sent.data["text"] or "")
            if said == "so:\n\none two":
                shown.set()
    assert (said, last) == (f"so:\n\n{text}", "done")


async def test_text_that_was_withdrawn_for_good_stays_before_the_error(wire, service, body):
    shown, chunks = asyncio.Event(), []
    service.says["hi"] = [Cut("half", shown), Fail(TurnError(ErrorKind.MODEL_OVERLOADED, "overloaded"))]
    async with asyncio.timeout(5), wire.stream("POST", STREAM, json=body()) as response:
        async for sent in sse(response):
            chunks.append(sent.data)
            shown.set()
    assert [chunk["text"] or chunk["error"] for chunk in chunks] == ["half", "overloaded"]
