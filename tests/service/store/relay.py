"""A server's UNIX socket on a TCP port of ours, so that a test can silence the server or take it away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Flow(asyncio.Event):
    """Nothing passes while it is clear."""

    def __init__(self) -> None:
        super().__init__()
        self.set()
        self.lines: list[asyncio.Event] = []

    def strand(self) -> None:
        """Nothing passes any more on the connections that there are; new ones work."""
        for line in self.lines:
            line.clear()

    def add_line(self) -> asyncio.Event:
        line = asyncio.Event()
        line.set()
        self.lines.append(line)
        return line


@asynccontextmanager
async def relay(port: int, folder: Path) -> AsyncIterator[Flow]:
    """At the end every connection is cut and no new one taken."""
    flowing = Flow()
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
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Path, flowing: Flow
) -> None:
    far_reader, far_writer = await asyncio.open_unix_connection(server)
    gates = (flowing, flowing.add_line())
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, far_writer, gates))
            both.create_task(_copy(far_reader, writer, gates))
    finally:
        writer.transport.abort()
        far_writer.transport.abort()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gates: tuple[asyncio.Event, ...]
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            for gate in gates:
                await gate.wait()
            writer.write(data)
    writer.close()
