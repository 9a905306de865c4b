"""Whose token opens the gateway, and for how long."""

import asyncio

import httpx
import pytest
from tests.service.gateway.conftest import ASKED, KEY, PATH, Model, Rig, Say


async def test_a_token_is_long_and_of_one_start(rig: Rig):
    await rig.start()
    async with rig.agent() as one, rig.agent() as two:
        assert one.token != two.token
        assert len(one.token) >= 43  # 256 bits in base64
        assert one.token not in repr(rig.gateway)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": KEY},
        {"x-api-key": "gw-0000000000000000000000000000000000000000000"},
        {"authorization": "Bearer {token}"},
        {"x-api-key": "{token} {token}"},
        {"x-api-key": "{TOKEN}"},
    ],
)
async def test_no_other_token_opens(rig: Rig, model: Model, headers: dict[str, str]):
    await rig.start()
    async with rig.agent() as agent, httpx.AsyncClient(base_url=rig.url) as stranger:
        given = {
            name: value.replace("{token}", agent.token).replace("{TOKEN}", agent.token.upper())
            for name, value in headers.items()
        }
        answer = await stranger.post(PATH, json=ASKED, headers=given)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert model.seen == []


async def test_two_tokens_at_once_open_nothing(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as one, rig.agent() as two, httpx.AsyncClient(base_url=rig.url) as both:
        headers = [("x-api-key", one.token), ("x-api-key", two.token)]
        assert (await both.post(PATH, json=ASKED, headers=headers)).status_code == 401
    assert model.seen == []


async def test_a_token_is_dead_when_its_agent_is(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as agent:
        assert (await agent.ask()).status_code == 200
    async with httpx.AsyncClient(base_url=rig.url) as stranger:
        stale = await stranger.post(PATH, json=ASKED, headers={"x-api-key": agent.token})
    assert stale.status_code == 401
    assert len(model.seen) == 1


async def test_the_end_of_an_agent_ends_its_requests_and_no_others(rig: Rig, model: Model):
    go_on = asyncio.Event()

    async def plays(say: Say) -> None:
        await say(b"begun")
        await go_on.wait()
        await say(b", ended")

    model.plays = plays
    await rig.start()
    async with rig.agent() as other:
        kept = asyncio.create_task(other.ask())
        async with asyncio.timeout(10):
            async with httpx.AsyncClient(base_url=rig.url) as client:
                async with rig.agent() as agent:
                    headers = {"x-api-key": agent.token}
                    stream = client.stream("POST", PATH, json=ASKED, headers=headers)
                    answer = await stream.__aenter__()
                    chunks = answer.aiter_raw()
                    assert await anext(chunks) == b"begun"
                with pytest.raises(httpx.RemoteProtocolError):
                    await anext(chunks)
                await stream.__aexit__(None, None, None)
            await model.gone.wait()
            go_on.set()
            assert (await kept).text == "begun, ended"


async def test_an_agent_has_so_many_requests_at_once(rig: Rig, model: Model):
    async def before() -> None:
        await asyncio.Event().wait()

    model.before = before
    await rig.start()
    async with rig.agent() as agent, rig.agent() as other:
        asking = [asyncio.create_task(agent.ask()) for _ in range(40)]
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        refused = await done.pop()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert not (await _answered_within(other.ask(), 0.2))
        for task in waiting:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def _answered_within(asking, seconds: float) -> bool:
    """False for a request that is taken and waits for the model."""
    task = asyncio.create_task(asking)
    await asyncio.wait({task}, timeout=seconds)
    done = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return done


async def test_a_token_of_another_replica_opens_nothing(rig: Rig, model: Model):
    await rig.start()
    other = await Rig(model, rig.source).start()
    async with other.stack, other.agent() as elsewhere:
        async with httpx.AsyncClient(base_url=rig.url) as stranger:
            answer = await stranger.post(PATH, json=ASKED, headers={"x-api-key": elsewhere.token})
        assert (await elsewhere.ask()).status_code == 200
    assert answer.status_code == 401
    assert len(model.seen) == 1
