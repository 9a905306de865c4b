"""What the shared SQL needs of a database: run a unit of work in one transaction."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

START_SECONDS = 30.0
"""How long to try while a database server starts."""

_IDS_AT_ONCE = 1000
"""Both databases allow some 32,000 parameters in a statement."""

Work = Callable[[Connection], T]
"""One transaction's statements, written once for both databases; committed when it returns."""


class Database(Protocol):
    """Every method raises StorageError; a cancelled `read` or `write` has happened whole or not at all.

    `is_shared`: several processes may use it at once."""

    is_shared: bool

    async def connect(self, *, exclusive: bool = True) -> None:
        """Connect and, if `exclusive`, take the lock of a database that is not shared.

        Raises ServiceLockedError."""
        ...

    async def migrate(self, work: Work[T]) -> T:
        """Like `write`, for work that changes the schema; one process at a time.

        Raises ServiceLockedError."""
        ...

    async def read(self, work: Work[T]) -> T: ...

    async def write(self, work: Work[T], *, repeatable: bool = False) -> T:
        """`repeatable` work does no harm when it runs again, which a broken connection may need."""
        ...

    async def urgent(self, work: Work[T], *, patience: float) -> T:
        """Like a repeatable `write`, but never behind others: for what keeps the service alive. It begins
        again after each `patience` seconds without an answer, if a new connection could make a difference."""
        ...

    async def ping(self) -> None: ...

    async def scrub(self) -> bool:
        """See `ports.Store.scrub`."""
        ...

    async def close(self) -> None:
        """Let running work end, give the lock back and disconnect; safe to call twice."""
        ...


@cache  # Building a statement costs more than running it.
def insert_new(dialect: str, table: Table) -> Insert:
    """An insert that leaves out every row which a unique constraint knows already."""
    return insert_into(dialect, table).on_conflict_do_nothing()


def insert_into(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that may say what becomes of a row which a unique constraint knows already."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def rows_of_ids(connection: Connection, query: Executable, ids: Sequence[str], **more: Any) -> Iterator[Any]:
    """Of a query with an expanding parameter `ids`, run as often as so many need; `more` are its others."""
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield from connection.execute(query, more | {"ids": ids[start : start + _IDS_AT_ONCE]})
