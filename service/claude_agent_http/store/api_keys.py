"""ApiKeys over SQL."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, literal, or_, select, tuple_, update

from claude_agent_http.domain.api_key import ApiKey, KeyScope
from claude_agent_http.domain.errors import InvalidInputError
from claude_agent_http.store.columns import row_of
from claude_agent_http.store.database import Database, insert_new
from claude_agent_http.store.tables import api_keys

__all__ = ["SqlApiKeys", "unknown_key"]

_at = bindparam("at", type_=api_keys.c.last_used_at.type)
_USED = (
    update(api_keys)
    .where(api_keys.c.id == bindparam("key_id"))
    .where(or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < _at))
    .values(last_used_at=_at)
)


class SqlApiKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKey) -> None:
        def work(connection: Connection) -> None:
            connection.execute(insert_new(connection.dialect.name, api_keys), _values(key))

        await self._database.write(work, repeatable=True)

    async def get(self, key_id: str) -> ApiKey | None:
        query = select(api_keys).where(api_keys.c.id == key_id)
        return await self._database.read(lambda connection: _first(connection.execute(query).first()))

    async def page(self, *, limit: int, after: str | None = None) -> list[ApiKey]:
        return await self._database.read(lambda connection: _page(connection, limit, after))

    async def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        moment = literal(at, api_keys.c.revoked_at.type)
        first = func.coalesce(api_keys.c.revoked_at, moment, type_=api_keys.c.revoked_at.type)
        change = update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=first)

        def work(connection: Connection) -> ApiKey | None:
            return _first(connection.execute(change.returning(*api_keys.c)).first())

        return await self._database.write(work, repeatable=True)

    async def used(self, times: Mapping[str, datetime]) -> None:
        # In one order everywhere: replicas that write the same keys must not wait for each other in a ring.
        rows = [{"key_id": key_id, "at": times[key_id]} for key_id in sorted(times)]
        if rows:
            await self._database.write(lambda connection: connection.execute(_USED, rows), repeatable=True)

    async def delete_of(self, user_id: str) -> int:
        gone = delete(api_keys).where(api_keys.c.user_id == user_id).returning(api_keys.c.id)
        return await self._database.write(lambda connection: len(connection.execute(gone).all()))


def unknown_key() -> InvalidInputError:
    return InvalidInputError("after", "no key has this id; list from the start")


def _page(connection: Connection, limit: int, after: str | None) -> list[ApiKey]:
    age = (api_keys.c.created_at, api_keys.c.id)
    query = select(api_keys).order_by(*(column.desc() for column in age)).limit(limit)
    if after is not None:
        behind = connection.execute(select(*age).where(api_keys.c.id == after)).first()
        if behind is None:
            raise unknown_key()
        query = query.where(tuple_(*age) < row_of(age, behind))
    return [_to_key(row) for row in connection.execute(query)]


def _first(row: Row[Any] | None) -> ApiKey | None:
    return None if row is None else _to_key(row)


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        digest=row.digest,
        scope=KeyScope(row.user_id, row.acts_for_any, row.is_admin),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def _values(key: ApiKey) -> dict[str, Any]:
    own = ("id", "name", "digest", "created_at", "expires_at", "last_used_at", "revoked_at")
    scope = ("user_id", "acts_for_any", "is_admin")
    return {name: getattr(key, name) for name in own} | {name: getattr(key.scope, name) for name in scope}
