"""`chat`: read a message, stream its answer, again until the input ends."""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable
from functools import partial

from claude_agent_http.commands.chat import DEFAULT_URL
from claude_agent_http.commands.chat.client import ChatClient, ChatError
from claude_agent_http.commands.chat.screen import Screen
from claude_agent_http.commands.terminal import this_program

__all__ = ["run_chat"]

_MakeClient = Callable[[], ChatClient]
_USER = "me"
_EXIT_INTERRUPTED = 130
_SETTLE_SECONDS = 2
_NO_TEXT = "the message is no text in UTF-8, so it was not sent; convert it first (`iconv -t UTF-8`)"


class _Left(Exception):
    """The user pressed Ctrl-C again."""


def run_chat(
    *,
    url: str,
    user: str | None,
    session: str | None,
    once: str | None,
    seconds: float,
    api_key: str | None = None,
) -> int:
    client = partial(ChatClient, url, api_key)
    screen = Screen()
    try:
        if once is not None:
            _check_text(once)
        session = asyncio.run(_open(client, user or (None if api_key else _USER), session))
        screen.note(f"session {session}")
        return _talk(screen, client, url, session, once, seconds)
    except ChatError as error:
        screen.error(str(error))
        return 1
    except (KeyboardInterrupt, _Left):
        screen.end_line()
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _open(make: _MakeClient, user: str | None, session: str | None) -> str:
    async with make() as client:
        if session is None:
            return await client.create(user)
        await client.check(session)
        return session


def _talk(
    screen: Screen, client: _MakeClient, url: str, session: str, once: str | None, seconds: float
) -> int:
    if once is not None:
        return 0 if asyncio.run(_turn(screen, client, session, once, seconds)) else 1
    good = True
    while True:
        try:
            if (message := screen.ask()) is None:
                break
            _check_text(message)
            good = asyncio.run(_turn(screen, client, session, message, seconds)) and good
        except (ChatError, UnicodeDecodeError) as error:
            screen.error(_NO_TEXT if isinstance(error, UnicodeDecodeError) else str(error))
            good = False
    screen.note(f"go on with: {this_program()} chat{_url_option(url)} --session {session}")
    return 0 if good or sys.stdin.isatty() else 1


def _check_text(message: str) -> None:
    # What a terminal or an argument holds beside text stands in Python's strings as lone surrogates.
    try:
        message.encode()
    except UnicodeEncodeError as error:
        raise ChatError(_NO_TEXT) from error


def _url_option(url: str) -> str:
    return "" if url == DEFAULT_URL else f" --url {shlex.quote(url)}"


async def _turn(screen: Screen, make: _MakeClient, session: str, message: str, seconds: float) -> bool:
    """Whether the turn ended well. The first Ctrl-C interrupts it at the service, the second leaves."""
    async with make() as client:
        turn = asyncio.create_task(_show(screen, client, session, message, seconds))
        keys = _Keys(screen, client, session, turn)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, keys.pressed)
        try:
            return await turn
        except asyncio.CancelledError:
            raise _Left from None
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            await keys.settled()


class _Keys:
    """What Ctrl-C does during a turn."""

    def __init__(self, screen: Screen, client: ChatClient, session: str, turn: asyncio.Task[bool]) -> None:
        self._screen = screen
        self._client = client
        self._session = session
        self._turn = turn
        self._asked: asyncio.Task[None] | None = None

    def pressed(self) -> None:
        if self._asked is not None:
            self._turn.cancel()
            return
        self._screen.end_line()
        self._screen.note("interrupting; Ctrl-C again leaves")
        self._asked = asyncio.create_task(self._interrupt())

    async def settled(self) -> None:
        if self._asked is not None:
            await asyncio.wait({self._asked}, timeout=_SETTLE_SECONDS)
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)

    async def _interrupt(self) -> None:
        try:
            await self._client.interrupt(self._session)
        except ChatError as error:
            self._screen.error(str(error))


async def _show(screen: Screen, client: ChatClient, session: str, message: str, seconds: float) -> bool:
    ended = failed = False
    async with contextlib.aclosing(client.stream(session, message, seconds)) as chunks:
        async for chunk in chunks:
            match chunk:
                case {"type": "text_delta", "text": str(text)}:
                    screen.text(text)
                case {"type": "tool_use", "tool_name": name}:
                    screen.tool(str(name), chunk.get("tool_input"))
                case {"type": "approval_required", "tool_name": name, "approval_id": approval}:
                    place = f"/api/v1/sessions/{session}/approvals/{approval}"
                    screen.note(f'[{name}] waits for {{"decision": "allow"}} or "deny", by POST to {place}')
                case {"type": "error"}:
                    screen.error(str(chunk.get("error") or "the turn failed"))
                    failed = True
                case {"type": "done"}:
                    ended = True
    screen.end_line()
    if not ended and not failed:
        raise ChatError("the stream ended before the turn did; the turn goes on at the service")
    return not failed
