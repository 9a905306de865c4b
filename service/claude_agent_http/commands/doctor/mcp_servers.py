"""The MCP servers: each is started, or called, as an agent's CLI would do it, and asked for its tools."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TextIO

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from claude_agent_http.commands.doctor.finding import Finding, fail, ok
from claude_agent_http.runtime.stderr import StderrTail
from claude_agent_http.settings import McpServer, RemoteServer, StdioServer

__all__ = ["check_mcp_servers"]

_SECONDS = 30.0  # the CLI waits as long
_CALL_SECONDS = 5.0


def check_mcp_servers(servers: Mapping[str, McpServer], seconds: float = _SECONDS) -> Sequence[Finding]:
    """One finding a server, all within `seconds` and what their ends take."""
    return asyncio.run(_check_all(servers, seconds))


async def _check_all(servers: Mapping[str, McpServer], seconds: float) -> Sequence[Finding]:
    return await asyncio.gather(*(_check(name, server, seconds) for name, server in servers.items()))


async def _check(name: str, server: McpServer, seconds: float) -> Finding:
    title = f"MCP server {name}"
    tail = StderrTail(_secrets(server))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", errors="replace") as stderr:
        try:
            async with asyncio.timeout(seconds), _connected(server, folder, stderr) as client:
                tools = len((await client.list_tools()).tools)
        except Exception as error:  # Whatever a server does, the other checks go on.
            stderr.seek(0)
            for line in stderr:
                tail.add(line.rstrip())
            reason = tail.appended_to(_reason(error, seconds))
            return fail(title, f"{_place(server)}: {reason}", _advice(name, server))
    return ok(title, f"{_place(server)} has {tools} tool{'' if tools == 1 else 's'}")


@asynccontextmanager
async def _connected(server: McpServer, folder: str, stderr: TextIO) -> AsyncIterator[Client]:
    """`folder` stands for the session's workspace, in which a CLI starts its servers."""
    async with AsyncExitStack() as stack:
        if isinstance(server, StdioServer):
            given = StdioServerParameters(
                command=server.command, args=list(server.args), env=server.plain()["env"], cwd=folder
            )
            client = Client(stdio_client(given, errlog=stderr))
        elif server.type == "sse":
            client = Client(sse_client(server.url, headers=server.plain()["headers"], timeout=_CALL_SECONDS))
        else:
            headers = server.plain()["headers"]
            hooks = {"response": [_write_status_to(stderr)]}
            calls = httpx2.AsyncClient(headers=headers, timeout=_CALL_SECONDS, event_hooks=hooks)
            http = await stack.enter_async_context(calls)
            client = Client(streamable_http_client(server.url, http_client=http))
        yield await stack.enter_async_context(client)


def _write_status_to(stderr: TextIO) -> Callable[[httpx2.Response], Awaitable[None]]:
    """The protocol's client says no more of a refusal than that there was one."""

    async def hook(response: httpx2.Response) -> None:
        if response.is_error:
            stderr.write(f"HTTP {response.status_code} {response.reason_phrase}\n")

    return hook


def _secrets(server: McpServer) -> list[str]:
    given = server.env if isinstance(server, StdioServer) else server.headers
    return [text for secret in given.values() if (text := secret.get_secret_value())]


def _place(server: McpServer) -> str:
    return server.url if isinstance(server, RemoteServer) else server.command


def _reason(error: BaseException, seconds: float) -> str:
    """The first cause of a group: what else is in it comes of that."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"did not answer within {seconds:g} s"
    if isinstance(error, FileNotFoundError):
        return "no such command on PATH"
    return str(error)[:500] or type(error).__name__


def _advice(name: str, server: McpServer) -> str:
    keys = "command, args and env" if isinstance(server, StdioServer) else "type, url and headers"
    return f"correct {keys} of mcp_servers.{name}, or remove it: agents work without its tools"
