"""One store of each kind, so that one suite runs over all of them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.service.store.values import TickingClock

from claude_agent_http.ports import Store
from claude_agent_http.store import memory_store, postgres_store, sqlite_store

KINDS = [
    pytest.param("memory"),
    pytest.param("sqlite"),
    pytest.param("postgres", marks=pytest.mark.tier("postgres")),
]
DATABASES = KINDS[1:]


@dataclass(frozen=True)
class Place:
    """A database, and how another process or another try reaches the same one."""

    url: str
    make: Callable[[], Store]


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def sqlite_place(tmp_path: Path, clock: TickingClock) -> Place:
    path = tmp_path / "new folder ?a=b&c#d %20 é" / "agents.db"
    return Place(f"sqlite:///{path}", lambda: sqlite_store(path, clock))


@pytest.fixture
def postgres_place(postgres_dsn: str, clock: TickingClock) -> Place:
    return Place(postgres_dsn, lambda: postgres_store(postgres_dsn, clock, pool_size=4))


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def memory_place(clock: TickingClock) -> Place:
    return Place("", lambda: memory_store(clock))


@pytest.fixture(params=KINDS)
def any_place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
async def store(any_place: Place) -> AsyncIterator[Store]:
    """An open, empty store of each kind."""
    made = any_place.make()
    await made.open()
    yield made
    await made.close()
