"""Leases over SQL: replicas as rows that expire, and the holder and epoch in each session's own row.

The session's row is what every append locks anyway, so that checking the epoch costs no statement.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session, SessionPhase
from claude_agent_http.store.columns import ExactText, UtcMicroseconds, row_of, to_microseconds
from claude_agent_http.store.database import Database, insert_new
from claude_agent_http.store.server_clock import ServerClock
from claude_agent_http.store.session_rows import held_under, select_sessions, to_session
from claude_agent_http.store.tables import replicas, seized_leases, sessions

_REMEMBERED_SECONDS = 3600.0
_PATIENCE_PART = 0.25
"""Of the stay: how long a renewal waits before it tries another way too."""


class SqlLeases:
    """Time is the database's, where several hosts share it: their own clocks may differ. `clock` is told of
    it by each that joins or renews its stay."""

    def __init__(self, database: Database, clock: ServerClock) -> None:
        self._database = database
        self._clock = clock

    async def forget_replicas(self) -> None:
        """For who has the database for itself: whoever had it before is gone."""
        await self._database.write(lambda connection: connection.execute(delete(replicas)) and None)

    async def join(self, replica: Replica, seconds: float) -> None:
        asked = self._clock.monotonic()

        def work(connection: Connection) -> datetime:
            now = self._now(connection)
            forgotten = now - round(_REMEMBERED_SECONDS * 1e6)
            connection.execute(delete(replicas).where(_micros(replicas.c.expires_at) < forgotten))
            row = {"id": replica.id, "name": replica.name, "version": replica.version}
            times = {"started_at": _moment(now), "expires_at": _moment(now + _whole(seconds))}
            connection.execute(insert_new(connection.dialect.name, replicas).values(row | times))
            return connection.execute(select(_moment(now))).scalar_one()

        self._clock.was_told(await self._database.write(work, repeatable=True), asked)

    async def renew(self, replica_id: str, seconds: float) -> int:
        asked = self._clock.monotonic()

        def work(connection: Connection) -> tuple[int, datetime | None]:
            now = self._now(connection)
            mine = and_(replicas.c.id == replica_id, _micros(replicas.c.expires_at) > now)
            change = update(replicas).where(mine).values(expires_at=_moment(now + _whole(seconds)))
            if connection.execute(change.returning(replicas.c.id)).first() is None:
                return 0, None
            alive = select(func.count()).select_from(replicas).where(_micros(replicas.c.expires_at) > now)
            lives = alive.scalar_subquery()
            count, moment = connection.execute(select(lives, _moment(now))).one()
            return count, moment

        count, moment = await self._database.urgent(work, patience=seconds * _PATIENCE_PART)
        if moment is not None:
            self._clock.was_told(moment, asked)
        return count

    async def bury(self) -> None:
        def work(connection: Connection) -> None:
            connection.execute(
                delete(replicas).where(_micros(replicas.c.expires_at) <= self._now(connection))
            )

        await self._database.write(work, repeatable=True)

    async def leave(self, replica_id: str) -> None:
        def work(connection: Connection) -> None:
            held = sessions.c.lease_holder == replica_id
            # In order of id, as every transaction that takes several does, so that none waits for the other.
            connection.execute(select(sessions.c.id).where(held).order_by(sessions.c.id).with_for_update())
            connection.execute(update(sessions).where(held).values(_given_up(sessions.c.lease_epoch)))
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))
            connection.execute(delete(seized_leases).where(seized_leases.c.replica_id == replica_id))

        await self._database.write(work, repeatable=True)

    async def claim(self, session_id: str, replica_id: str) -> Lease | None:
        def work(connection: Connection) -> Lease | None:
            if self._rival(connection, session_id, replica_id) is not None:
                return None
            if self._some_former_lives(connection, session_id, replica_id):
                return None
            return _take(connection, session_id, replica_id)

        return await self._database.write(work, repeatable=True)

    async def seize(self, session_id: str, replica_id: str) -> Lease:
        def work(connection: Connection) -> Lease:
            rival = self._rival(connection, session_id, replica_id)
            if rival is not None:
                connection.execute(insert(seized_leases).values(asdict(rival)))
            return _take(connection, session_id, replica_id)

        return await self._database.write(work, repeatable=True)

    async def release(self, lease: Lease) -> None:
        def work(connection: Connection) -> None:
            change = update(sessions).where(sessions.c.id == lease.session_id)
            connection.execute(change.values(_given_up(literal(lease.epoch))))
            its = (seized_leases.c.session_id == lease.session_id, seized_leases.c.epoch == lease.epoch)
            connection.execute(delete(seized_leases).where(*its))

        await self._database.write(work, repeatable=True)

    async def has_stopped(self, lease: Lease) -> bool:
        its = sessions.c.id == lease.session_id
        current = and_(*held_under(lease))
        seized = exists().where(*_unreleased, seized_leases.c.epoch == lease.epoch)

        def work(connection: Connection) -> bool:
            alive = self._is_alive(connection, literal(lease.replica_id, ExactText))
            running = select(sessions.c.id).where(its, or_(current, seized), alive)
            return connection.execute(running).first() is None

        return await self._database.read(work)

    async def is_alone(self, lease: Lease) -> bool:
        def work(connection: Connection) -> bool:
            earlier = self._has_former(connection, lease.replica_id, seized_leases.c.epoch < lease.epoch)
            query = select(sessions.c.id).where(sessions.c.id == lease.session_id, earlier)
            return connection.execute(query).first() is None

        return await self._database.read(work)

    async def held(self, replica_id: str) -> list[Lease]:
        current = select(sessions.c.id, sessions.c.lease_holder, sessions.c.lease_epoch)
        seized = select(seized_leases.c.session_id, seized_leases.c.replica_id, seized_leases.c.epoch)
        queries = (
            current.where(sessions.c.lease_holder == replica_id),
            seized.where(seized_leases.c.replica_id == replica_id),
        )

        def work(connection: Connection) -> list[Lease]:
            return [Lease(*row) for query in queries for row in connection.execute(query)]

        return await self._database.read(work)

    async def orphans(self, replica_id: str, limit: int, *, after: Session | None = None) -> list[Session]:
        def work(connection: Connection) -> list[Session]:
            holder = sessions.c.lease_holder
            free = or_(holder.is_(None), holder == replica_id, ~self._is_alive(connection, holder))
            alone = ~self._has_former(connection, replica_id)
            use = (sessions.c.last_active_at, sessions.c.id)
            query = select_sessions().where(sessions.c.phase == SessionPhase.RUNNING, free, alone)
            if after is not None:
                query = query.where(tuple_(*use) > row_of(use, (after.last_active_at, after.id)))
            rows = connection.execute(query.order_by(*use).limit(limit))
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

    def _some_former_lives(self, connection: Connection, session_id: str, replica_id: str) -> bool:
        """Whether a replica that the session was seized from may still run it. Its row is locked."""
        others = (seized_leases.c.session_id == session_id, seized_leases.c.replica_id != replica_id)
        query = select(seized_leases.c.replica_id).where(sessions.c.id == session_id, *_unreleased, *others)
        for former in connection.execute(query).scalars().all():
            self._bury(connection, former)
            if connection.execute(select(exists().where(replicas.c.id == former))).scalar_one():
                return True
        connection.execute(delete(seized_leases).where(*others))
        return False

    def _has_former(
        self, connection: Connection, replica_id: str, *more: ColumnElement[bool]
    ) -> ColumnElement[bool]:
        """Whether a session was seized from another living replica that has not given it up."""
        others = (seized_leases.c.replica_id != replica_id, *more)
        alive = self._is_alive(connection, seized_leases.c.replica_id)
        return exists().where(*_unreleased, *others, alive).correlate(sessions)

    def _bury(self, connection: Connection, replica_id: str) -> None:
        """When its time is up. A renewal that is under way comes either before this, or too late."""
        connection.execute(delete(replicas).where(replicas.c.id == replica_id, self._is_over(connection)))

    def _is_over(self, connection: Connection) -> ColumnElement[bool]:
        return _micros(replicas.c.expires_at) <= self._now(connection)

    def _is_alive(self, connection: Connection, holder: ColumnElement[str]) -> ColumnElement[bool]:
        alive = and_(replicas.c.id == holder, _micros(replicas.c.expires_at) > self._now(connection))
        return exists().where(alive)

    def _now(self, connection: Connection) -> ColumnElement[int]:
        """Microseconds since 1970."""
        if connection.dialect.name == "postgresql":
            return cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
        # Cast, for `type_coerce` would take a bare value for a datetime.
        return cast(literal(to_microseconds(self._clock.now()), BigInteger), BigInteger)


# What an older version gives up it tells in `lease_released` alone, so this one never runs ahead there.
_unreleased = (
    seized_leases.c.session_id == sessions.c.id,
    seized_leases.c.epoch > sessions.c.lease_released,
)


def _given_up(epoch: ColumnElement[int]) -> dict[str, Any]:
    """What changes in a session's row once nothing runs under the lease of this epoch."""
    earlier = exists().where(seized_leases.c.session_id == sessions.c.id, seized_leases.c.epoch < epoch)
    is_newest = and_(sessions.c.lease_released < epoch, ~earlier.correlate(sessions))
    return {
        "lease_holder": case((sessions.c.lease_epoch == epoch, None), else_=sessions.c.lease_holder),
        "lease_released": case((is_newest, epoch), else_=sessions.c.lease_released),
    }


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
