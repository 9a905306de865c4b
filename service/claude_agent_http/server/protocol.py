"""uvicorn's HTTP/1.1, with a limit for everything that a client can make large, many or slow.

Its parser (llhttp) refuses what can be read in two ways: two lengths, a length and chunks, folded headers,
lone line feeds. What it takes and we do not is refused in `_check`.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from claude_agent_http.server.limits import ConnectionLimits, Connections
from claude_agent_http.server.refusal import (
    BAD_REQUEST,
    BODY_OF_AN_UPGRADE,
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    TOO_MANY_CONNECTIONS,
    Refusal,
)
from claude_agent_http.server.target import is_for, path_of

__all__ = ["LimitedProtocol"]

_log = structlog.get_logger(__name__)
_HEADER_OVERHEAD = 4  # ": " and CRLF
_LINGER_SECONDS = 2.0


class _NotTakenError(Exception):
    """Ends the parsing; the parser passes it on as an error of its own."""


class LimitedProtocol(HttpToolsProtocol):
    def __init__(
        self,
        limits: ConnectionLimits,
        counted: Connections,
        *,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._limits = limits
        self._counted = counted
        self._address = ""
        self._place: Connections | None = None
        self._is_told_no = False
        self._in_head = True
        self._since_body = 0
        self._head_bytes = 0
        self._refusal = BAD_REQUEST
        self._is_refused = False
        self._sender = _Timer(self.loop)
        self._reader = _Timer(self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._place = self._free_place()
        super().connection_made(transport)  # type: ignore[arg-type]
        if self._place is not None:
            self._sender.start(self._head_seconds, self._head_is_late)
            return
        self._is_told_no = self._counted.refuse()
        if self._is_told_no:
            self._end(TOO_MANY_CONNECTIONS)
        else:
            self._is_refused = True
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sender.stop()
        self._reader.stop()
        self._give_place()
        if self._is_told_no:
            self._counted.refused()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._in_head:
            self._sender.start(self._head_seconds, self._head_is_late)
        self._since_body += len(data)
        before = self._since_body
        super().data_received(data)
        if self._since_body == before > self._limits.head_bytes and not self._is_refused:
            self._end(HEAD_TOO_LARGE if self._in_head else BAD_REQUEST)

    def send_400_response(self, msg: str) -> None:
        """Called for what the parser does not take, or we do not."""
        self._end(self._refusal)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            self._refuse(BAD_REQUEST)  # a trailer: it would stand among headers that were checked already
        super().on_header(name, value)
        self._count(len(name) + len(value) + _HEADER_OVERHEAD)

    def on_headers_complete(self) -> None:
        self._check()
        self._in_head, self._since_body = False, 0
        self._sender.stop()
        super().on_headers_complete()
        if self._is_spare or self.parser.should_upgrade():  # the parser reads nothing behind an upgrade
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._since_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._since_body = True, 0
        self._sender.stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head and not self.transport.is_closing():
            self._sender.start(self._limits.rest_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader.start(self._limits.reader_seconds, self._reader_is_late)

    def resume_writing(self) -> None:
        self._reader.stop()
        super().resume_writing()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes or len(self.headers) > self._limits.headers:
            self._refuse(HEAD_TOO_LARGE)

    def _check(self) -> None:
        """Of several hosts each part on the way may choose another; before 1.1 there were no chunks."""
        if self._is_spare and path_of(self.url).decode("latin-1") not in self._limits.probes:
            self._refuse(TOO_MANY_CONNECTIONS)
        version = self.parser.get_http_version()
        named = [value for name, value in self.headers if name == b"host"]
        hosts = len(named)
        codings = {value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"}
        if version == "1.1":
            is_good = hosts == 1 and codings <= {b"chunked"}
        else:
            is_good = version == "1.0" and hosts <= 1 and not codings
        if not is_good or not all(is_for(self.url, host) for host in named):
            self._refuse(BAD_REQUEST)
        if self.parser.should_upgrade() and self._has_body:
            self._refuse(BODY_OF_AN_UPGRADE)

    @property
    def _has_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ") != b"")
            for name, value in self.headers
        )

    def _free_place(self) -> Connections | None:
        for counted in (self._counted, self._counted.spare):
            if counted is not None and counted.admit(self._address):
                return counted
        return None

    def _give_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.left(self._address)

    @property
    def _is_spare(self) -> bool:
        return self._place is not None and self._place is self._counted.spare

    @property
    def _head_seconds(self) -> float:
        return self._limits.spare_seconds if self._is_spare else self._limits.head_seconds

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise _NotTakenError

    def _head_is_late(self) -> None:
        if self._is_answering:  # it may wait because we do not read on
            self._sender.start(self._head_seconds, self._head_is_late)
        elif self._since_body:
            self._end(HEAD_TOO_SLOW)
        else:
            self.transport.close()

    def _reader_is_late(self) -> None:
        """What is not sent yet is given up: a stream can be resumed, and its memory is needed."""
        _log.info("a client that took nothing was cut off", client=self._address)
        self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _end(self, refusal: Refusal) -> None:
        """Say so, unless that would stand in the middle of an answer. What still comes is thrown away for a
        moment: a connection that is closed before all was read takes what it was told along with it."""
        is_amid_an_answer = self._is_answering and self.cycle.response_started
        if self._is_answering:  # its application learns that the client is gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._is_refused = True
        if self._is_spare:  # not while it lingers: a probe may come
            self._give_place()
        self._sender.stop()
        if is_amid_an_answer or self.transport.is_closing():
            self.transport.abort()
            return
        self.flow.resume_reading()
        self.transport.write(refusal.text)
        self.transport.write_eof()
        self._sender.start(_LINGER_SECONDS, self.transport.abort)


class _Timer:
    """One at a time; one that runs is not started anew."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, then: Callable[[], None]) -> None:
        if self._handle is None:
            self._handle = self._loop.call_later(seconds, self._ring, then)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self, then: Callable[[], None]) -> None:
        self._handle = None
        then()
