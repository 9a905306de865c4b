"""A turn in progress, as its caller and its worker share it."""

import asyncio
from dataclasses import dataclass, field

from claude_agent_http.domain.event import TOOL_USES, Delta, Event, EventType, NewEvent
from claude_agent_http.domain.turn import TurnEnd, TurnError
from claude_agent_http.engine.approvals import PendingApprovals
from claude_agent_http.engine.model_requests import ModelRequests

TIMEOUT = "timeout"
"""The reason of an interrupt when the turn's time is up."""

_ANSWERS = TOOL_USES | {EventType.AGENT_MESSAGE, EventType.AGENT_THINKING}


@dataclass(slots=True, eq=False)
class Turn:
    """`opened` gives the stored `user.message`, or the error that kept it out of the log; `answering` is done
    when the answer begins; `ended` always gives a TurnEnd, also when the last events could not be stored.
    `deadline` and `came` are in the event loop's time. `user_id` is the session's, once that is found.
    `is_elsewhere`: another replica took it over, and tells of it."""

    id: str
    session_id: str
    prompt: str
    deadline: float
    opened: asyncio.Future[Event] = field(default_factory=asyncio.Future)
    answering: asyncio.Future[None] = field(default_factory=asyncio.Future)
    ended: asyncio.Future[TurnEnd] = field(default_factory=asyncio.Future)
    requests: ModelRequests = field(default_factory=ModelRequests)
    approvals: PendingApprovals = field(default_factory=PendingApprovals)
    _interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    interrupt_reason: str | None = None
    interrupt_is_stored: bool = False
    failure: TurnError | None = None
    is_elsewhere: bool = False
    _claimed: bool = False
    _given_back: bool = False
    user_id: str | None = None
    came: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def seconds_left(self) -> float:
        """Until its time is up."""
        return max(0.0, self.deadline - self.ended.get_loop().time())

    @property
    def running_seq(self) -> int:
        """Of its `session.status_running`, stored in one go with its message: the rest comes behind it."""
        return self.opened.result().seq + 1

    @property
    def age(self) -> float:
        """Seconds since the message came."""
        return self.ended.get_loop().time() - self.came

    def see(self, item: object) -> None:
        """What the runtime says of the turn, in order."""
        says = isinstance(item, Delta) or (isinstance(item, NewEvent) and item.type in _ANSWERS)
        if says and not self.answering.done():
            self.answering.set_result(None)

    def interrupt(self, reason: str, *, is_stored: bool = False) -> None:
        """Ask the turn to end; the first reason stands. `is_stored`: the log has its `user.interrupt`."""
        if self.interrupt_reason is None:
            self.interrupt_reason = reason
            self.interrupt_is_stored = is_stored
            self._interrupt.set()

    def fail(self, error: TurnError) -> None:
        """Ask the turn to end soon, and with this error; one that is asked to end already ends as it is."""
        if self.interrupt_reason is None:
            self.failure = error
            self.interrupt(error.kind.value.removesuffix("_error"))

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
