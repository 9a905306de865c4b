"""A server's UNIX socket on a TCP port of ours, so that a test can silence the server or take it away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


@asynccontextmanager
async def relay(port: int, folder: Path) -> AsyncIterator[asyncio.Event]:
    """Nothing passes while the event is clear. At the end every connection is cut and no new one taken."""
    flowing = asyncio.Event()
    flowing.set()
    passing: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing.add(asyncio.create_task(_pass(reader, writer, folder / ".s.PGSQL.5432", flowing)))

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        try:
            yield flowing
        finally:
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Path, flowing: asyncio.Event
) -> None:
    far_reader, far_writer = await asyncio.open_unix_connection(server)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, far_writer, flowing))
            both.create_task(_copy(far_reader, writer, flowing))
    finally:
        writer.transport.abort()
        far_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            await flowing.wait()
            writer.write(data)
    writer.close()
