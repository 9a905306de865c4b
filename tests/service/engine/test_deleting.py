"""Deleting a session that lives on another replica, which may be slow to end its agent, or mute."""

import asyncio
from collections.abc import Callable, Coroutine
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.service.engine.cluster import LEASE, LIMITS, Cluster, Replica
from tests.waiting import until

from claude_agent_http.domain.errors import NotDeletedError, SessionNotFoundError, StorageError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import NewSession
from claude_agent_http.runtime.fake import Hang, Say

Ask = Callable[[Replica, Session], Coroutine[Any, Any, Any]]
HURRIED = replace(LIMITS, stop_seconds=0.2)


def fail(replica: Replica, name: str) -> None:
    """The next call of that method of its leases fails."""
    leases: Any = copy(replica.store.leases)  # all replicas share it
    method = getattr(leases, name)
    ways = [refuse, method]

    async def call(*args: Any) -> Any:
        return await (ways.pop(0) if len(ways) > 1 else method)(*args)

    setattr(leases, name, call)
    parts = replica.engine._live._parts
    replica.engine._live._parts = replace(parts, leases=leases)
    replica.store.leases = leases


async def refuse(*_: Any, **__: Any) -> None:
    raise StorageError("the database did not answer")


async def mute(cluster: Cluster, replica: Replica) -> Session:
    """A session whose agent does not end before its replica's time is over, which is paused."""
    session = await replica.engine.create(NewSession("alice"))
    cluster.plays["hang"] = (Say("well"), Hang(deaf=True))
    await replica.engine.send(session.id, "hang")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    replica.cut_off()
    if replica.engine._watch._task is not None:
        replica.engine._watch._task.cancel()
    return session


def delete(replica: Replica, session: Session) -> Coroutine[Any, Any, Any]:
    return replica.engine.delete(session.id)


def erase(replica: Replica, session: Session) -> Coroutine[Any, Any, Any]:
    return replica.engine.erase(session.user_id)


@pytest.mark.parametrize("ask", [delete, erase])
async def test_a_repeat_waits_for_the_agent_that_the_first_one_waited_for(cluster: Cluster, ask: Ask) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await mute(cluster, a)
    fail(b, "is_alone")
    with pytest.raises(StorageError):
        await ask(b, session)
    assert a.runtimes.alive != {}
    began = asyncio.get_running_loop().time()
    await ask(b, session)
    # Its launcher, which has no counterpart here, would have ended it at nine tenths of the lease.
    assert asyncio.get_running_loop().time() - began > LEASE / 3
    with pytest.raises(SessionNotFoundError):
        await b.engine.get(session.id)


async def test_nobody_runs_a_session_beside_the_agent_that_a_failed_deletion_waited_for(
    cluster: Cluster,
) -> None:
    limits = replace(HURRIED, lease_seconds=6.0)
    a, b, c = [await cluster.start(limits) for _ in range(3)]
    session = await mute(cluster, a)
    fail(b, "is_alone")
    with pytest.raises(StorageError):
        await b.engine.delete(session.id)
    await asyncio.gather(b.sweeps(), c.sweeps())
    assert (b.runtimes.opened, c.runtimes.opened) == ([], [])
    await cluster.store.leases.leave(a.engine._membership._replica.id)  # it has come to its end
    await until(lambda: b.runtimes.opened + c.runtimes.opened == [session.id])


async def test_nobody_runs_a_session_beside_the_agent_that_a_drained_deletion_waited_for(
    cluster: Cluster,
) -> None:
    limits = replace(HURRIED, lease_seconds=6.0)
    a, b, c = [await cluster.start(limits) for _ in range(3)]
    session = await mute(cluster, a)
    deleting = asyncio.create_task(b.engine.delete(session.id))

    async def is_taken() -> bool:
        return (await cluster.store.sessions.get(session.id)).lease_epoch > 1

    await until(is_taken)
    await b.engine.stop(0)
    await asyncio.gather(deleting, return_exceptions=True)
    await c.sweeps()
    assert c.runtimes.opened == []
    await cluster.store.leases.leave(a.engine._membership._replica.id)
    await until(lambda: c.runtimes.opened == [session.id])


@pytest.mark.parametrize("ask", [delete, erase])
async def test_nothing_is_deleted_while_the_agent_does_not_end(cluster: Cluster, ask: Ask) -> None:
    a, b = await cluster.start(HURRIED), await cluster.start(HURRIED)
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "hi")
    a.runtimes.before_close = asyncio.Event()
    with pytest.raises(NotDeletedError, match=r"has not ended its agent within 0\.8 s; repeat"):
        await ask(b, session)
    assert a.runtimes.alive != {}
    assert (await b.engine.get(session.id)).id == session.id
    a.runtimes.before_close.set()
    await ask(b, session)
    assert a.runtimes.alive == {}


async def test_a_deletion_that_is_cut_off_leaves_the_row_and_not_the_files(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.start()
    new = NewSession("alice", session_id="11111111-1111-4111-8111-111111111111")
    session = await a.engine.create(new)
    forget, going_on = a.runtimes.forget, asyncio.Event()

    async def slowly(gone: Session) -> None:
        await forget(gone)
        await going_on.wait()

    monkeypatch.setattr(a.runtimes, "forget", slowly)
    deleting = asyncio.create_task(a.engine.delete(session.id))
    await until(lambda: a.runtimes.forgotten == [session.id])
    assert (await a.engine.create(new)).created_at == session.created_at  # the old one, which is still there
    with monkeypatch.context() as patch:
        patch.setattr(cluster.store.sessions, "delete", refuse)
        going_on.set()
        with pytest.raises(StorageError):
            await deleting
    assert (await a.engine.get(session.id)).lease_holder is None
    await a.engine.delete(session.id)
    assert (await a.engine.create(new)).created_at > session.created_at


async def test_deletions_on_two_replicas_at_once_both_come_to_an_end(cluster: Cluster) -> None:
    a, b, c = [await cluster.start() for _ in range(3)]
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "hi")
    ends = await asyncio.gather(delete(b, session), delete(c, session), return_exceptions=True)
    assert {type(end) for end in ends} <= {type(None), SessionNotFoundError}
    assert None in ends
    assert a.runtimes.alive == {}


async def test_a_lease_whose_release_failed_is_released_later(cluster: Cluster) -> None:
    a, b = await cluster.start(HURRIED), await cluster.start(HURRIED)
    session = await a.engine.create(NewSession("alice"))
    fail(a, "release")
    await a.say(session, "hi")
    with capture_logs() as logged:
        a.engine._live.hibernate(session.id)
        await until(lambda: any(entry["event"] == "a lease was released late" for entry in logged))
    assert await cluster.store.leases.held(a.engine._membership.replica.id) == []
    await b.engine.delete(session.id)
