"""The service on a database that it reaches through a transaction pooler."""

import asyncio
import random
from collections import Counter

import pytest
from tests.pgbouncer import PgBouncer
from tests.proof import amount
from tests.service.e2e.client import Client, assert_dense, script, tokens
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import Services
from tests.service.e2e.test_replicas import Replicas, one_kill

pytestmark = [pytest.mark.tier("cli", "pgbouncer", "postgres")]


async def pooled(storage: Storage, pgbouncer: PgBouncer) -> dict[str, str]:
    """The storage, reached through the pooler."""
    await pgbouncer.open_all(storage.env["CLAUDE_AGENT_SESSION_PG_DATABASE"])
    return storage.env | {
        "CLAUDE_AGENT_SESSION_PG_HOST": str(pgbouncer.socket_folder),
        "CLAUDE_AGENT_SESSION_PG_PORT": str(pgbouncer.port),
        "CLAUDE_AGENT_SESSION_PG_DIRECT_HOST": storage.env["CLAUDE_AGENT_SESSION_PG_HOST"],
        "CLAUDE_AGENT_SESSION_PG_DIRECT_PORT": "5432",
    }


@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
async def test_conversations_go_on_over_a_restart(
    services: Services, storage: Storage, pgbouncer: PgBouncer
) -> None:
    database = storage.env["CLAUDE_AGENT_SESSION_PG_DATABASE"]
    service = services.start(**await pooled(storage, pgbouncer))
    assert f"{pgbouncer.socket_folder}:6432/{database} (server at " in service.log
    names = ["Ann", "Bob", "Cyd"]
    async with Client(service.url) as client:
        sessions = [await client.create(name.lower()) for name in names]

        async def converse(session: str, name: str) -> None:
            await client.say(session, f"my name is {name}")
            await client.say(session, script(tokens(50, 2)))
            assert name in await client.recall(session)

        await asyncio.gather(*map(converse, sessions, names))
        before = [await client.events(session) for session in sessions]
    service.stop()
    service.start()
    async with Client(service.url) as client:
        for session, name, log in zip(sessions, names, before, strict=True):
            assert f"my name is {name}" in await client.recall(session)
            after = await client.events(session)
            assert_dense(after)
            assert after[: len(log)] == log
        health = (await client.http.get("/health")).json()
        assert health["storage_type"] == "postgresql"
    service.stop()
    logins = pgbouncer.log.count(f"login attempt: db={database} ")
    assert logins > 3, "the service went past the pooler"
    assert "does not exist" not in service.log


@pytest.mark.timeout(300)
@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
async def test_an_owner_is_killed_in_a_stream_and_another_goes_on(
    services: Services, storage: Storage, pgbouncer: PgBouncer, proven: Counter[str]
) -> None:
    """A reader that goes on there sees every stored event once and in order."""
    replicas = Replicas(services, Storage(await pooled(storage, pgbouncer)))
    owner, other = replicas.start(), replicas.start()
    for seed in range(amount(1, 10)):
        await one_kill(owner, other, random.Random(seed))
        owner, other = other, replicas.start()
        proven["turns taken over behind a pooler"] += 1
