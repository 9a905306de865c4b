"""What is done here from time to time without being asked: take over, make room, store what was spent."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.engine.no_longer import cancelled

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """Done every `seconds`, and at once when `due` is set. A failure is told in the log, and it goes on."""

    name: str
    work: Callable[[], Awaitable[object]]
    seconds: float
    due: asyncio.Event | None = None


class Housekeeping:
    """Owns one task for each chore."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, chore: Chore) -> None:
        self._tasks.append(asyncio.create_task(keep_doing(chore), name=chore.name))

    async def stop(self) -> None:
        await cancelled(set(self._tasks))


async def keep_doing(chore: Chore) -> None:
    """For ever. Whoever has one chore owns its task, and needs no housekeeping."""
    due = chore.due or asyncio.Event()
    while True:
        due.clear()
        try:
            await chore.work()
        except ClaudeAgentError as error:
            _log.warning(f"{chore.name} failed", reason=str(error))
        except Exception:
            _log.exception(f"{chore.name} failed")
        try:
            async with asyncio.timeout(chore.seconds):
                await due.wait()
        except TimeoutError:
            continue
