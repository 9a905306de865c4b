"""Hears what other replicas did to the sessions that matter here, and asks the database for the rest."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

import structlog

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import Delta, SessionDeleted, Withdrawn
from claude_agent_http.domain.session import SessionHead, SessionPhase
from claude_agent_http.domain.wakeup import Appended, Changed, Missed, PeersChanged, Wakeup, Wanted
from claude_agent_http.engine.hub import Hub, Poke
from claude_agent_http.engine.news import News
from claude_agent_http.engine.no_longer import cancelled
from claude_agent_http.engine.relay import Relay
from claude_agent_http.ports import Clock, Ids, SessionStore

_log = structlog.get_logger(__name__)


class Held(Protocol):
    """What the watch needs of the sessions that live here."""

    def held(self) -> Iterable[str]:
        """Their ids."""
        ...

    async def look(self, session_id: str, head: SessionHead | None) -> None:
        """Compare a session that lives here with its row; None when that is gone."""
        ...


class Watch:
    """Owns one task, which looks at the rows of the sessions that live or are followed here: at those that
    something was heard of at once, at all of them every `poll_seconds`. `sweep` is set when others may have
    left sessions behind."""

    def __init__(
        self,
        sessions: SessionStore,
        held: Held,
        hub: Hub,
        news: News,
        relay: Relay,
        clock: Clock,
        ids: Ids,
        *,
        poll_seconds: float,
    ) -> None:
        self._sessions = sessions
        self._held = held
        self._hub = hub
        self._news = news
        self._relay = relay
        self._clock = clock
        self._ids = ids
        self._poll_seconds = poll_seconds
        self._due: set[str] = set()
        self._all_at = 0.0
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sweep = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.create_task(self._look_for_ever(), name="watch")

    async def stop(self) -> None:
        if self._task is not None:
            await cancelled({self._task})
        await self._news.stop()

    def hear(self, wakeup: Wakeup) -> None:
        match wakeup:
            case Appended(session_id, seq):
                self._appended(session_id, seq)
            case Changed(session_id):
                self._look_soon(session_id)
                self.sweep.set()
            case Wanted(session_id):
                self._relay.wanted(session_id)
            case Delta(session_id=session_id) | Withdrawn(session_id=session_id):
                self._hub.pass_on(wakeup, session_id)
            case PeersChanged() | Missed():
                self.sweep.set()
                self._woken.set()

    def _appended(self, session_id: str, seq: int) -> None:
        """Of one that lives here readers need nothing but the seq, and its worker looks closer."""
        if session_id in self._held.held():
            self._hub.pass_on(Poke(seq), session_id)
            self._look_soon(session_id)
            return
        self._news.appended(session_id, seq)
        self._ask_for_deltas(session_id)

    def _ask_for_deltas(self, session_id: str) -> None:
        """Now and then while a turn runs elsewhere: a long message appends nothing for minutes."""
        if self._hub.wants_deltas(session_id):
            self._relay.ask(session_id)

    def _look_soon(self, session_id: str) -> None:
        self._due.add(session_id)
        self._woken.set()

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await self._look(self._next())
            except ClaudeAgentError as error:
                _log.warning("what other replicas do is not known", reason=str(error))
            except Exception:
                _log.exception("the watch failed")
            await self._rest()

    def _next(self) -> set[str]:
        """All of them when it is time, however much is heard of some: of the others a word may be lost."""
        due, self._due = self._due, set()
        now = asyncio.get_running_loop().time()
        if due and now < self._all_at:
            return due
        self._all_at = now + self._poll_seconds
        return {*due, *self._held.held(), *self._hub.followed()}

    async def _rest(self) -> None:
        if not self._due:
            self._woken.clear()
            try:
                async with asyncio.timeout_at(self._all_at):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _look(self, session_ids: set[str]) -> None:
        heads = await self._sessions.heads(session_ids)
        seqs = {each: heads[each].last_seq if each in heads else 0 for each in session_ids}
        self._news.keep(seqs, self._hub.followed())
        held = set(self._held.held())
        for session_id in session_ids:
            head = heads.get(session_id)
            if session_id in held:
                await self._look_closer(session_id, head)
            elif head is not None and head.phase is SessionPhase.RUNNING:
                self._ask_for_deltas(session_id)
            if head is not None:
                self._hub.pass_on(Poke(head.last_seq), session_id)
            else:
                self._hub.end(SessionDeleted(session_id, self._ids.event_id(), self._clock.now()))

    async def _look_closer(self, session_id: str, head: SessionHead | None) -> None:
        """A session that cannot be read keeps nobody from the others, and is looked at again next time."""
        try:
            await self._held.look(session_id, head)
        except ClaudeAgentError as error:
            _log.warning(
                "what others did to a session is not known", session_id=session_id, reason=str(error)
            )
        except Exception:
            _log.exception("looking at a session failed", session_id=session_id)
