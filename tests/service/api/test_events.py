"""`/events` by pages and `/events/stream`: exactly what was missed, then live."""

import asyncio

import httpx
import pytest
from tests.service.api.rig import problem, sse, take
from tests.waiting import until

from claude_agent_http.runtime.fake import Cut, Hang, Say, UseTool, Wait

ENVELOPE = {"seq", "id", "type", "session_id", "turn_id", "processed_at"}


@pytest.fixture
def chat(wire, body):
    async def send(message="hi"):
        answer = await wire.post("/api/v1/chat", json=body(message))
        assert answer.status_code == 200, answer.text

    return send


@pytest.fixture
def address(session_id):
    return f"/api/v1/sessions/{session_id}/events"


def seqs(events):
    return [event["seq"] for event in events]


async def test_events_have_the_envelope_and_their_types_fields(wire, address, chat, session_id):
    await chat("hello")
    body = (await wire.get(address)).json()
    assert body["next_page"] is None
    assert seqs(body["data"]) == list(range(1, len(body["data"]) + 1))
    assert [event["type"] for event in body["data"]] == [
        "user.message",
        "session.status_running",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "session.usage",
        "session.status_idle",
    ]
    assert all(set(event) >= ENVELOPE and event["session_id"] == session_id for event in body["data"])
    assert body["data"][0]["content"] == [{"type": "text", "text": "hello"}]
    assert {event["turn_id"] for event in body["data"]} == {body["data"][0]["id"]}


async def test_a_tools_events_name_it_alike(wire, address, chat, service):
    service.says["hi"] = [UseTool("mcp__github__search"), UseTool("Bash")]
    await chat()
    kinds = ["agent.mcp_tool_use", "agent.tool_use", "agent.tool_started"]
    events = (await wire.get(address, params={"types[]": kinds})).json()["data"]
    named = [(event["type"], event["name"], event.get("mcp_server_name")) for event in events]
    assert named == [
        ("agent.mcp_tool_use", "search", "github"),
        ("agent.tool_started", "search", "github"),
        ("agent.tool_use", "Bash", None),
        ("agent.tool_started", "Bash", None),
    ]


async def test_pages_and_filters(wire, address, chat, service):
    service.says["hi"] = [Say("one"), UseTool(), Say("two")]
    await chat()
    whole = (await wire.get(address)).json()["data"]
    for size in (1, 3, len(whole) - 1, len(whole), len(whole) + 1):
        paged, params = [], {"limit": size}
        while True:
            page = (await wire.get(address, params=params)).json()
            paged += page["data"]
            if page["next_page"] is None:
                break
            assert len(page["data"]) == size
            params["page"] = page["next_page"]
        assert paged == whole
    for after in range(len(whole) + 2):
        assert (await wire.get(address, params={"after": after})).json()["data"] == whole[after:]
    wanted = {"agent.message", "agent.tool_use"}
    expected = [event for event in whole if event["type"] in wanted]
    assert len(expected) == 3
    for name in ("types[]", "type"):
        assert (await wire.get(address, params={name: sorted(wanted)})).json()["data"] == expected
    mixed = await wire.get(f"{address}?types[]=agent.message&type=agent.tool_use&limit=2")
    assert mixed.json()["data"] == expected[:2]
    assert mixed.json()["next_page"] is not None


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("type=agent.mesage", "'agent.message'"),
        ("types[]=session.status_idel", "'session.status_idle'"),
        ("types[]=", "nearest"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=-1", "after"),
        ("after=99999999999999999999", "after"),
        ("page=zzz", "next_page"),
        ("page=c2VxOi0x", "next_page"),
        ("page=%00%FF", "next_page"),
        ("page=" + "a" * 65, "page"),
    ],
)
async def test_bad_queries(wire, address, query, says):
    assert says in problem(await wire.get(f"{address}?{query}"), 422)["detail"]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "99999999999999999999", "1,2"])
async def test_bad_positions_of_a_stream(wire, address, value):
    for given in ({"params": {"after": value}}, {"headers": {"Last-Event-ID": value}}):
        problem(await wire.get(f"{address}/stream", **given), 422)


async def test_a_position_behind_the_logs_end_is_refused(wire, address, chat):
    await chat()
    last = (await wire.get(address)).json()["data"][-1]["seq"]
    for field, given in (
        ("after", {"params": {"after": last + 1}}),
        ("Last-Event-ID", {"headers": {"Last-Event-ID": str(last + 1)}, "params": {"after": "latest"}}),
    ):
        body = problem(await wire.get(f"{address}/stream", **given), 422)
        assert body["errors"][0]["field"] == field
        assert f"ends at {last}" in body["detail"]


def is_idle(sent):
    return sent.data["type"] == "session.status_idle"


async def test_a_finished_session_replays_from_every_point(wire, address, chat):
    await chat()
    whole = (await wire.get(address)).json()["data"]
    for last in range(len(whole)):
        headers = {"Last-Event-ID": str(last)}
        async with wire.stream("GET", f"{address}/stream", params={"after": 3}, headers=headers) as response:
            got = await take(response, is_idle)
        assert [sent.data for sent in got] == whole[last:]
        assert [sent.id for sent in got] == [str(event["seq"]) for event in whole[last:]]
        assert {sent.event for sent in got} == {"message"}


async def test_a_running_session_replays_from_every_point_then_goes_on_live(wire, address, chat, service):
    await chat("before")
    go = asyncio.Event()
    service.says["slow"] = [Say("one"), UseTool(), Wait(go), Say("two")]
    running = asyncio.create_task(chat("slow"))
    stored = 7 + 9
    await until_seq(service, address, stored)
    attached = [asyncio.Event() for _ in range(stored + 1)]

    async def read(last):
        got = []
        async with (
            asyncio.timeout(10),
            wire.stream("GET", f"{address}/stream", headers={"Last-Event-ID": str(last)}) as response,
        ):
            if last == stored:
                attached[last].set()
            async for sent in sse(response):
                got.append(sent.data)
                if sent.data["seq"] == stored:
                    attached[last].set()
                if sent.data["seq"] > stored and is_idle(sent):
                    return got
        raise AssertionError("the stream ended early")

    readers = [asyncio.create_task(read(last)) for last in range(stored + 1)]
    async with asyncio.timeout(5):
        for event in attached:
            await event.wait()
    go.set()
    await running
    whole = (await wire.get(address)).json()["data"]
    assert len(whole) > stored
    for last, reader in enumerate(readers):
        assert await reader == whole[last:]


async def until_seq(service, address, seq):
    async with asyncio.timeout(5):
        async for item in service.engine.follow(address.split("/")[4], after=0, deltas=False):
            if item.seq == seq:
                return


async def test_latest_shows_only_what_comes(wire, address, chat):
    await chat("before")
    async with wire.stream("GET", f"{address}/stream", params={"after": "latest"}) as response:
        await chat("after")
        got = await take(response, is_idle)
    assert got[0].data["content"][0]["text"] == "after"


async def test_deltas_are_dense_and_join_to_the_message(wire, address, chat, service):
    service.says["hi"] = [Say("so it is", thinking=True), Say("one two 😀 three"), Say("four", whole=True)]
    async with wire.stream("GET", f"{address}/stream", params={"deltas": True}) as response:
        await chat()
        got = await take(response, is_idle)
    pieces = [sent for sent in got if sent.data["type"] in ("event_start", "event_delta")]
    assert all(sent.id is None and sent.event == "message" for sent in pieces)
    starts = [sent.data["event"]["type"] for sent in pieces if sent.data["type"] == "event_start"]
    assert starts == ["agent.thinking", "agent.message"]
    message = next(sent.data for sent in got if sent.data["type"] == "agent.message")
    text = ""
    for sent in pieces:
        if sent.data["type"] == "event_delta":
            assert sent.data["event_id"] == message["id"]
            assert sent.data["offset"] == len(text)
            assert sent.data["delta"]["type"] == "content_delta"
            text += sent.data["delta"]["content"]["text"]
    assert text == message["content"][0]["text"] == "one two 😀 three"


async def test_what_is_withdrawn_is_told_between_the_deltas(wire, address, chat, service):
    service.says["hi"] = [Cut("one"), Say("two")]
    async with wire.stream("GET", f"{address}/stream", params={"deltas": True}) as response:
        await chat()
        got = await take(response, is_idle)
    unstored = [sent for sent in got if sent.id is None]
    assert [sent.data["type"] for sent in unstored] == [
        "event_start",
        "event_delta",
        "event_withdrawn",
        "event_start",
        "event_delta",
    ]
    assert {sent.event for sent in unstored} == {"message"}
    withdrawn = unstored[2].data["event_id"]
    assert withdrawn == unstored[0].data["event"]["id"]
    assert withdrawn not in {sent.data.get("id") for sent in got}


async def test_without_deltas_there_are_none(wire, address, chat):
    async with wire.stream("GET", f"{address}/stream") as response:
        await chat()
        got = await take(response, is_idle)
    assert all(sent.id for sent in got)


async def test_headers_of_a_stream(wire, address):
    async with wire.stream("GET", f"{address}/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"


async def test_a_stream_ends_when_its_session_is_deleted(wire, address, service, chat, session_id):
    service.says["slow"] = [Say("half"), Hang()]
    async with wire.stream("GET", f"{address}/stream") as response:
        running = asyncio.create_task(
            wire.post("/api/v1/chat", json={"session_id": session_id, "message": "slow"})
        )
        await service.until_logged(session_id, "agent.message")
        await wire.delete(f"/api/v1/sessions/{session_id}")
        got = await take(response, lambda _: False)
    assert got[0].data["type"] == "user.message"
    assert (got[-1].id, got[-1].data["type"]) == (None, "session.deleted")
    assert got[-1].data["session_id"] == session_id
    assert (await running).status_code == 404


async def test_streams_end_with_the_service(wire, address, chat, service):
    await chat()
    async with wire.stream("GET", f"{address}/stream") as response:
        reading = asyncio.create_task(take(response, lambda _: False))
        await service.engine.stop(0)
        assert (await reading)[-1].data["type"] == "session.status_idle"


async def test_a_reader_that_goes_away_leaves_nothing_behind(wire, address, chat, service, session_id):
    await chat()
    async with wire.stream("GET", f"{address}/stream") as response:
        await take(response, is_idle)
    async with asyncio.timeout(5):
        await asyncio.gather(*(task for task in asyncio.all_tasks() if "RequestResponseCycle" in repr(task)))


async def test_a_silent_stream_is_kept_alive(wire, address, monkeypatch):
    from claude_agent_http.api import sse as stream_settings

    monkeypatch.setitem(stream_settings.KEEP_ALIVE, "ping", 0.05)
    async with asyncio.timeout(5), wire.stream("GET", f"{address}/stream") as response:
        async for line in response.aiter_lines():
            if line.startswith(": ping"):
                break


async def test_odd_text_survives_pages_and_streams(wire, address, chat, service):
    service.says["odd"] = [Say("cut \ud83d\x00\r\n")]
    answer = await wire.post("/api/v1/chat", json={"session_id": address.split("/")[4], "message": "odd"})
    assert answer.status_code == 200
    page = (await wire.get(address, params={"type": "agent.message"})).json()["data"]
    assert page[0]["content"][0]["text"] == "cut \ud83d\x00\r\n"
    async with wire.stream("GET", f"{address}/stream") as response:
        got = await take(response, is_idle)
    assert page[0] in [sent.data for sent in got]


async def test_a_slow_reader_misses_nothing(wire, address, chat, service, session_id):
    service.says["long"] = [Say(f"{number} " * 50) for number in range(400)]
    async with wire.stream("GET", f"{address}/stream", params={"deltas": True}) as response:
        await chat("long")
        got = await take(response, is_idle)
    stored = [sent.data["seq"] for sent in got if sent.id]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) == 400 * 3 + 4


async def test_many_readers_see_the_same(wire, address, chat):
    async def read():
        limits = httpx.Limits(max_connections=1)
        async with (
            httpx.AsyncClient(base_url=wire.base_url, limits=limits, timeout=10) as own,
            own.stream("GET", f"{address}/stream") as response,
        ):
            return [sent.data for sent in await take(response, is_idle)]

    readers = [asyncio.create_task(read()) for _ in range(20)]
    await chat()
    seen = await asyncio.gather(*readers)
    assert all(one == seen[0] for one in seen)


async def test_reading_wakes_a_hibernated_session_only_when_asked(wire, address, chat, service, session_id):
    await chat()
    service.engine._live.hibernate(session_id)
    await until(lambda: not service.runtimes.alive)
    for asked, opened in (("false", 1), ("true", 2)):
        async with wire.stream("GET", f"{address}/stream", params={"wake": asked}) as response:
            await take(response, lambda sent: sent.id == "1")
        await until(lambda: service.engine.stats().live == service.engine.stats().runtimes)
        assert service.runtimes.opened == [session_id] * opened
