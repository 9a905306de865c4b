"""UsageStore over SQL."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, delete, func, select

from claude_agent_http.domain.usage import AMOUNTS, ERASED, DayUsage, Spending, UsageBatch, erased_name
from claude_agent_http.ports import Clock
from claude_agent_http.store.database import Database, insert_into, rows_of_ids
from claude_agent_http.store.tables import sessions, usage_days, usage_sessions, usage_writers

__all__ = ["SqlUsageStore"]

_FORGET_WRITERS = timedelta(days=7)
# Locked against deletion until the commit; in order, so that two transactions never wait for each other.
_LIVING = (
    select(sessions.c.id)
    .where(sessions.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(sessions.c.id)
    .with_for_update(read=True, key_share=True)
)
# Between the names that begin so, in the order of the key.
_OF_ERASED = delete(usage_days).where(
    usage_days.c.user_id >= ERASED,
    usage_days.c.user_id < ERASED[:-1] + chr(ord(ERASED[-1]) + 1),
    usage_days.c.day < bindparam("today"),
)


class SqlUsageStore:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, batch: UsageBatch) -> None:
        today = self._clock.now().date()
        await self._database.write(lambda connection: _add(connection, batch, today), repeatable=True)

    async def of_session(self, session_id: str) -> dict[str, Spending]:
        columns = [usage_sessions.c[name] for name in AMOUNTS]
        query = select(usage_sessions.c.model, *columns).where(usage_sessions.c.session_id == session_id)
        rows = await self._rows(query.order_by(usage_sessions.c.model))
        return {model: Spending(*amounts) for model, *amounts in rows}

    async def total_of_session(self, session_id: str) -> Spending:
        query = select(*_sums(usage_sessions)).where(usage_sessions.c.session_id == session_id)
        return _spending(await self._rows(query))

    async def of_days(self, first: date, last: date, *, user_id: str | None) -> list[DayUsage]:
        day, model = usage_days.c.day, usage_days.c.model
        query = select(day, model, *_sums(usage_days)).where(
            day >= first.isoformat(), day <= last.isoformat(), *_of_users(user_id)
        )
        rows = await self._rows(query.group_by(day, model).order_by(day, model))
        return [DayUsage(date.fromisoformat(on), name, _spending([amounts])) for on, name, *amounts in rows]

    async def total_of_day(self, day: date, *, user_id: str | None) -> Spending:
        whose = _of_users(user_id, *(() if user_id is None else (erased_name(user_id, day),)))
        query = select(*_sums(usage_days)).where(usage_days.c.day == day.isoformat(), *whose)
        return _spending(await self._rows(query))

    async def erase(self, user_id: str, today: date) -> None:
        await self._database.write(lambda connection: _erase(connection, user_id, today), repeatable=True)

    async def forget_erased(self, today: date) -> None:
        await self._database.write(
            lambda connection: connection.execute(_OF_ERASED, {"today": today.isoformat()}), repeatable=True
        )

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        return await self._database.read(lambda connection: connection.execute(query).all())


def _add(connection: Connection, batch: UsageBatch, today: date) -> None:
    if _is_repeat(connection, batch, today):
        return
    days: dict[tuple[str, ...], Spending] = {}
    of_sessions: dict[tuple[str, ...], Spending] = {}
    living = _living(connection, sorted({account.session_id for account, _ in batch.spent}))
    for account, spent in batch.spent:
        _count(days, (account.user_id, account.day.isoformat(), account.model), spent)
        if account.session_id in living:
            _count(of_sessions, (account.session_id, account.model), spent)
    _add_rows(connection, usage_days, days)
    _add_rows(connection, usage_sessions, of_sessions)


def _erase(connection: Connection, user_id: str, today: date) -> None:
    """One statement takes the rows and reads them, so that nothing is added in between and lost."""
    columns = [usage_days.c.day, usage_days.c.model, *(usage_days.c[name] for name in AMOUNTS)]
    gone = delete(usage_days).where(usage_days.c.user_id == user_id).returning(*columns)
    kept: dict[tuple[str, ...], Spending] = {}
    for day, model, *amounts in connection.execute(gone):
        if (on := date.fromisoformat(day)) >= today:
            _count(kept, (erased_name(user_id, on), day, model), Spending(*amounts))
    _add_rows(connection, usage_days, kept)


def _is_repeat(connection: Connection, batch: UsageBatch, today: date) -> bool:
    """Also notes the batch, and forgets writers that are long gone."""
    writer, number = usage_writers.c.writer, usage_writers.c.number
    last = connection.execute(select(number).where(writer == batch.writer)).scalar()
    if last is not None and last >= batch.number:
        return True
    if last is None:
        old = (today - _FORGET_WRITERS).isoformat()
        connection.execute(delete(usage_writers).where(usage_writers.c.day < old))
    insert = insert_into(connection.dialect.name, usage_writers)
    noted = insert.on_conflict_do_update(
        index_elements=[writer], set_={"number": insert.excluded.number, "day": insert.excluded.day}
    )
    row = {"writer": batch.writer, "number": batch.number, "day": today.isoformat()}
    connection.execute(noted, row)
    return False


def _living(connection: Connection, ids: list[str]) -> set[str]:
    return {row.id for row in rows_of_ids(connection, _LIVING, ids)}


def _count(sums: dict[tuple[str, ...], Spending], key: tuple[str, ...], spent: Spending) -> None:
    sums[key] = sums.get(key, Spending()) + spent


def _add_rows(connection: Connection, table: Table, sums: Mapping[tuple[str, ...], Spending]) -> None:
    """In order of the key, so that two transactions never wait for each other."""
    names = [column.name for column in table.primary_key]
    rows = [
        dict(zip(names, key, strict=True)) | {name: getattr(spent, name) for name in AMOUNTS}
        for key, spent in sorted(sums.items(), key=lambda one: one[0])
    ]
    if rows:
        connection.execute(_adding(connection.dialect.name, table), rows)


@cache  # Building a statement costs more than running it.
def _adding(dialect: str, table: Table) -> Any:
    insert = insert_into(dialect, table)
    grown = {name: table.c[name] + insert.excluded[name] for name in AMOUNTS}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=grown)


def _sums(table: Table) -> list[Any]:
    return [func.coalesce(func.sum(table.c[name]), 0) for name in AMOUNTS]


def _of_users(user_id: str | None, *others: str) -> list[Any]:
    return [] if user_id is None else [usage_days.c.user_id.in_((user_id, *others))]


def _spending(rows: Sequence[Sequence[Any]]) -> Spending:
    """PostgreSQL sums big integers as numerics."""
    return Spending(*map(int, rows[0]))
