"""What crosses the gateway, and what does not."""

import asyncio
import socket

import httpx
import pytest
from structlog.testing import capture_logs
from tests.service.gateway.conftest import ASKED, KEY, PATH, Model, Rig, Say
from tests.waiting import until

from claude_agent_http.gateway import UpstreamSource
from claude_agent_http.gateway import client as gateway_client


async def test_a_request_reaches_the_model_with_the_credential_and_nothing_of_the_agents(
    rig: Rig, model: Model
):
    await rig.start()
    async with rig.agent() as agent:
        sent = {
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "a,b",
            "cookie": "of=the-agent",
            "authorization": "Bearer of-the-agent",
            "x-forwarded-for": "1.2.3.4",
        }
        answer = await agent.ask(f"{PATH}?beta=true&x=%2F", headers=sent)
        (seen,) = model.seen
        assert (seen.method, seen.path, seen.query) == ("POST", PATH, "beta=true&x=%2F")
        assert seen.values("x-api-key") == [KEY]
        assert (seen.values("anthropic-version"), seen.values("anthropic-beta")) == (["2023-06-01"], ["a,b"])
        assert seen.values("content-type") == ["application/json"]
        assert seen.values("content-length") == [str(len(seen.body))]
        for name in ("cookie", "authorization", "x-forwarded-for"):
            assert seen.values(name) == []
        assert agent.token not in str(seen)
        assert answer.json() == {"type": "message"}


async def test_tokens_are_counted_too(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as agent:
        assert (await agent.ask(f"{PATH}/count_tokens?beta=true")).status_code == 200
    assert [(seen.path, seen.query) for seen in model.seen] == [(f"{PATH}/count_tokens", "beta=true")]


async def test_status_and_the_headers_that_matter_come_back(rig: Rig, model: Model):
    model.status, model.body = 529, b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
    model.headers = [
        ("content-type", "application/json"),
        ("request-id", "req_1"),
        ("retry-after", "7"),
        ("x-should-retry", "true"),
        ("anthropic-ratelimit-requests-remaining", "3"),
        ("set-cookie", "a=b"),
        ("keep-alive", "timeout=9"),
        ("x-internal", "of the model API"),
    ]
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert (answer.status_code, answer.content) == (529, model.body)
    kept = {name: value for name, value in answer.headers.items() if name not in {"date", "content-length"}}
    assert kept == dict(model.headers[:5])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("POST", "/v1/models"),
        ("POST", "/v1/messages/"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/files"),
        ("GET", "/"),
        ("POST", "//v1/messages"),
        ("POST", "/v1/messages/../messages/batches"),
        ("DELETE", "/v1/messages/count_tokens"),
    ],
)
async def test_everything_else_is_not_found(rig: Rig, model: Model, method: str, path: str):
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.http.request(method, path, json=ASKED)
    assert answer.status_code == 404
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "not_found_error"
    assert model.seen == []


async def test_each_chunk_is_passed_on_at_once_and_as_it_is(rig: Rig, model: Model):
    read = asyncio.Event()
    chunks = [b"event: a\nda", b"ta: 1\n\n", b"event: b\ndata: 2\n\n"]

    async def plays(say: Say) -> None:
        for chunk in chunks:
            read.clear()
            await say(chunk)
            await read.wait()  # the next one is sent only when this one arrived

    model.plays, model.headers = plays, [("content-type", "text/event-stream; charset=utf-8")]
    await rig.start()
    async with (
        asyncio.timeout(10),
        rig.agent() as agent,
        agent.http.stream("POST", PATH, json=ASKED) as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        arrived = []
        async for chunk in answer.aiter_raw():
            arrived.append(chunk)
            read.set()
    assert arrived == chunks


@pytest.mark.parametrize("when", ["before the answer", "in the answer"])
async def test_who_goes_away_ends_the_call_to_the_model(rig: Rig, model: Model, when: str):
    async def plays(say: Say) -> None:
        await say(b"event: begun\n\n")
        await asyncio.Event().wait()

    async def before() -> None:
        await asyncio.Event().wait()

    model.plays, model.before = plays, before if when == "before the answer" else None
    await rig.start()
    async with rig.agent() as agent:
        asking = asyncio.create_task(agent.ask())
        async with asyncio.timeout(10):
            await model.entered.wait()
            asking.cancel()
            await model.gone.wait()


async def test_a_compressed_answer_comes_plain(rig: Rig, model: Model):
    import gzip

    model.headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
    model.body = gzip.compress(b'{"type":"message"}')
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert answer.json() == {"type": "message"}
    assert "content-encoding" not in answer.headers
    assert model.seen[0].values("accept-encoding") == ["identity"]


async def test_a_big_body_passes_and_one_that_is_too_big_does_not(rig: Rig, model: Model):
    await rig.start()
    big = b'{"model":"claude-test","messages":["' + b"x" * 20_000_000 + b'"]}'
    async with rig.agent() as agent:
        assert (await agent.ask(content=big, json=None)).status_code == 200
        refused = await agent.ask(content=b"x" * (32 * 1024 * 1024 + 1), json=None)
    assert len(model.seen[0].body) == len(big)
    assert refused.status_code == 413
    assert refused.json()["error"]["type"] == "request_too_large"
    assert len(model.seen) == 1


async def test_a_redirect_is_not_followed(rig: Rig, model: Model):
    model.status, model.headers = 307, [("location", f"{model.url}/elsewhere")]
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
    assert "model.base_url" in answer.json()["error"]["message"]
    assert "location" not in answer.headers
    assert len(model.seen) == 1


async def test_the_models_error_does_not_repeat_the_credential(rig: Rig, model: Model):
    model.status, model.body = 401, f'{{"error":"what is {KEY}?"}}'.encode()
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert (answer.status_code, answer.text) == (401, '{"error":"what is [redacted]?"}')


async def test_an_upstream_that_refuses_is_told_apart_in_the_log(rig: Rig):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    rig.source = UpstreamSource(api_key=KEY, base_url=f"http://127.0.0.1:{port}")
    await rig.start()
    with capture_logs() as logs:
        async with rig.agent() as agent:
            answer = await agent.ask()
    assert answer.status_code == 502
    assert answer.json()["error"] == {
        "type": "api_error",
        "message": f"the model API at 127.0.0.1:{port} refuses connections",
    }
    (told,) = logs
    assert (told["reason"], told["session_id"], told["user_id"]) == (*("refused", agent.session.id, "alice"),)


async def test_a_host_that_nobody_knows_is_unreachable(rig: Rig):
    rig.source = UpstreamSource(base_url="http://nobody.invalid")
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
    assert "cannot be reached" in answer.json()["error"]["message"]


async def test_a_silent_upstream_is_a_timeout(rig: Rig, model: Model):
    async def before() -> None:
        await asyncio.Event().wait()

    model.before = before
    await rig.start(silence=0.2)
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
    await until(model.gone.is_set)


async def test_an_answer_that_breaks_off_breaks_off_here_too(rig: Rig, model: Model):
    async def plays(say: Say) -> None:
        await say(b"event: begun\n\n")
        raise ConnectionResetError

    model.plays = plays
    await rig.start()
    with capture_logs() as logs:
        async with rig.agent() as agent, agent.http.stream("POST", PATH, json=ASKED) as answer:
            arrived = answer.aiter_raw()
            assert await anext(arrived) == b"event: begun\n\n"
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(arrived)
    assert [told["reason"] for told in logs] == ["broken"]


async def test_a_slow_answer_is_no_silent_one(rig: Rig, model: Model):
    async def plays(say: Say) -> None:
        for _ in range(6):
            await asyncio.sleep(0.1)  # together longer than the silence that is allowed
            await say(b".")

    model.plays = plays
    await rig.start(silence=0.4)
    async with rig.agent() as agent:
        assert (await agent.ask()).text == "......"


async def test_the_base_urls_path_query_and_user_are_kept(rig: Rig, model: Model):
    base = model.url.replace("http://", "http://me:p%40ss@")
    rig.source = UpstreamSource(api_key=KEY, base_url=f"{base}/proxy/?k=v")
    await rig.start()
    async with rig.agent() as agent:
        await agent.ask(f"{PATH}?beta=true")
    (seen,) = model.seen
    assert (seen.path, seen.query) == (f"/proxy{PATH}", "k=v&beta=true")
    assert (seen.values("x-api-key"), seen.values("authorization")) == ([KEY], ["Basic bWU6cEBzcw=="])


async def test_a_token_is_sent_as_a_bearers(rig: Rig, model: Model):
    rig.source = UpstreamSource(auth_token="tok-1", base_url=model.url)
    await rig.start()
    async with rig.agent() as agent:
        await agent.ask()
    (seen,) = model.seen
    assert (seen.values("authorization"), seen.values("x-api-key")) == (["Bearer tok-1"], [])


async def test_a_local_model_is_not_sought_behind_the_proxy(
    rig: Rig, model: Model, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    await rig.start()
    monkeypatch.delenv("HTTP_PROXY")
    async with rig.agent() as agent:
        assert (await agent.ask()).status_code == 200
    assert len(model.seen) == 1


async def test_another_model_is_sought_behind_the_proxy(
    rig: Rig, model: Model, monkeypatch: pytest.MonkeyPatch
):
    rig.source = UpstreamSource(api_key=KEY, base_url="http://model.invalid")
    monkeypatch.setenv("HTTP_PROXY", model.url)
    await rig.start()
    monkeypatch.delenv("HTTP_PROXY")
    async with rig.agent() as agent:
        assert (await agent.ask()).status_code == 200
    assert ("host", "model.invalid") in model.seen[0].headers


def test_an_extra_authority_is_trusted_as_the_cli_trusted_it(tmp_path, monkeypatch: pytest.MonkeyPatch):
    from tests.certificates import self_signed

    authority, _ = self_signed(tmp_path, "model.example")
    without = gateway_client._trusted({}).get_ca_certs()
    extra = gateway_client._trusted({"NODE_EXTRA_CA_CERTS": str(authority)}).get_ca_certs()
    assert len(extra) == len(without) + 1
