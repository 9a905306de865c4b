"""What a database sees of the services on it: their stays, leases and events, who wrote each, and when.

Each service has a role of its own, so that the database knows who writes whatever the service says. Times are
of the database's clock, which is the host's.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
from tests.service.faults.history import Claimed, Fact, Left, Lives, Released, Wrote

from claude_agent_http.domain.event import Event, EventType

__all__ = ["Row", "facts_of", "make_role", "rows_of", "watch"]

_WATCH = """
CREATE TABLE seen (
    number BIGSERIAL PRIMARY KEY, at FLOAT8, writer TEXT, told_of TEXT, was JSONB, became JSONB
);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO seen (at, writer, told_of, was, became) VALUES (
        extract(epoch FROM clock_timestamp()), session_user, TG_TABLE_NAME, to_jsonb(OLD), to_jsonb(NEW)
    );
    RETURN NULL;
END $$;
CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON replicas FOR EACH ROW EXECUTE FUNCTION see();
CREATE TRIGGER see AFTER UPDATE OF lease_holder, lease_epoch, lease_released ON sessions
    FOR EACH ROW EXECUTE FUNCTION see();
CREATE TRIGGER see AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION see();
"""
_ROLE = """
DO $$ BEGIN CREATE ROLE "{0}" SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$
"""
_OF_ANYBODY = (EventType.USER_MESSAGE, EventType.USER_INTERRUPT, EventType.STATUS_RUNNING)


@dataclass(frozen=True, slots=True)
class Row:
    """A change: a row of the table `told_of` `was` this and `became` that, by the hand of `writer`."""

    at: float
    writer: str
    told_of: str
    was: Mapping[str, Any] | None
    became: Mapping[str, Any] | None


async def make_role(database: str, name: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(_ROLE.format(name))
    finally:
        await connection.close()


async def watch(database: str) -> None:
    """From now on, in a database with the service's schema."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(_WATCH)
    finally:
        await connection.close()


async def rows_of(database: str) -> list[Row]:
    connection = await asyncpg.connect(database)
    try:
        found = await connection.fetch("SELECT at, writer, told_of, was, became FROM seen ORDER BY number")
    finally:
        await connection.close()
    return [Row(*row[:3], *(None if part is None else json.loads(part) for part in row[3:])) for row in found]


def facts_of(rows: Sequence[Row], logs: Mapping[str, Sequence[Event]], doomed: frozenset[str]) -> list[Fact]:
    """`logs` as readers get them. A lease taken from a replica that lives is taken by force where the session
    is `doomed`; elsewhere the invariants are to see it."""
    seen = _Seen(doomed, logs)
    return [fact for row in rows for fact in seen.facts(row)]


class _Seen:
    def __init__(self, doomed: frozenset[str], logs: Mapping[str, Sequence[Event]]) -> None:
        self._doomed = doomed
        self._logs = logs
        self._writers: dict[str, str] = {}
        self._until: dict[str, float] = {}
        self._epochs: dict[tuple[str, str], int] = {}

    def facts(self, row: Row) -> Iterator[Fact]:
        if row.told_of == "replicas":
            yield from self._stay(row)
        elif row.told_of == "sessions" and row.was is not None and row.became is not None:
            yield from self._lease(row, row.was, row.became)
        elif row.told_of == "events" and row.became is not None:
            yield self._event(row, row.became)

    def _stay(self, row: Row) -> Iterator[Fact]:
        """Who is removed by another one has run out of time, which that one must have seen to."""
        if row.became is not None:
            replica, until = row.became["id"], row.became["expires_at"] / 1e6
            self._writers[replica], self._until[replica] = row.writer, until
            yield Lives(replica, until, row.at)
        elif row.was is not None and self._writers.get(row.was["id"]) == row.writer:
            self._until.pop(row.was["id"], None)
            yield Left(row.was["id"], row.at)

    def _lease(self, row: Row, was: Mapping[str, Any], became: Mapping[str, Any]) -> Iterator[Fact]:
        session, holder, epoch = became["id"], became["lease_holder"], became["lease_epoch"]
        if epoch > was["lease_epoch"]:
            self._epochs[session, row.writer] = epoch
            by_force = session in self._doomed and self._lives(was["lease_holder"], holder, row.at)
            yield Claimed(session, holder, epoch, row.at, row.at, by_force)
        elif holder is None and was["lease_holder"] is not None:
            yield Released(session, epoch, row.at)
        if became["lease_released"] > was["lease_released"]:
            yield Released(session, became["lease_released"], row.at)

    def _lives(self, former: str | None, later: str, at: float) -> bool:
        return former is not None and former != later and self._until.get(former, 0.0) > at

    def _event(self, row: Row, stored: Mapping[str, Any]) -> Wrote:
        session, kind = stored["session_id"], EventType.told(stored["type"])
        epoch = None if kind in _OF_ANYBODY else self._epochs.get((session, row.writer), 0)
        return Wrote(session, epoch, [self._told(stored, kind)], row.at)

    def _told(self, stored: Mapping[str, Any], kind: EventType) -> Event:
        """As readers get it; what the log does not hold at its place is like nothing there."""
        session, seq = stored["session_id"], stored["seq"]
        told = self._logs.get(session, ())[seq - 1 : seq]
        if told and told[0].id == stored["id"]:
            return told[0]
        at = datetime.fromtimestamp(stored["processed_at"] / 1e6, UTC)
        return Event(session, seq, stored["id"], kind, {}, stored["turn_id"], at)
