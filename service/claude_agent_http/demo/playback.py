"""ASGI answers that play frames in time and can misbehave; each ends at once when its client goes away."""

import time
from collections.abc import Callable, Iterable, Iterator

import anyio
from starlette.types import Receive, Scope, Send

from claude_agent_http.demo.wire import Frame

__all__ = ["EventStream", "Silence"]

_NOW = b"{{now}}"


class EventStream:
    """Sends frames as `text/event-stream`; an answer that is not `complete` ends in a closed connection.

    `{{now}}` becomes the moment of its sending, as `clock` tells it in nanoseconds.
    """

    def __init__(
        self, frames: Iterable[Frame], *, complete: bool = True, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._frames = frames
        self._complete = complete
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
            await self._play(send)
            group.cancel_scope.cancel()

    async def _play(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for pause, data in _joined(self._frames):
            if pause > 0:
                await anyio.sleep(pause)
            await send({"type": "http.response.body", "body": self._stamped(data), "more_body": True})
        if self._complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _stamped(self, data: bytes) -> bytes:
        return data.replace(_NOW, str(self._clock()).encode()) if _NOW in data else data


class Silence:
    """Sends nothing for `seconds`, then a bare 500."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
            await anyio.sleep(self._seconds)
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            group.cancel_scope.cancel()


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _joined(frames: Iterable[Frame]) -> Iterator[tuple[float, bytes]]:
    """Frames with no pause between them travel in one write."""
    pause, held = 0.0, bytearray()
    for frame in frames:
        if frame.pause > 0 and held:
            yield pause, bytes(held)
            pause, held = frame.pause, bytearray()
        pause = max(pause, frame.pause)
        held += frame.data
    if held or pause > 0:
        yield pause, bytes(held)
