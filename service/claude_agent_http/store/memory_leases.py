"""Leases and wake-ups of the store that forgets; several engines may share it, as replicas do a database."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session, SessionPhase
from claude_agent_http.domain.wakeup import Wakeup
from claude_agent_http.ports import Clock


class MemoryLeases:
    def __init__(self, sessions: dict[str, Session], clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self._expiries: dict[str, datetime] = {}
        self._released: dict[str, int] = {}

    async def join(self, replica: Replica, seconds: float) -> None:
        self._expiries.setdefault(replica.id, self._clock.now() + timedelta(seconds=seconds))

    async def renew(self, replica_id: str, seconds: float) -> int:
        if not self._lives(replica_id):
            return 0
        self._expiries[replica_id] = self._clock.now() + timedelta(seconds=seconds)
        return sum(map(self._lives, self._expiries))

    async def leave(self, replica_id: str) -> None:
        for session in list(self._sessions.values()):
            if session.lease_holder == replica_id:
                self._released[session.id] = session.lease_epoch
                self._sessions[session.id] = replace(session, lease_holder=None)
        self._expiries.pop(replica_id, None)

    async def claim(self, session_id: str, replica_id: str) -> Lease | None:
        return None if self._rival(session_id, replica_id) else self._take(session_id, replica_id)

    async def seize(self, session_id: str, replica_id: str) -> tuple[Lease, Lease | None]:
        rival = self._rival(session_id, replica_id)
        return self._take(session_id, replica_id), rival

    async def release(self, lease: Lease) -> None:
        session = self._sessions.get(lease.session_id)
        if session is None:
            return
        self._released[session.id] = max(lease.epoch, self._released.get(session.id, 0))
        if session.lease_epoch == lease.epoch:
            self._sessions[session.id] = replace(session, lease_holder=None)

    async def has_stopped(self, lease: Lease) -> bool:
        released = self._released.get(lease.session_id, 0) >= lease.epoch
        return released or lease.session_id not in self._sessions or not self._lives(lease.replica_id)

    async def orphans(self, replica_id: str, limit: int) -> list[Session]:
        found = [
            session
            for session in self._sessions.values()
            if session.phase is SessionPhase.RUNNING
            and (session.lease_holder in (None, replica_id) or not self._lives(session.lease_holder or ""))
        ]
        return sorted(found, key=lambda session: (session.last_active_at, session.id))[:limit]

    def knows(self, replica_id: str | None) -> bool:
        """Whether that replica lives, or nobody found yet that it does not."""
        return replica_id in self._expiries

    def _rival(self, session_id: str, replica_id: str) -> Lease | None:
        if session_id not in self._sessions:
            raise SessionNotFoundError(session_id)
        session = self._sessions[session_id]
        holder = session.lease_holder
        if holder is None or holder == replica_id:
            return None
        if not self._lives(holder):
            self._expiries.pop(holder, None)
            return None
        return Lease(session_id, holder, session.lease_epoch)

    def _take(self, session_id: str, replica_id: str) -> Lease:
        session = self._sessions[session_id]
        epoch = session.lease_epoch + 1
        self._sessions[session_id] = replace(session, lease_holder=replica_id, lease_epoch=epoch)
        return Lease(session_id, replica_id, epoch)

    def _lives(self, replica_id: str) -> bool:
        expiry = self._expiries.get(replica_id)
        return expiry is not None and expiry > self._clock.now()


class Bus:
    """What the replicas of one process tell each other; `deaf` loses every word."""

    def __init__(self) -> None:
        self.members: dict[BusWakeups, Callable[[Wakeup], None]] = {}
        self.deaf = False

    def deliver(self, member: "BusWakeups", wakeup: Wakeup) -> None:
        """Unless it has left meanwhile."""
        if (hear := self.members.get(member)) is not None:
            hear(wakeup)


class BusWakeups:
    """See `ports.Wakeups`: one replica's end of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def start(self, hear: Callable[[Wakeup], None]) -> None:
        self._bus.members[self] = hear

    def tell(self, wakeup: Wakeup) -> None:
        if self._bus.deaf or self not in self._bus.members:
            return
        for member in self._bus.members:
            if member is not self:
                asyncio.get_running_loop().call_soon(self._bus.deliver, member, wakeup)

    async def close(self) -> None:
        self._bus.members.pop(self, None)
