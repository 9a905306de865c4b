"""Leases over SQL: replicas as rows that expire, and the holder and epoch in each session's own row.

The session's row is what every append locks anyway, so that checking the epoch costs no statement.
"""

from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
    update,
)

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session, SessionPhase
from claude_agent_http.ports import Clock
from claude_agent_http.store.columns import ExactText, UtcMicroseconds, to_microseconds
from claude_agent_http.store.database import Database, insert_new
from claude_agent_http.store.session_rows import select_sessions, to_session
from claude_agent_http.store.tables import replicas, sessions

_REMEMBERED_SECONDS = 3600.0


class SqlLeases:
    """Time is the database's, where several hosts share it: their own clocks may differ."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def forget_replicas(self) -> None:
        """For who has the database for itself: whoever had it before is gone."""
        await self._database.write(lambda connection: connection.execute(delete(replicas)) and None)

    async def join(self, replica: Replica, seconds: float) -> None:
        def work(connection: Connection) -> None:
            now = self._now(connection)
            forgotten = now - round(_REMEMBERED_SECONDS * 1e6)
            connection.execute(delete(replicas).where(_micros(replicas.c.expires_at) < forgotten))
            row = {"id": replica.id, "name": replica.name, "version": replica.version}
            times = {"started_at": _moment(now), "expires_at": _moment(now + _whole(seconds))}
            connection.execute(insert_new(connection.dialect.name, replicas).values(row | times))

        await self._database.write(work, repeatable=True)

    async def renew(self, replica_id: str, seconds: float) -> int:
        def work(connection: Connection) -> int:
            now = self._now(connection)
            mine = and_(replicas.c.id == replica_id, _micros(replicas.c.expires_at) > now)
            change = update(replicas).where(mine).values(expires_at=_moment(now + _whole(seconds)))
            if connection.execute(change.returning(replicas.c.id)).first() is None:
                return 0
            alive = select(func.count()).select_from(replicas).where(_micros(replicas.c.expires_at) > now)
            return connection.execute(alive).scalar_one()

        return await self._database.urgent(work)

    async def leave(self, replica_id: str) -> None:
        def work(connection: Connection) -> None:
            held = sessions.c.lease_holder == replica_id
            # In order of id, as every transaction that takes several does, so that none waits for the other.
            connection.execute(select(sessions.c.id).where(held).order_by(sessions.c.id).with_for_update())
            released = {"lease_holder": None, "lease_released": sessions.c.lease_epoch}
            connection.execute(update(sessions).where(held).values(released))
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))

        await self._database.write(work, repeatable=True)

    async def claim(self, session_id: str, replica_id: str) -> Lease | None:
        def work(connection: Connection) -> Lease | None:
            if self._rival(connection, session_id, replica_id) is not None:
                return None
            return _take(connection, session_id, replica_id)

        return await self._database.write(work, repeatable=True)

    async def seize(self, session_id: str, replica_id: str) -> tuple[Lease, Lease | None]:
        def work(connection: Connection) -> tuple[Lease, Lease | None]:
            rival = self._rival(connection, session_id, replica_id)
            return _take(connection, session_id, replica_id), rival

        return await self._database.write(work)

    async def release(self, lease: Lease) -> None:
        def work(connection: Connection) -> None:
            its = sessions.c.id == lease.session_id
            stopped = and_(its, sessions.c.lease_released < lease.epoch)
            connection.execute(update(sessions).where(stopped).values(lease_released=lease.epoch))
            current = and_(its, sessions.c.lease_epoch == lease.epoch)
            connection.execute(update(sessions).where(current).values(lease_holder=None))

        await self._database.write(work, repeatable=True)

    async def has_stopped(self, lease: Lease) -> bool:
        running = and_(sessions.c.id == lease.session_id, sessions.c.lease_released < lease.epoch)

        def work(connection: Connection) -> bool:
            alive = self._is_alive(connection, literal(lease.replica_id, ExactText))
            return connection.execute(select(sessions.c.id).where(running, alive)).first() is None

        return await self._database.read(work)

    async def orphans(self, replica_id: str, limit: int) -> list[Session]:
        def work(connection: Connection) -> list[Session]:
            holder = sessions.c.lease_holder
            free = or_(holder.is_(None), holder == replica_id, ~self._is_alive(connection, holder))
            query = select_sessions().where(sessions.c.phase == SessionPhase.RUNNING, free)
            rows = connection.execute(query.order_by(sessions.c.last_active_at, sessions.c.id).limit(limit))
            return [to_session(row) for row in rows]

        return await self._database.read(work)

    def _rival(self, connection: Connection, session_id: str, replica_id: str) -> Lease | None:
        """The lease of another living replica. Locks the session's row."""
        columns = (sessions.c.lease_holder, sessions.c.lease_epoch)
        query = select(*columns).where(sessions.c.id == session_id).with_for_update()
        row = connection.execute(query).first()
        if row is None:
            raise SessionNotFoundError(session_id)
        holder, epoch = row
        if holder is None or holder == replica_id:
            return None
        self._bury(connection, holder)
        alive = connection.execute(select(exists().where(replicas.c.id == holder))).scalar_one()
        return Lease(session_id, holder, epoch) if alive else None

    def _bury(self, connection: Connection, replica_id: str) -> None:
        """When its time is up. A renewal that is under way comes either before this, or too late."""
        expired = _micros(replicas.c.expires_at) <= self._now(connection)
        connection.execute(delete(replicas).where(replicas.c.id == replica_id, expired))

    def _is_alive(self, connection: Connection, holder: ColumnElement[str]) -> ColumnElement[bool]:
        alive = and_(replicas.c.id == holder, _micros(replicas.c.expires_at) > self._now(connection))
        return exists().where(alive)

    def _now(self, connection: Connection) -> ColumnElement[int]:
        """Microseconds since 1970."""
        if connection.dialect.name == "postgresql":
            return cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
        # Cast, for `type_coerce` would take a bare value for a datetime.
        return cast(literal(to_microseconds(self._clock.now()), BigInteger), BigInteger)


def _take(connection: Connection, session_id: str, replica_id: str) -> Lease:
    taken = {"lease_holder": replica_id, "lease_epoch": sessions.c.lease_epoch + 1}
    change = update(sessions).where(sessions.c.id == session_id).values(taken)
    epoch = connection.execute(change.returning(sessions.c.lease_epoch)).scalar_one()
    return Lease(session_id, replica_id, epoch)


def _micros(column: ColumnElement[datetime]) -> ColumnElement[int]:
    return type_coerce(column, BigInteger)


def _moment(micros: ColumnElement[int]) -> ColumnElement[datetime]:
    return type_coerce(micros, UtcMicroseconds)


def _whole(seconds: float) -> int:
    return round(timedelta(seconds=seconds) / timedelta(microseconds=1))
