"""The demo model over HTTP: the stream's framing, faults, bad input and what it records."""

import asyncio
import contextlib
import json
import time

import httpx
import pytest

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.system.loopback import LoopbackServer


async def events(client, body):
    """The stream as (event, data) pairs; each frame is exactly an event line and a data line."""
    answer = await client.post("/v1/messages", json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in answer.text.removesuffix("\n\n").split("\n\n")]
    pairs = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]
    assert all(name == data["type"] for name, data in pairs)
    return pairs


async def read_until_closed(client, body):
    """What a stream carried before the server closed it half-way."""
    received = []
    with contextlib.suppress(httpx.RemoteProtocolError):
        async with client.stream("POST", "/v1/messages", json={**body, "stream": True}) as answer:
            async for text in answer.aiter_text():
                received.append(text)
        pytest.fail("the stream ended as if it were whole")
    return "".join(received)


def error_of(answer):
    assert answer.json()["type"] == "error"
    return answer.status_code, answer.json()["error"]["type"]


async def test_a_stream_carries_every_block_in_order(model, ask):
    command = "echo " + "x" * 200
    step = {"thinking": "hm so", "text": "你好 a b", "tool": "Bash", "input": {"command": command}}
    pairs = await events(model, ask({**step, "usage": {"input_tokens": 5, "output_tokens": 6}}))
    names = [name for name, _ in pairs if name not in {"content_block_delta", "ping"}]
    assert names == [
        "message_start",
        *["content_block_start", "content_block_stop"] * 3,
        "message_delta",
        "message_stop",
    ]
    deltas = [(data["index"], data["delta"]) for name, data in pairs if name == "content_block_delta"]
    assert "".join(delta.get("thinking", "") for index, delta in deltas if index == 0) == "hm so"
    assert [delta["type"] for index, delta in deltas if index == 0][-1] == "signature_delta"
    assert "".join(delta["text"] for index, delta in deltas if index == 1) == "你好 a b"
    given = "".join(delta["partial_json"] for index, delta in deltas if index == 2)
    assert json.loads(given) == {"command": command}
    start, end = pairs[0][1]["message"], pairs[-2][1]
    assert (start["model"], start["role"], start["usage"]["input_tokens"]) == ("claude-test", "assistant", 5)
    assert (end["delta"]["stop_reason"], end["usage"]["output_tokens"]) == ("tool_use", 6)


async def test_n_tokens_are_n_deltas(model, ask):
    pairs = await events(model, ask({"tokens": 250}))
    texts = [data["delta"]["text"] for name, data in pairs if name == "content_block_delta"]
    assert len(texts) == 250
    assert "".join(texts).split()[-1] == "tok249"


async def test_without_stream_the_message_is_whole(model, ask):
    answer = await model.post("/v1/messages", json=ask({"text": "hi"}, stream=False))
    message = answer.json()
    assert (message["type"], message["stop_reason"]) == ("message", "end_turn")
    assert message["content"] == [{"type": "text", "text": "hi"}]


async def test_tool_use_ids_differ_between_answers(model, ask):
    body = ask({"tools": [{"tool": "Bash"}, {"tool": "Bash"}]})
    answers = [(await model.post("/v1/messages", json=body)).json() for _ in range(2)]
    assert len({block["id"] for answer in answers for block in answer["content"]}) == 4


async def test_pauses_are_kept(model, ask):
    start = time.monotonic()
    await events(model, ask({"tokens": 5, "first_ms": 100, "delay_ms": 50}))
    assert time.monotonic() - start >= 0.1 + 4 * 0.05


async def test_a_status_fails_as_often_as_asked(model, ask):
    body = ask({"status": 529, "times": 2, "retry_after": 3, "text": "at last"})
    answers = [await model.post("/v1/messages", json=body) for _ in range(3)]
    assert [error_of(answer) for answer in answers[:2]] == [(529, "overloaded_error")] * 2
    assert answers[0].headers["retry-after"] == "3"
    assert answers[2].json()["content"][0]["text"] == "at last"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
    ],
)
async def test_a_status_without_times_always_fails(model, ask, status, kind):
    for _ in range(3):
        assert error_of(await model.post("/v1/messages", json=ask({"status": status}))) == (status, kind)


async def test_cut_closes_after_n_tokens(model, ask):
    received = await read_until_closed(model, ask({"tokens": 9, "cut": 4}))
    assert received.count("text_delta") == 4


async def test_garbage_is_no_event_stream(model, ask):
    answer = await model.post("/v1/messages", json=ask({"garbage": True}, stream=True))
    assert answer.status_code == 200
    assert b"event:" not in answer.content


async def test_stall_sends_the_start_and_then_nothing_until_it_closes(model, ask):
    start = time.monotonic()
    received = await read_until_closed(model, ask({"stall": 0.3}))
    assert time.monotonic() - start >= 0.3
    assert received.count("event:") == received.count("event: message_start") == 1


async def test_hang_sends_not_a_byte(model, ask):
    with pytest.raises(httpx.ReadTimeout):
        await model.post("/v1/messages", json=ask({"hang": 60}), timeout=0.3)


@pytest.mark.parametrize("step", [{"hang": 600}, {"stall": 600}, {"tokens": 600, "delay_ms": 60_000}])
async def test_the_server_ends_at_once_though_answers_are_pending(ask, step):
    app, arrived = create_demo_model(), asyncio.Event()

    async def noticing(scope, receive, send):
        if scope["type"] == "http":
            arrived.set()
        await app(scope, receive, send)

    async with httpx.AsyncClient(timeout=30) as client:
        async with LoopbackServer(noticing, grace_seconds=0) as server:
            pending = asyncio.create_task(
                client.post(f"{server.url}/v1/messages", json=ask(step, stream=True))
            )
            async with asyncio.timeout(10):
                await arrived.wait()
            start = time.monotonic()
        assert time.monotonic() - start < 1.5
        with pytest.raises(httpx.HTTPError):
            await pending


async def test_a_client_that_goes_away_ends_its_answer(ask):
    app, started, ended = create_demo_model(), asyncio.Event(), asyncio.Event()

    async def noticing(scope, receive, send):
        is_request = scope["type"] == "http"
        if is_request:
            started.set()
        await app(scope, receive, send)
        if is_request:
            ended.set()

    async with LoopbackServer(noticing) as server:
        async with httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(f"{server.url}/v1/messages", json=ask({"hang": 600})))
            async with asyncio.timeout(5):
                await started.wait()
            asking.cancel()
            await asyncio.wait({asking}, timeout=5)
        async with asyncio.timeout(5):
            await ended.wait()
    assert ended.is_set()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": ""}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 5}]}]},
            "content.0.content",
        ),
        ({"tools": 3}, "tools"),
        ({"metadata": "x"}, "metadata"),
        ({"system": 3}, "system"),
        ({"stream": "yes"}, "stream"),
    ],
)
async def test_a_body_outside_the_schema_is_refused_by_name(model, ask, change, named):
    answer = await model.post("/v1/messages", json={**ask("hi"), **change})
    assert error_of(answer) == (400, "invalid_request_error")
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"messages": null}'])
async def test_a_body_that_is_no_request_is_refused(model, body):
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        assert error_of(await model.post(path, content=body)) == (400, "invalid_request_error")


async def test_a_script_that_cannot_be_played_is_refused(model, ask):
    answer = await model.post("/v1/messages", json=ask('{"script": 1}'))
    assert error_of(answer) == (400, "invalid_request_error")


async def test_a_body_past_32_mb_is_refused(model):
    answer = await model.post("/v1/messages", content=b" " * (32 * 1024 * 1024 + 1))
    assert error_of(answer) == (413, "request_too_large")


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/v1/models"), ("POST", "/v2/messages")])
async def test_other_paths_are_not_found_in_anthropics_shape(model, method, path):
    assert error_of(await model.request(method, path)) == (404, "not_found_error")


async def test_tokens_are_counted(model, ask):
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 4000}]}
    count = (await model.post("/v1/messages/count_tokens", json=body)).json()["input_tokens"]
    assert 1000 <= count < 1100


async def test_health(model):
    assert (await model.get("/healthz")).status_code == 200


async def test_requests_are_recorded_without_credentials(model, ask):
    body = ask("hello", system=[{"type": "text", "text": "s" * 5000}])
    await model.post("/v1/messages", json=body, headers={"x-api-key": "sk-secret"})
    await model.post("/v1/messages", json=ask({"status": 500}), headers={"authorization": "Bearer sk-secret"})
    await model.post("/v1/messages", json=ask("bye"))
    answer = await model.get("/_demo/requests")
    first, second, third = answer.json()
    assert (first["auth"], second["auth"], third["auth"]) == ("x-api-key", "bearer", "none")
    assert (first["status"], second["status"]) == (200, 500)
    assert first["tools"] == ["Bash", "Write", "Read"]
    assert (len(first["system"]), len(first["system_text_prefix"])) == (4000, 200)
    assert (first["last_user_text"], first["messages"], first["max_tokens"]) == ("hello", 1, 100)
    assert "sk-secret" not in answer.text


async def test_only_the_last_200_requests_are_kept(model, ask):
    for number in range(205):
        await model.post("/v1/messages", json=ask(f"message {number}"))
    seen = (await model.get("/_demo/requests")).json()
    assert [seen[0]["last_user_text"], seen[-1]["last_user_text"]] == ["message 5", "message 204"]
    assert len(seen) == 200


async def test_now_becomes_the_moment_at_which_its_token_is_sent(model, ask):
    before = time.time_ns()
    pairs = await events(model, ask({"text": "{{now}} {{now}}", "delay_ms": 5}))
    deltas = [data["delta"]["text"] for name, data in pairs if name == "content_block_delta"]
    first, second = map(int, deltas)
    assert before < first <= second - 5_000_000
    assert second < time.time_ns()
