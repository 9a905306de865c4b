"""Clients of an engine that remember what they were told: messages sent, and sessions followed."""

import asyncio
from dataclasses import dataclass, field

from tests.service.engine.machine_world import Gates

from claude_agent_http.domain.errors import ClaudeAgentError, TurnTimeoutError
from claude_agent_http.domain.event import Delta, Event, EventType, Followed, SessionDeleted, Withdrawn
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.domain.vocabulary import text_of
from claude_agent_http.engine import Engine, Turn


@dataclass(eq=False)
class Sending:
    """One message. Neither a turn nor a refusal: nobody knows, as when the client went away or its time was
    up before the message was stored."""

    session: str
    text: str
    seconds: float | None = None
    turn: Turn | None = None
    refused: ClaudeAgentError | None = None
    must_end_by: float | None = None
    cut: bool = False  # by the end of its process

    async def send(self, engine: Engine) -> None:
        try:
            self.turn = await engine.send(self.session, self.text, self.seconds)
        except TurnTimeoutError:
            return
        except ClaudeAgentError as error:
            self.refused = error

    @property
    def runs(self) -> bool:
        return self.turn is not None and not self.turn.ended.done() and not self.cut

    @property
    def is_unknown(self) -> bool:
        return self.turn is None and self.refused is None and not self.cut

    @property
    def end(self) -> TurnEnd | None:
        return self.turn.ended.result() if self.turn is not None and self.turn.ended.done() else None


@dataclass(eq=False)
class Reader:
    """A follower of one session from `after` on; `saw` raises AssertionError at a gap, a repeat, or a text
    that is not what its deltas began."""

    session: str
    after: int
    deltas: bool
    existed: bool
    task: asyncio.Task[None] | None = None
    seen: list[Event] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    ended: bool = False
    cut: bool = False

    async def follow(self, engine: Engine, gates: Gates) -> None:
        async for item in engine.follow(self.session, after=self.after, deltas=self.deltas):
            self.saw(item)
            await gates.pass_through("reader")
        self.ended = True

    @property
    def follows(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def position(self) -> int:
        return self.after + len(self.seen)

    def saw(self, item: Followed) -> None:
        assert not self.deleted, "something came after the session was deleted"
        match item:
            case Event():
                assert item.seq == self.position + 1
                self.seen.append(item)
                assert _words(item).startswith(self.texts.pop(item.id, ""))
            case Delta(event_id=event_id):
                assert self.deltas
                text = self.texts.get(event_id, "")
                assert item.offset == len(text)
                self.texts[event_id] = text + item.text
            case Withdrawn(event_id=event_id):
                assert self.texts.pop(event_id, None) is not None, "withdrawn, but never begun"
            case SessionDeleted():
                self.deleted = True


def _words(event: Event) -> str:
    return str(event.data["thinking"]) if event.type is EventType.AGENT_THINKING else text_of(event.data)
