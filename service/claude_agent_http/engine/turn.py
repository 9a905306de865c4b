"""A turn in progress, as its caller and its worker share it."""

import asyncio
from dataclasses import dataclass, field

from claude_agent_http.domain.event import Event
from claude_agent_http.domain.turn import TurnEnd


@dataclass(slots=True, eq=False)
class Turn:
    """`opened` gives the stored `user.message`, or the error that kept it out of the log; `ended` always
    gives a TurnEnd, also when the last events could not be stored. `deadline` is in the event loop's time."""

    id: str
    session_id: str
    prompt: str
    deadline: float
    opened: asyncio.Future[Event] = field(default_factory=asyncio.Future)
    ended: asyncio.Future[TurnEnd] = field(default_factory=asyncio.Future)
    _interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    interrupt_reason: str | None = None

    def interrupt(self, reason: str) -> None:
        """Ask the turn to end; the first reason stands."""
        if self.interrupt_reason is None:
            self.interrupt_reason = reason
            self._interrupt.set()

    async def interrupt_asked(self) -> None:
        await self._interrupt.wait()
