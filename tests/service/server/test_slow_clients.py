"""Clients that are slow on purpose, or many, hold nothing for longer than is said."""

import asyncio
import socket
import time
from contextlib import AsyncExitStack

import pytest
from tests.service.server.conftest import Echo
from tests.service.server.test_requests import HEAD, refusal
from tests.waiting import until

from claude_agent_http.server.limits import ConnectionLimits, Connections


async def drip(raw, data: bytes, pause: float = 0.05) -> None:
    for byte in data:
        await raw.send(bytes([byte]))
        await asyncio.sleep(pause)  # the attack is slowness itself


async def test_a_head_that_comes_byte_by_byte_is_cut(serve):
    app = Echo()
    async with serve(app, head_seconds=0.3) as served, served.raw() as raw:
        began = time.monotonic()
        dripping = asyncio.create_task(drip(raw, HEAD * 100))
        refusal(await raw.rest(), 408)
        assert 0.25 < time.monotonic() - began < 3
        dripping.cancel()
        await until(lambda: served.open == 0)
    assert app.asked == []


async def test_who_says_nothing_is_let_go(serve):
    async with serve(Echo(), head_seconds=0.3) as served, served.raw() as raw:
        assert await raw.rest() == b""
        await until(lambda: served.open == 0)


async def test_empty_lines_between_requests_do_not_hold_a_connection(serve):
    async with serve(Echo(), head_seconds=0.3) as served, served.raw() as raw:
        await raw.send(HEAD + b"Content-Length: 2\r\n\r\n{}")
        await raw.response()
        dripping = asyncio.create_task(drip(raw, b"\r\n" * 1000))
        assert (await raw.rest()).startswith(b"HTTP/1.1 408 ")
        dripping.cancel()


async def test_a_connection_that_is_kept_has_its_time_for_each_head(serve):
    async with serve(Echo(), head_seconds=0.5) as served, served.raw() as raw:
        for _ in range(4):
            await raw.send(HEAD)
            await asyncio.sleep(0.2)
            await raw.send(b"Content-Length: 2\r\n\r\n{}")
            assert (await raw.response()).endswith(b"{}")


async def test_a_long_answer_is_no_slow_head(serve):
    async def app(scope, receive, send):
        await asyncio.sleep(0.6)
        await Echo()(scope, receive, send)

    async with serve(app, head_seconds=0.2, rest_seconds=0.2) as served, served.raw() as raw:
        await raw.send(HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert (await raw.response()).endswith(b"{}")


async def test_a_body_that_nobody_waits_for_does_not_hold_a_connection(serve):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serve(app, rest_seconds=0.3) as served, served.raw() as raw:
        await raw.send(HEAD + b"Content-Length: 100000\r\n\r\n")
        assert (await raw.response()).startswith(b"HTTP/1.1 401 ")
        dripping = asyncio.create_task(drip(raw, b"x" * 1000))
        assert await raw.rest() == b""
        dripping.cancel()
        await until(lambda: served.open == 0)


class Endless:
    """Says as much as it can; `said` so many bytes, `ended` when the client is gone."""

    def __init__(self, *, close_after: int | None = None) -> None:
        self.said = 0
        self.ended = asyncio.Event()
        self._most = close_after or 10**12

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.create_task(self._gone(receive))
        while not gone.done() and self.said < self._most:
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            self.said += 10_000
            await asyncio.sleep(0)
        self.ended.set()

    async def _gone(self, receive):
        while (await receive())["type"] != "http.disconnect":
            pass


def deaf(port: int) -> socket.socket:
    """A client that asks and reads nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    return made


async def test_a_reader_that_does_not_read_is_cut(serve):
    app = Endless()
    async with serve(app, reader_seconds=0.4) as served:
        client = await asyncio.to_thread(deaf, served.port)
        async with asyncio.timeout(5):
            await app.ended.wait()
        await until(lambda: served.open == 0)
        client.close()
    assert app.said < 20_000_000  # what the kernel's buffers take, and one of ours


async def test_an_answer_that_is_given_up_leaves_no_connection_behind(serve):
    """What fills a buffer and is then ended still has to be read."""
    app = Endless(close_after=8_000_000)
    async with serve(app, reader_seconds=0.4) as served:
        client = await asyncio.to_thread(deaf, served.port)
        await until(lambda: served.open == 1)
        await until(lambda: served.open == 0)
        client.close()


async def test_a_slow_reader_that_reads_is_not_cut(serve):
    app = Endless(close_after=6_000_000)
    async with serve(app, reader_seconds=0.5) as served, served.raw() as raw:
        await raw.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        taken = 0
        began = time.monotonic()
        while data := await raw.some(100_000):
            taken += len(data)
            await asyncio.sleep(0.02)
        assert taken >= 6_000_000
        assert time.monotonic() - began > 0.5


async def test_too_many_connections_are_told_so(serve):
    async with serve(Echo(), connections=2, per_address=0) as served:
        async with served.raw() as first, served.raw():
            await until(lambda: served.open == 2)
            refusal(await served.says(b""), 503)
            await first.send(HEAD + b"Content-Length: 2\r\n\r\n{}")
            assert (await first.response()).endswith(b"{}")
        await until(lambda: served.open == 0)
        async with served.raw() as raw:
            await raw.send(HEAD + b"Content-Length: 2\r\n\r\n{}")
            assert (await raw.response()).startswith(b"HTTP/1.1 200 ")


PROBE = b"GET /livez?a HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_full_service_still_says_that_it_lives(serve):
    """Whoever fills it, its probes come through; one after another, and nothing else beside them."""
    app = Echo()
    async with serve(app, connections=1, probes={"/livez"}) as served, served.raw():
        await until(lambda: served.open == 1)
        for _ in range(6):
            answer = await served.says(PROBE + PROBE)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answer
            for other in (HEAD + b"\r\n", b"GET /livez/a HTTP/1.1\r\nHost: x\r\n\r\n"):
                refusal(await served.says(other), 503)
    assert [one["path"] for one in app.asked] == ["/livez"] * 6


async def test_who_holds_the_spare_connections_is_let_go_soon(serve):
    async with serve(Echo(), connections=1, probes={"/livez"}, spare_seconds=0.3) as served, served.raw():
        await until(lambda: served.open == 1)
        async with served.raw() as one, served.raw() as two, served.raw() as three, served.raw() as four:
            await until(lambda: served.open == 5)
            refusal(await served.says(b""), 503)
            for each in (one, two, three, four):
                assert await each.rest() == b""
        assert (await served.says(PROBE)).startswith(b"HTTP/1.1 200 ")


def test_the_spare_ones_are_shared_by_addresses():
    spare = Connections(ConnectionLimits(connections=1, proxies=("10.0.0.0/8",), probes={"/livez"})).spare
    assert spare is not None
    assert sum(spare.admit("10.0.0.1") for _ in range(50)) == 4
    assert sum(spare.admit(f"192.0.2.{n}") for n in range(50)) == 12


async def test_a_flood_is_not_told_so_one_by_one(serve):
    async with serve(Echo(), connections=1, per_address=0) as served, served.raw():
        await until(lambda: served.open == 1)
        async with AsyncExitStack() as stack:
            flood = [await stack.enter_async_context(served.raw()) for _ in range(150)]
            told = [await raw.rest() for raw in flood]
        assert sum(one.startswith(b"HTTP/1.1 503 ") for one in told) < 150 == len(told)
        assert b"" in told
        await until(lambda: served.open == 1)
        refusal(await served.says(b""), 503)


@pytest.mark.parametrize(("proxies", "third"), [((), False), (("10.0.0.0/8",), True)])
def test_one_address_has_a_part_of_them_and_a_proxy_all(proxies, third):
    counted = Connections(ConnectionLimits(connections=5, per_address=2, proxies=proxies))
    assert [counted.admit("10.0.0.1") for _ in range(3)] == [True, True, third]
    assert counted.admit("192.0.2.1")
    counted.left("10.0.0.1")
    assert counted.admit("10.0.0.1")
    assert [counted.admit("2001:db8::1"), counted.admit("2001:db8::2")] == [True, not third]


def test_what_is_not_set_leaves_half_of_the_descriptors():
    chosen = ConnectionLimits.of(None, None, ())
    assert 0 < chosen.connections <= 10_000
    assert chosen.per_address == chosen.connections // 2
    assert ConnectionLimits.of(8, 0, ()).per_address == 0
