"""What the shared SQL needs of a database: run a unit of work in one transaction."""

from collections.abc import Callable
from functools import cache
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

START_SECONDS = 30.0
"""How long to try while a database server starts."""

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

    async def urgent(self, work: Work[T]) -> T:
        """Like a repeatable `write`, but never behind others: for what keeps the service alive."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None:
        """Let running work end, give the lock back and disconnect; safe to call twice."""
        ...


@cache  # Building a statement costs more than running it.
def insert_new(dialect: str, table: Table) -> Insert:
    """An insert that leaves out every row which a unique constraint knows already."""
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
