"""A reader of a session's stream who stops reading while the session says a lot."""

import asyncio
import re
import socket
from pathlib import Path

import httpx
from tests.service.api.rig import serving, sse
from tests.waiting import until

from claude_agent_http.runtime.fake import Say

MESSAGES = 150
LONG = "x" * 50_000
BUFFER = 65_536


def begin(port: int, session_id: str) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    path = f"/api/v1/sessions/{session_id}/events/stream?deltas=true"
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return made


def left(reader: socket.socket) -> bytes:
    """What had come to it when it was cut off."""
    taken = b""
    reader.settimeout(5)
    while data := _received(reader):
        taken += data
    return taken


def _received(reader: socket.socket) -> bytes:
    try:
        return reader.recv(65_536)
    except ConnectionError:
        return b""


async def test_it_is_cut_holds_little_and_misses_nothing_when_it_comes_again(serve, tmp_path: Path):
    async with (
        serving(tmp_path / "users") as service,
        serve(service.api, reader_seconds=0.5) as served,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", timeout=30) as client,
    ):
        service.says["much"] = [Say(f"{n} {LONG}", whole=n % 2 == 0) for n in range(MESSAGES)]
        made = await client.post("/api/v1/sessions", json={"user_id": "alice"})
        session_id = made.json()["session_id"]
        reader = await asyncio.to_thread(begin, served.port, session_id)
        await until(lambda: served.open == 2)
        [stalled] = [one for one in served.connections if one.client[1] == reader.getsockname()[1]]

        await client.post("/api/v1/chat", json={"session_id": session_id, "message": "much"})
        assert stalled.transport.get_write_buffer_size() <= BUFFER + 2 * len(LONG)
        await until(lambda: stalled not in served.connections)

        first = await asyncio.to_thread(left, reader)
        reader.close()
        whole = first.rpartition(b"\n\n")[0]
        last = int(re.findall(rb"^id: (\d+)$", whole, re.M)[-1])
        wanted = [event.seq for event in await service.log(session_id)]
        assert last < wanted[-1]
        path, again = f"/api/v1/sessions/{session_id}/events/stream", {"Last-Event-ID": str(last)}
        async with asyncio.timeout(10), client.stream("GET", path, headers=again) as stream:
            rest = []
            async for sent in sse(stream):
                rest.append(int(sent.id or 0))
                if rest[-1] == wanted[-1]:
                    break
        assert [*range(1, last + 1), *rest] == wanted
