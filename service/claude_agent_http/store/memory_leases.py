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
        self._seized: dict[str, dict[int, str]] = {}

    async def join(self, replica: Replica, seconds: float) -> None:
        self._expiries.setdefault(replica.id, self._clock.now() + timedelta(seconds=seconds))

    async def renew(self, replica_id: str, seconds: float) -> int:
        if not self._lives(replica_id):
            return 0
        self._expiries[replica_id] = self._clock.now() + timedelta(seconds=seconds)
        return sum(map(self._lives, self._expiries))

    async def bury(self) -> None:
        for replica_id in [each for each in self._expiries if not self._lives(each)]:
            del self._expiries[replica_id]

    async def leave(self, replica_id: str) -> None:
        for session in list(self._sessions.values()):
            if session.lease_holder == replica_id:
                self._sessions[session.id] = replace(session, lease_holder=None)
        for session_id in self._seized:
            self._drop(session_id, lambda holder: holder == replica_id)
        self._expiries.pop(replica_id, None)

    async def claim(self, session_id: str, replica_id: str) -> Lease | None:
        if self._rival(session_id, replica_id) or self._has_former(session_id, replica_id):
            return None
        self._drop(session_id, lambda holder: holder != replica_id)
        return self._take(session_id, replica_id)

    async def seize(self, session_id: str, replica_id: str) -> Lease:
        rival = self._rival(session_id, replica_id)
        if rival is not None:
            self._seized.setdefault(session_id, {})[rival.epoch] = rival.replica_id
        return self._take(session_id, replica_id)

    async def release(self, lease: Lease) -> None:
        session = self._sessions.get(lease.session_id)
        if session is None:
            return
        self._seized.get(session.id, {}).pop(lease.epoch, None)
        if session.lease_epoch == lease.epoch:
            self._sessions[session.id] = replace(session, lease_holder=None)

    async def has_stopped(self, lease: Lease) -> bool:
        session = self._sessions.get(lease.session_id)
        seized = self._seized.get(lease.session_id, {})
        has_it = session is not None and (session.is_held_under(lease) or lease.epoch in seized)
        return not has_it or not self._lives(lease.replica_id)

    async def is_alone(self, lease: Lease) -> bool:
        return not self._has_former(lease.session_id, lease.replica_id, before=lease.epoch)

    async def held(self, replica_id: str) -> list[Lease]:
        current = [(each.id, each.lease_holder, each.lease_epoch) for each in self._sessions.values()]
        seized = [(id_, holder, epoch) for id_, its in self._seized.items() for epoch, holder in its.items()]
        return [Lease(id_, holder, epoch) for id_, holder, epoch in current + seized if holder == replica_id]

    async def orphans(self, replica_id: str, limit: int, *, after: Session | None = None) -> list[Session]:
        found = [
            session
            for session in self._sessions.values()
            if session.phase is SessionPhase.RUNNING
            and (session.lease_holder in (None, replica_id) or not self._lives(session.lease_holder or ""))
            and not self._has_former(session.id, replica_id)
            and (after is None or _use(session) > _use(after))
        ]
        return sorted(found, key=_use)[:limit]

    def may_run(self, session: Session) -> bool:
        """Whether a replica has it, or had it, that lives, or of which nobody found yet that it does not."""
        seized = self._seized.get(session.id, {})
        return any(holder in self._expiries for holder in (session.lease_holder, *seized.values()))

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

    def _has_former(self, session_id: str, replica_id: str, before: int | None = None) -> bool:
        """Whether it was seized from another living replica that has not given it up."""
        seized = self._seized.get(session_id, {})
        earlier = [holder for epoch, holder in seized.items() if before is None or epoch < before]
        return any(holder != replica_id and self._lives(holder) for holder in earlier)

    def _drop(self, session_id: str, is_over: Callable[[str], bool]) -> None:
        """Of the leases seized in a session those of such replicas."""
        seized = self._seized.get(session_id, {})
        for epoch in [epoch for epoch, holder in seized.items() if is_over(holder)]:
            del seized[epoch]

    def forget(self, session_id: str) -> None:
        """It was deleted."""
        self._seized.pop(session_id, None)

    def _take(self, session_id: str, replica_id: str) -> Lease:
        session = self._sessions[session_id]
        epoch = session.lease_epoch + 1
        self._sessions[session_id] = replace(session, lease_holder=replica_id, lease_epoch=epoch)
        return Lease(session_id, replica_id, epoch)

    def _lives(self, replica_id: str) -> bool:
        expiry = self._expiries.get(replica_id)
        return expiry is not None and expiry > self._clock.now()


def _use(session: Session) -> tuple[datetime, str]:
    return session.last_active_at, session.id


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
