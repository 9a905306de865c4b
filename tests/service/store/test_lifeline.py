"""Leases and pings where connections fall silent, and the server does not."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only
from tests.postgres import PostgresServer
from tests.service.store.relay import free_port, relay
from tests.service.store.values import TickingClock

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.lease import Replica
from claude_agent_http.store import postgres_store, postgres_url
from claude_agent_http.store.postgres import PostgresDatabase
from claude_agent_http.store.postgres_address import PostgresAddress

pytestmark = pytest.mark.tier("postgres")

STAY = 4.0  # seconds


def over_tcp(dsn: str, port: int) -> str:
    """The same database behind a port of ours, where a `relay` can serve it."""
    database = PostgresAddress.parse(dsn).url.database or ""
    return postgres_url(
        host="127.0.0.1", port=port, username="postgres", database=database, sslmode="disable"
    )


@pytest.fixture
def socket_folder(postgres_server: PostgresServer) -> Path:
    return postgres_server.socket_folder


async def test_a_silent_connection_costs_no_lease(
    postgres_dsn: str, socket_folder: Path, clock: TickingClock
) -> None:
    port = free_port()
    async with relay(port, socket_folder) as flow:
        store = postgres_store(over_tcp(postgres_dsn, port), clock)
        await store.open()
        await store.leases.join(Replica("a", "", ""), STAY)
        for _ in range(2):
            assert await store.leases.renew("a", STAY) == 1
            await store.ping()
            flow.strand()
        async with asyncio.timeout(STAY / 2):
            assert await store.leases.renew("a", STAY) == 1
        await store.ping()
        await store.close()


async def test_a_renewal_whose_answer_is_lost_keeps_the_next_one_from_its_row_for_a_second(
    postgres_dsn: str, socket_folder: Path
) -> None:
    port = free_port()
    async with relay(port, socket_folder) as flow:
        database = PostgresDatabase(PostgresAddress.parse(over_tcp(postgres_dsn, port)))
        await database.write(
            lambda connection: connection.execute(text("CREATE TABLE t AS SELECT 1 AS n")) and None
        )
        tries: list[int] = []

        def renew(connection: Connection) -> int:
            tries.append(len(tries))
            n = int(connection.execute(text("UPDATE t SET n = n + 1 RETURNING n")).scalar_one())
            if len(tries) == 1:
                flow.strand()
            return n

        async with asyncio.timeout(5):
            assert await database.urgent(renew, patience=0.2) == 2
        assert len(tries) > 1
        await database.close()


async def test_who_is_just_slow_is_waited_for(postgres_dsn: str) -> None:
    database = PostgresDatabase(PostgresAddress.parse(postgres_dsn))
    answered, tries = asyncio.Event(), list[int]()

    def work(connection: Connection) -> int:
        number = len(tries)
        tries.append(number)
        if number == 0:
            await_only(answered.wait())
        elif number == 1:
            answered.set()
            connection.execute(text("SELECT pg_sleep(30)"))
        return number

    async with asyncio.timeout(5):
        assert await database.urgent(work, patience=0.05) == 0
    assert tries[:2] == [0, 1]
    await database.close()


async def test_what_fails_twice_fails(postgres_dsn: str) -> None:
    database = PostgresDatabase(PostgresAddress.parse(postgres_dsn))
    tries = []

    def fail(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("SELECT * FROM nothing"))

    with pytest.raises(StorageError, match="SQLSTATE 42P01"):
        await database.urgent(fail, patience=60)
    assert len(tries) == 2
    await database.close()
