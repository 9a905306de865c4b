"""A turn in progress, as its caller and its worker share it."""

import asyncio
from dataclasses import dataclass, field

from claude_agent_http.domain.event import Event
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.engine.model_requests import ModelRequests

TIMEOUT = "timeout"
"""The reason of an interrupt when the turn's time is up."""


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
    requests: ModelRequests = field(default_factory=ModelRequests)
    _interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    interrupt_reason: str | None = None
    _claimed: bool = False
    _given_back: bool = False

    def interrupt(self, reason: str) -> None:
        """Ask the turn to end; the first reason stands."""
        if self.interrupt_reason is None:
            self.interrupt_reason = reason
            self._interrupt.set()

    async def interrupt_due(self) -> str:
        """Returns the reason once somebody asked for an interrupt or the turn's time is up."""
        try:
            async with asyncio.timeout_at(self.deadline):
                await self._interrupt.wait()
        except TimeoutError:
            self.interrupt(TIMEOUT)
        return self.interrupt_reason or TIMEOUT

    def claim(self) -> bool:
        """True for the first who asks: that one must end the turn."""
        claimed, self._claimed = self._claimed, True
        return not claimed

    def give_back(self) -> bool:
        """Whether somebody else may run it after all: once, when its runtime was found dead."""
        if self._given_back:
            return False
        self._given_back, self._claimed = True, False
        return True
