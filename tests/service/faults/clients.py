"""Clients of replicas: what they sent and were told, and readers that go on elsewhere where they stopped."""

import asyncio
from dataclasses import dataclass, field

from tests.service.faults.history import Deleted, Fact, Read, Sent, Told

from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    SessionNotFoundError,
    StorageError,
    TurnTimeoutError,
)
from claude_agent_http.domain.event import Delta, Event, Followed, SessionDeleted, Withdrawn
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.domain.vocabulary import text_of
from claude_agent_http.engine import Engine, Turn
from claude_agent_http.ports import Clock


@dataclass(eq=False)
class Message:
    """One message. After a StorageError, or when its time was up, nobody knows whether it is stored."""

    session: str
    text: str
    seconds: float | None = None
    turn: Turn | None = None
    refused: ClaudeAgentError | None = None
    answered: bool = False
    _last_word: list[Fact] | None = None

    async def send(self, engine: Engine) -> None:
        try:
            self.turn = await engine.send(self.session, self.text, self.seconds)
        except (TurnTimeoutError, StorageError):
            pass
        except ClaudeAgentError as error:
            self.refused = error
        self.answered = True

    @property
    def end(self) -> TurnEnd | None:
        return self.turn.ended.result() if self.turn is not None and self.turn.ended.done() else None

    def hang_up(self) -> None:
        """Its replica is gone: what it still says, nobody hears."""
        self._last_word = self.facts()

    def facts(self) -> list[Fact]:
        if self._last_word is not None:
            return self._last_word
        if self.turn is None:
            return [Sent(self.session, self.text, None if self.refused is None else False)]
        sent = Sent(self.session, self.text, True)
        return [sent] if self.end is None else [sent, Told(self.session, self.turn.id, self.end)]


async def delete(engine: Engine, session: str, clock: Clock, record: list[Fact]) -> None:
    try:
        await engine.delete(session)
    except SessionNotFoundError:
        return  # somebody else is just deleting it, or has
    record.append(Deleted(session, clock.monotonic()))


@dataclass(eq=False)
class Reader:
    """Follows a session from `after` on. `complaints` are about what no log can tell."""

    session: str
    after: int
    deltas: bool
    task: asyncio.Task | None = None
    events: list[Event] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    deleted: bool = False
    _texts: dict[str, str] = field(default_factory=dict)
    _connection: int = 0

    @property
    def position(self) -> int:
        return self.after + len(self.events)

    @property
    def follows(self) -> bool:
        return self.task is not None and not self.task.done()

    def fact(self) -> Read:
        return Read(self.session, self.after, tuple(self.events))

    def cut(self) -> None:
        """What the connection still says, nobody hears."""
        self._connection += 1
        if self.task is not None:
            self.task.cancel()

    async def follow(self, engine: Engine) -> None:
        """Connect, as with Last-Event-ID, until the stream ends."""
        self._connection += 1
        connection = self._connection
        self._texts, self.deleted = {}, False
        try:
            async for item in engine.follow(self.session, after=self.position, deltas=self.deltas):
                if connection == self._connection:
                    self._saw(item)
        except StorageError:
            return  # the database did not answer: it connects again

    def _saw(self, item: Followed) -> None:
        if self.deleted:
            self.complaints.append(f"{item} came after the session was deleted")
        match item:
            case Event():
                self.events.append(item)
                begun = self._texts.pop(item.id, "")
                if not _words(item).startswith(begun):
                    self.complaints.append(f"{item} was begun as {begun!r}")
            case Delta(event_id=event_id):
                text = self._texts.get(event_id, "")
                if item.offset != len(text):
                    self.complaints.append(f"{item} follows {text!r}")
                self._texts[event_id] = text + item.text
            case Withdrawn(event_id=event_id):
                if self._texts.pop(event_id, None) is None:
                    self.complaints.append(f"{item} was never begun")
            case SessionDeleted():
                self.deleted = True


def _words(event: Event) -> str:
    return str(event.data["thinking"]) if "thinking" in event.data else text_of(event.data)
