"""Connections to the gateway's port, which every agent reaches: none is kept from it by another's."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from tests.service.gateway.conftest import PATH, Model, Rig, Say
from tests.waiting import until

from claude_agent_http.server import ConnectionLimits

ASKED = b'{"model":"claude-test"}'
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def opened(rig: Rig, count: int = 1) -> AsyncIterator[list[Connection]]:
    port = int(rig.url.rpartition(":")[2])
    made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield made
    finally:
        for _, writer in made:
            writer.close()


async def asked(connection: Connection, token: str) -> bytes:
    """The first line of the answer to a request with this token."""
    reader, writer = connection
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nx-api-key: {token}\r\ncontent-length: {len(ASKED)}\r\n\r\n"
    writer.write(head.encode() + ASKED)
    async with asyncio.timeout(10):
        said = await reader.readuntil(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in said:
            await reader.readuntil(b"\r\n0\r\n\r\n")
    return said.partition(b"\r\n")[0]


async def rest(connection: Connection, seconds: float = 5) -> bytes:
    """What comes until the gateway ends it; raises TimeoutError when it does not."""
    async with asyncio.timeout(seconds):
        try:
            return await connection[0].read()
        except ConnectionError:
            return b""


async def test_a_flood_that_says_nothing_keeps_no_agent_out(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as agent, opened(rig, 400) as strangers:
        assert (await agent.ask()).status_code == 200
        for one in strangers[:200]:
            assert await rest(one) == b""


async def test_one_that_serves_an_agent_is_not_among_the_strangers(rig: Rig, model: Model):
    rig.most_strangers = 3
    await rig.start()
    async with rig.agent() as agent, opened(rig) as (kept,):
        assert await asked(kept, agent.token) == b"HTTP/1.1 200 OK"
        async with opened(rig, 10) as strangers:
            for one in strangers[:7]:
                assert await rest(one) == b""
            for one in (kept, *strangers[7:]):
                assert await asked(one, agent.token) == b"HTTP/1.1 200 OK"


async def test_a_wrong_token_makes_nobody_known(rig: Rig, model: Model):
    rig.most_strangers = 1
    await rig.start()
    async with opened(rig) as (wrong,):
        assert await asked(wrong, "gw-guessed") == b"HTTP/1.1 401 Unauthorized"
        async with opened(rig):
            await rest(wrong)


async def test_an_agent_has_so_many_and_the_others_have_theirs(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as greedy, rig.agent() as other, AsyncExitStack() as stack:
        mine = await stack.enter_async_context(opened(rig, 40))
        assert [await asked(one, greedy.token) for one in mine] == [b"HTTP/1.1 200 OK"] * 40
        async with opened(rig) as (one_more,):
            assert await asked(one_more, greedy.token) == b"HTTP/1.1 503 Service Unavailable"
            await rest(one_more)
        assert (await other.ask()).status_code == 200
        assert await asked(mine[0], greedy.token) == b"HTTP/1.1 200 OK"
        mine[1][1].close()
        await mine[1][1].wait_closed()
        await until(lambda: _is_taken(rig, greedy.token))


async def _is_taken(rig: Rig, token: str) -> bool:
    async with opened(rig) as (one,):
        return await asked(one, token) == b"HTTP/1.1 200 OK"


async def test_all_together_have_a_limit(rig: Rig, model: Model):
    rig.limits_of_connections = ConnectionLimits(2, 0)
    await rig.start()
    async with opened(rig, 2), opened(rig) as (third,):
        assert (await rest(third)).startswith(b"HTTP/1.1 503 ")


async def test_a_head_that_does_not_come_whole_is_not_waited_for(rig: Rig, model: Model):
    rig.limits_of_connections = ConnectionLimits(10, 0, head_seconds=0.2)
    await rig.start()
    async with opened(rig) as (slow,):
        slow[1].write(b"POST /v1/messages HTTP/1.1\r\nx-slow: ")
        assert (await rest(slow)).startswith(b"HTTP/1.1 408 ")


async def test_an_agent_that_does_not_read_ends_the_call_to_the_model(rig: Rig, model: Model):
    async def plays(say: Say) -> None:
        while True:
            await say(b"x" * 65536)
            await asyncio.sleep(0)  # nothing waits for who is gone

    model.plays = plays
    rig.times = replace(rig.times, silence=0.5)
    await rig.start()
    async with rig.agent() as agent:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", int(rig.url.rpartition(":")[2])))
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nx-api-key: {agent.token}\r\n"
            await loop.sock_sendall(deaf, f"{head}content-length: {len(ASKED)}\r\n\r\n".encode() + ASKED)
            async with asyncio.timeout(10):
                await model.gone.wait()
