"""What other replicas append, read once for all who follow the session here."""

import asyncio
from collections.abc import Collection

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.engine.hub import Hub, Poke
from claude_agent_http.engine.no_longer import cancelled
from claude_agent_http.ports import EventLog

_PAGE = 500


class News:
    """A hundred readers of a session would else each ask the log for each event. Whoever is not where the
    others are finds that out by the seq, and reads for itself.

    Owns a task for each session of which something is being read."""

    def __init__(self, log: EventLog, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self._told: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    def appended(self, session_id: str, seq: int) -> None:
        """The session's log has grown to `seq` at least."""
        if not self._hub.is_followed(session_id):
            return
        if session_id in self._reading:
            self._newest[session_id] = max(seq, self._newest[session_id])
            return
        told = self._told.get(session_id)
        if told is None or seq - told > _PAGE:
            self._told[session_id] = seq
            self._hub.pass_on(Poke(seq), session_id)
        elif seq > told:
            self._newest[session_id] = seq
            reading = self._read(session_id, told)
            self._reading[session_id] = asyncio.create_task(reading, name=f"news of session {session_id}")

    def keep(self, heads: dict[str, int], followed: Collection[str]) -> None:
        """Forget where the others were in sessions that nobody follows any more, or that `heads` (seqs of
        sessions just looked at, 0 for one that is gone) tell to have begun anew."""
        for session_id, told in list(self._told.items()):
            if session_id not in followed or heads.get(session_id, told) < told:
                del self._told[session_id]

    async def stop(self) -> None:
        await cancelled(set(self._reading.values()))

    async def _read(self, session_id: str, told: int) -> None:
        try:
            while told < self._newest[session_id]:
                page = await self._log.read(session_id, after=told, limit=_PAGE)
                if not page:  # The session is gone.
                    return
                for event in page:
                    self._hub.pass_on(event, session_id)
                told = self._told[session_id] = page[-1].seq
        except ClaudeAgentError:
            self._hub.pass_on(Poke(self._newest[session_id]), session_id)  # each tries, and tells its reader
        finally:
            del self._reading[session_id]
            del self._newest[session_id]
