"""Replicas that hear each other, as the tests of wake-ups need them."""

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field

from tests.waiting import until

from claude_agent_http.domain.event import Delta
from claude_agent_http.domain.wakeup import Missed, Wakeup
from claude_agent_http.ports import Wakeups


@dataclass
class Peer:
    """One replica's wake-ups, and what it heard but for `Missed`, which is counted."""

    wakeups: Wakeups
    heard: list[Wakeup] = field(default_factory=list)
    missed: int = 0

    async def start(self) -> None:
        await self.wakeups.start(self.hear)

    def hear(self, wakeup: Wakeup) -> None:
        if isinstance(wakeup, Missed):
            self.missed += 1
        else:
            self.heard.append(wakeup)

    async def until_heard(self, *wakeups: Wakeup, seconds: float = 5) -> None:
        await until(lambda: all(wakeup in self.heard for wakeup in wakeups), seconds)

    async def until_missed(self, times: int) -> None:
        """Until it has connected so often."""
        await until(lambda: self.missed >= times, 20)

    def text(self, event_id: str) -> str:
        """What was heard of a message that is being written. Fails where a piece does not follow the last."""
        text = ""
        for delta in self.heard:
            if isinstance(delta, Delta) and delta.event_id == event_id:
                assert delta.offset == len(text)
                text += delta.text
        return text


async def until_connected(peers: Iterable[Peer]) -> None:
    for peer in peers:
        await peer.until_missed(1)


async def in_seconds(work: Awaitable[None]) -> float:
    """How long it took."""
    clock = asyncio.get_running_loop().time
    began = clock()
    await work
    return clock() - began
