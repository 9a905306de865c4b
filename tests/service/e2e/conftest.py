"""One service for all tests that leave it whole, others for those that do not, on each kind of storage."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from tests.postgres import PostgresServer, administer
from tests.service.e2e.client import Client
from tests.service.e2e.service_process import ServiceProcess, Services


@pytest.fixture
def services() -> Iterator[Services]:
    made = Services()
    yield made
    made.end()


@pytest.fixture(scope="session")
def shared_service() -> Iterator[ServiceProcess]:
    """SQLite and the built-in demo model; no test may stop it or fill its limits."""
    made = Services()
    yield made.start(CLAUDE_AGENT_MAX_CONCURRENT="20", CLAUDE_AGENT_MAX_SESSIONS_PER_USER="2")
    made.end()


@pytest.fixture
async def client(shared_service: ServiceProcess) -> AsyncIterator[Client]:
    async with Client(shared_service.url) as client:
        yield client


@dataclass(frozen=True)
class Storage:
    """Settings of a store of the test's own, `sqlite` or `postgresql`."""

    env: dict[str, str]


# Where a test shows more than what a store does, `in_proofs(storage=...)` leaves one of them to proofs.
@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.tier("postgres"))])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    if request.param == "sqlite":
        yield Storage({})
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"test_{uuid4().hex}"
    asyncio.run(administer(server, f'CREATE DATABASE "{name}"'))
    yield Storage(
        {
            "CLAUDE_AGENT_SESSION_STORAGE": "postgresql",
            "CLAUDE_AGENT_SESSION_PG_HOST": str(server.socket_folder),
            "CLAUDE_AGENT_SESSION_PG_DATABASE": name,
            "CLAUDE_AGENT_SESSION_LEASE_SECONDS": "1",  # a killed service keeps its sessions so long
        }
    )
    asyncio.run(administer(server, f'DROP DATABASE "{name}" WITH (FORCE)'))
