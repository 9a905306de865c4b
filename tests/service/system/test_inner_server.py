"""Servers beside the main one: start, end and what they leave behind."""

import asyncio
import contextlib
import signal
import socket
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from claude_agent_http.system.inner_server import InnerServer, InnerServerError
from claude_agent_http.system.loopback import LoopbackServer


def app_answering(answer):
    return Starlette(routes=[Route("/", answer)])


async def at_once(_request):
    return PlainTextResponse("ok")


async def test_serves_until_the_block_ends():
    async with LoopbackServer(app_answering(at_once)) as server, httpx.AsyncClient() as client:
        assert (await client.get(server.url)).text == "ok"
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url)


async def test_small_answers_are_not_held_back_by_the_network_stack():
    async with LoopbackServer(app_answering(at_once)) as server, httpx.AsyncClient() as client:
        start = time.monotonic()
        for _ in range(50):
            await client.get(server.url)
        assert time.monotonic() - start < 50 * 0.03


async def test_servers_are_independent_and_leave_signals_and_tasks_alone():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    tasks = asyncio.all_tasks()
    async with LoopbackServer(app_answering(at_once)) as one, LoopbackServer(app_answering(at_once)) as two:
        assert one.url != two.url
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert asyncio.all_tasks() == tasks


async def test_a_request_under_way_may_finish_within_the_grace():
    entered, release = asyncio.Event(), asyncio.Event()

    async def waits(_request):
        entered.set()
        await release.wait()
        return PlainTextResponse("finished")

    async with httpx.AsyncClient() as client:
        async with LoopbackServer(app_answering(waits), grace_seconds=10) as server:
            pending = asyncio.create_task(client.get(server.url))
            async with asyncio.timeout(5):
                await entered.wait()
            asyncio.get_running_loop().call_later(0.2, release.set)
        assert (await pending).text == "finished"


async def test_a_request_that_never_ends_is_cut_off_in_bounded_time():
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def never(_request):
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with httpx.AsyncClient() as client:
        async with LoopbackServer(app_answering(never), grace_seconds=0) as server:
            pending = asyncio.create_task(client.get(server.url))
            async with asyncio.timeout(5):
                await entered.wait()
            start = time.monotonic()
        assert time.monotonic() - start < 5
        assert cancelled.is_set()
        with pytest.raises(httpx.HTTPError):
            await pending


async def test_a_taken_port_is_a_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InnerServerError, match=f"127.0.0.1:{port}: Address already in use"):
            async with InnerServer(app_answering(at_once), "127.0.0.1", port):
                pass


async def test_a_host_that_is_no_address_of_this_machine_is_a_clear_error():
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(InnerServerError, match=f"cannot listen on {host}:0: "):
            async with InnerServer(app_answering(at_once), host, 0):
                pass


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "localhost", pytest.param("::1", marks=pytest.mark.tier("ipv6"))]
)
async def test_it_listens_where_it_is_told(host):
    reach = "localhost" if host == "0.0.0.0" else host
    async with InnerServer(app_answering(at_once), host, 0) as server, httpx.AsyncClient() as client:
        assert (await client.get(server.url.replace(host, reach))).text == "ok"


async def test_an_app_whose_start_fails_is_a_clear_error_and_frees_the_port():
    @contextlib.asynccontextmanager
    async def broken(_app):
        raise RuntimeError("no database")
        yield

    tasks = asyncio.all_tasks()
    server = LoopbackServer(Starlette(lifespan=broken))
    with pytest.raises(InnerServerError, match="start-up failed"):
        async with server:
            pass
    assert asyncio.all_tasks() == tasks
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url)
