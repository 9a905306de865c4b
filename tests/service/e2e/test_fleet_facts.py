"""What is seen of real replicas can break the invariants: a proof that nothing can fail would be none."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from tests.service.e2e.agents_seen import AgentsSeen
from tests.service.e2e.database_facts import facts_of, make_role, rows_of, watch
from tests.service.faults.history import Deleted, History
from tests.service.faults.invariants import broken, unjudged
from tests.service.store.values import new_event, new_session, whole_log
from tests.waiting import wait_until

from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.store import postgres_store
from claude_agent_http.system import SystemClock

ROLES = ("replica_0", "replica_1")
STEAL = "UPDATE sessions SET lease_holder = 'replica_0', lease_epoch = lease_epoch + 1"
WRITE = """
INSERT INTO events SELECT session_id, seq + 1, id || '-', type, turn_id, processed_at, data
FROM events ORDER BY seq DESC LIMIT 1
"""
LOSE = "DELETE FROM events WHERE seq = 1"


class Watched:
    """Two replicas on a database that is watched: the first has given a session up, which the second has."""

    def __init__(self, dsn: str, stack: AsyncExitStack) -> None:
        self._url = dsn.replace("+asyncpg", "")
        self._stack = stack
        self._session = new_session()

    async def begin(self) -> None:
        for role in ROLES:
            await make_role(self._url, role)
        stores = [postgres_store(self._url_of(role), SystemClock()) for role in ROLES]
        for store in stores:
            await store.open()
            self._stack.push_async_callback(store.close)
        await watch(self._url)
        await stores[0].sessions.create(self._session)
        for store, role in zip(stores, ROLES, strict=True):
            await store.leases.join(Replica(role, role, "1"), 60)
        self._store = stores[1]
        for store, role in zip(stores, ROLES, strict=True):
            lease = await store.leases.claim(self._session.id, role)
            assert isinstance(lease, Lease)
            await store.events.append(self._session.id, [new_event(turn_id="t")], lease=lease)
            if role == ROLES[0]:
                await store.leases.release(lease)

    async def by_the_first(self, statement: str) -> None:
        connection = await asyncpg.connect(self._url_of(ROLES[0]))
        await connection.execute(statement)
        await connection.close()

    async def history(self, *, deleted_at: float | None = None) -> History:
        logs = {self._session.id: await whole_log(self._store, self._session.id)}
        facts = facts_of(await rows_of(self._url), logs, frozenset())
        facts += [] if deleted_at is None else [Deleted(self._session.id, deleted_at)]
        return History(facts, logs)

    def _url_of(self, role: str) -> str:
        return self._url.replace("postgres@", f"{role}@")


@pytest.fixture
async def watched(postgres_dsn: str) -> AsyncIterator[Watched]:
    async with AsyncExitStack() as stack:
        made = Watched(postgres_dsn, stack)
        await made.begin()
        yield made


JUDGED = ("one_owner_an_epoch", "former_owners_write_nothing", "a_turn_is_taken_up_openly")


@pytest.mark.tier("postgres")
async def test_what_replicas_do_is_judged(watched: Watched) -> None:
    history = await watched.history()
    assert not set(unjudged(history)) & set(JUDGED)
    # The second goes on with the first one's turn, and does not say so.
    assert {complaint.split(":")[0] for complaint in broken(history)} & set(JUDGED) == {
        "a_turn_is_taken_up_openly"
    }


@pytest.mark.tier("postgres")
@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        (STEAL, "one_owner_an_epoch"),
        (WRITE, "former_owners_write_nothing"),
        (LOSE, "no_acknowledgement_is_lost"),
    ],
)
async def test_what_a_replica_must_not_do_is_seen(watched: Watched, statement: str, invariant: str) -> None:
    before = broken(await watched.history())
    assert not [complaint for complaint in before if complaint.startswith(invariant)]
    await watched.by_the_first(statement)
    after = broken(await watched.history())
    assert [complaint for complaint in after if complaint.startswith(invariant)]


@pytest.mark.tier("postgres")
async def test_what_is_written_behind_a_deletion_is_seen(watched: Watched) -> None:
    assert [one for one in broken(await watched.history(deleted_at=0.0)) if "goes beyond its deletion" in one]


@pytest.mark.tier("linux")
def test_an_agent_is_seen_while_it_lives(tmp_path: Path) -> None:
    """As the CLI looks to the kernel: by its name, its arguments and its folder."""
    folder, cli = tmp_path / "ann" / "work", tmp_path / "claude"
    folder.mkdir(parents=True)
    cli.symlink_to("/bin/sh")
    seen = AgentsSeen(tmp_path)
    seen.look()
    assert seen.all == []
    command = [str(cli), "-c", "read line; : stream-json", "--output-format", "stream-json"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE) as agent:
        wait_until(lambda: looked(seen))
        [one] = seen.all
        assert (one.user, one.pid, one.lives) == ("ann", agent.pid, True)
    seen.look()
    [one] = seen.all
    assert not one.lives


def looked(seen: AgentsSeen) -> bool:
    """Whether anybody was there."""
    seen.look()
    return bool(seen.all)
