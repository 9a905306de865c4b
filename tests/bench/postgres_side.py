"""A PostgreSQL for one measure."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from tests.postgres import PostgresServer, start_postgres
from tests.probes import PROBES

__all__ = ["postgres", "why_no_postgres"]


def why_no_postgres() -> str | None:
    """None where one can be started."""
    return PROBES["postgres"]()


@asynccontextmanager
async def postgres() -> AsyncIterator[PostgresServer]:
    """A new server with one empty database, `postgres`; gone at exit."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")  # it does well without
        # In a thread: starting it takes more than a second.
        yield await asyncio.to_thread(stack.enter_context, start_postgres())
