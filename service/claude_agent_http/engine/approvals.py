"""Tools that wait to be allowed, in the process that runs their turn."""

import asyncio

from claude_agent_http.domain.event import Event

__all__ = ["Answer", "PendingApprovals"]

Answer = asyncio.Future[Event | None]


class PendingApprovals:
    """Of one turn. Who waits gets the stored `user.tool_confirmation`, from whichever replica it came; None
    when the turn ends without."""

    def __init__(self) -> None:
        self._waiting: dict[str, Answer] = {}

    @property
    def are_none(self) -> bool:
        """Whether the log can have none that waits."""
        return not self._waiting

    def expect(self, approval_id: str) -> Answer:
        """Before the approval is stored: the answer can come as soon as it is."""
        return self._waiting.setdefault(approval_id, asyncio.get_running_loop().create_future())

    def hear(self, confirmation: Event) -> None:
        """The first one counts; one that nobody waits for is passed over."""
        waiting = self._waiting.get(confirmation.data["approval_id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(confirmation)

    def forget(self, approval_id: str) -> None:
        self._waiting.pop(approval_id, None)

    def end(self) -> None:
        """Nobody will hear of a decision any more."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)
