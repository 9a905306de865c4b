import shutil

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.postgres import start_installed


@pytest.mark.parametrize("round_", [1, 2])
async def test_each_test_has_an_empty_database_of_its_own(postgres_dsn, round_):
    engine = create_async_engine(postgres_dsn)
    try:
        async with engine.begin() as connection:
            count = await connection.scalar(
                text("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
            )
            await connection.execute(text("CREATE TABLE left_behind (id int)"))
    finally:
        await engine.dispose()
    assert count == 0


@pytest.mark.tier("postgres")
@pytest.mark.skipif(not shutil.which("pg_ctl"), reason="no Postgres is installed on this machine")
async def test_an_installed_server_serves_as_well():
    with start_installed() as server:
        connection = await asyncpg.connect(server.url("postgres"), timeout=30)
        try:
            assert await connection.fetchval("SELECT 1") == 1
        finally:
            await connection.close()
