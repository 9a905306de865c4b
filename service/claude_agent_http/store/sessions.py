"""SessionStore over SQL."""

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, tuple_, update

from claude_agent_http.domain.errors import (
    InvalidInputError,
    LeaseLostError,
    SessionConflictError,
    SessionNotFoundError,
    StorageError,
)
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionHead, SessionPhase, SessionStatus
from claude_agent_http.store.closed import claim_closed, delete_closed, expired
from claude_agent_http.store.closed_sizes import excess
from claude_agent_http.store.columns import row_of
from claude_agent_http.store.database import Database, insert_new, rows_of_ids
from claude_agent_http.store.session_rows import COLUMNS, FIELDS, held_under, select_sessions, to_session
from claude_agent_http.store.tables import sessions, transcript_entries

_HEADS = select(*(sessions.c[field.name] for field in fields(SessionHead))).where(
    sessions.c.id.in_(bindparam("ids", expanding=True))
)
_CREATE_TRIES = 3

CLOSE_AT_ONCE = 500


class SqlSessionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, session: Session) -> Session:
        return await self._database.write(lambda connection: _create(connection, session), repeatable=True)

    async def find_repeat(self, session: Session) -> Session | None:
        return await self._database.read(lambda connection: _same(connection, session))

    async def get(self, session_id: str) -> Session:
        return await self._database.read(lambda connection: _get(connection, session_id))

    async def list_ids(self, *, user_id: str | None, limit: int, after: str | None = None) -> list[str]:
        return await self._database.read(lambda connection: _list_ids(connection, user_id, limit, after))

    async def one_a_folder(self, user_id: str, *, limit: int, after: str | None = None) -> list[Session]:
        return await self._database.read(lambda connection: _one_a_folder(connection, user_id, limit, after))

    async def heads(self, session_ids: Collection[str]) -> dict[str, SessionHead]:
        ids = list(session_ids)

        def work(connection: Connection) -> dict[str, SessionHead]:
            return {row.id: SessionHead(*row) for row in rows_of_ids(connection, _HEADS, ids)}

        return await self._database.read(work) if ids else {}

    async def count(self, status: SessionStatus) -> int:
        query = select(func.count()).where(sessions.c.status == status)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def set_status(self, session_id: str, status: SessionStatus, at: datetime) -> Session:
        return await self._database.write(
            lambda connection: _set_status(connection, session_id, status, at), repeatable=True
        )

    async def close_unused(self, before: datetime) -> list[str]:
        return await self._database.write(lambda connection: _close_unused(connection, before))

    async def expired(self, through: datetime) -> list[list[str]]:
        return await self._database.read(partial(expired, through=through))

    async def claim_closed(
        self, session_ids: Collection[str], through: datetime, replica_id: str
    ) -> list[Session]:
        return await self._database.write(
            partial(claim_closed, ids=session_ids, through=through, replica_id=replica_id)
        )

    async def delete_closed(self, leases: Collection[Lease], through: datetime) -> list[Session]:
        return await self._database.write(partial(delete_closed, leases=leases, through=through))

    async def excess(self, most_bytes: int) -> datetime | None:
        return await excess(self._database, most_bytes)

    async def delete(self, session_id: str, *, lease: Lease | None = None) -> None:
        await self._database.write(lambda connection: _delete(connection, session_id, lease))


def _create(connection: Connection, session: Session) -> Session:
    values = {name: getattr(session, name) for name in FIELDS}
    insert = insert_new(connection.dialect.name, sessions).returning(sessions.c.id)
    for _ in range(_CREATE_TRIES):
        if connection.execute(insert, values).first() is not None:
            return session
        if stored := _same(connection, session):
            return stored
    raise StorageError("the session was created and deleted elsewhere at the same time; try again")


def _same(connection: Connection, session: Session) -> Session | None:
    """The stored session with this id, else with this key; None when it went away meanwhile."""
    same = sessions.c.id == session.id
    if (key := session.idempotency_key) is not None:  # A comparison with None would find every one without.
        same = or_(same, and_(sessions.c.user_id == session.user_id, sessions.c.idempotency_key == key))
    rows = connection.execute(select_sessions().where(same))
    found = sorted((to_session(row) for row in rows), key=lambda stored: stored.id != session.id)
    for stored in found:
        check_same_creation(stored, session)
    return found[0] if found else None


def check_same_creation(stored: Session, wanted: Session) -> None:
    """Raises SessionConflictError unless both were asked for with the same values."""
    if stored.creation_digest == wanted.creation_digest:
        return
    if stored.id == wanted.id:
        raise SessionConflictError(
            f"session {wanted.id!r} exists already with other values; use another session_id"
        )
    raise SessionConflictError("this Idempotency-Key was used before with other values; use a new key")


def unknown_position() -> InvalidInputError:
    """Not an empty page: who goes on behind a session deleted meanwhile would miss all the others."""
    return InvalidInputError("after", "no session has this id, or not any more; list from the start")


def _get(connection: Connection, session_id: str) -> Session:
    row = connection.execute(select_sessions().where(sessions.c.id == session_id)).first()
    if row is None:
        raise SessionNotFoundError(session_id)
    return to_session(row)


def _list_ids(connection: Connection, user_id: str | None, limit: int, after: str | None) -> list[str]:
    query = select(sessions.c.id).order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).limit(limit)
    if user_id is not None:
        query = query.where(sessions.c.user_id == user_id)
    if after is not None:
        position = select(sessions.c.created_at, sessions.c.id).where(sessions.c.id == after)
        if user_id is not None:  # else the answer would tell of others' sessions whether they exist
            position = position.where(sessions.c.user_id == user_id)
        behind = connection.execute(position).first()
        if behind is None:
            raise unknown_position()
        age = (sessions.c.created_at, sessions.c.id)
        query = query.where(tuple_(*age) < row_of(age, behind))
    return list(connection.execute(query).scalars())


def _one_a_folder(connection: Connection, user_id: str, limit: int, after: str | None) -> list[Session]:
    used = and_(sessions.c.user_id == user_id, sessions.c.message_count > 0)
    if after is not None:
        used = and_(used, sessions.c.cwd > after)
    one = select(func.min(sessions.c.id)).where(used).group_by(sessions.c.cwd).order_by(sessions.c.cwd)
    query = select_sessions().where(sessions.c.id.in_(one.limit(limit))).order_by(sessions.c.cwd)
    return [to_session(row) for row in connection.execute(query)]


def _set_status(connection: Connection, session_id: str, status: SessionStatus, at: datetime) -> Session:
    change = update(sessions).where(sessions.c.id == session_id).values(status=status, last_active_at=at)
    row = connection.execute(change.returning(*COLUMNS)).first()
    if row is None:
        raise SessionNotFoundError(session_id)
    return to_session(row)


def _close_unused(connection: Connection, before: datetime) -> list[str]:
    # A session whose row is locked is being used.
    unused = (
        select(sessions.c.id)
        .where(sessions.c.status == SessionStatus.ACTIVE, sessions.c.phase == SessionPhase.IDLE)
        .where(sessions.c.last_active_at < before)
        .order_by(sessions.c.last_active_at, sessions.c.id)
        .limit(CLOSE_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    change = update(sessions).where(sessions.c.id.in_(unused)).values(status=SessionStatus.CLOSED)
    return sorted(connection.execute(change.returning(sessions.c.id)).scalars())


def _delete(connection: Connection, session_id: str, lease: Lease | None) -> None:
    gone = delete(sessions).where(sessions.c.id == session_id).returning(sessions.c.id)
    if lease is not None:
        gone = gone.where(*held_under(lease))
    if connection.execute(gone).first() is None:
        _get(connection, session_id)
        raise LeaseLostError(session_id)
    connection.execute(delete(transcript_entries).where(transcript_entries.c.session_id == session_id))
