"""Wake-ups over Postgres when connections are cut, servers hang, and strangers talk on the channel."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.postgres import PostgresServer
from tests.service.store.inspection import end_connections
from tests.service.store.peers import Peer, in_seconds, until_connected
from tests.service.store.relay import free_port, relay
from tests.service.store.values import TickingClock
from tests.waiting import until

from claude_agent_http.domain.event import Delta, EventType
from claude_agent_http.domain.wakeup import Appended, Changed, Missed, Wakeup
from claude_agent_http.store import postgres_store, postgres_url
from claude_agent_http.store.notify import PostgresWakeups
from claude_agent_http.store.postgres_address import PostgresAddress

pytestmark = pytest.mark.tier("postgres")

CHANNEL = "claude_agent_http"
GATHER_SECONDS = 0.005  # for which words are gathered into a notification
PASSWORD = "s3cret/p@ss"
MakePeer = Callable[[str], Peer]


@pytest.fixture
async def make_peer() -> AsyncIterator[MakePeer]:
    """A peer of a database, not started; closed in the end."""
    made: list[Peer] = []

    def make(url: str) -> Peer:
        made.append(Peer(PostgresWakeups(PostgresAddress.parse(url))))
        return made[-1]

    yield make
    for peer in made:
        await peer.wakeups.close()


@pytest.fixture
async def peers(make_peer: MakePeer, postgres_dsn: str) -> list[Peer]:
    """Two that are connected."""
    found = [make_peer(postgres_dsn) for _ in range(2)]
    for peer in found:
        await peer.start()
    await until_connected(found)
    return found


@pytest.fixture
async def client(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_dsn.replace("+asyncpg", ""))
    yield connection
    await connection.close()


def over_tcp(dsn: str, port: int) -> str:
    """The same database behind a port of ours, where a `relay` can serve it."""
    database = PostgresAddress.parse(dsn).url.database or ""
    return postgres_url(
        host="127.0.0.1",
        port=port,
        username="postgres",
        password=PASSWORD,
        database=database,
        sslmode="disable",
    )


@pytest.fixture
async def payloads(client: asyncpg.Connection) -> list[str]:
    """Every notification on the channel, from now on."""
    heard: list[str] = []
    await client.add_listener(CHANNEL, lambda *said: heard.append(str(said[-1])))
    return heard


async def test_many_words_of_one_session_are_one_notification(peers: list[Peer], payloads: list[str]) -> None:
    one, two = peers
    for seq in range(1, 10_001):
        one.wakeups.tell(Appended("session", seq))
    await two.until_heard(Appended("session", 10_000))
    await until(lambda: bool(payloads))
    assert len(payloads) == 1
    began = time.monotonic()
    for seq in range(10_001, 10_101):  # over some time: a few, not one a word
        one.wakeups.tell(Appended("session", seq))
        await asyncio.sleep(0.0002)
    await two.until_heard(Appended("session", 10_100))
    # However slow the machine is: one in the time that words are gathered for, and those at both ends.
    assert len(payloads) < min(100, 3 + (time.monotonic() - began) / GATHER_SECONDS)


async def test_no_notification_is_longer_than_postgres_takes(peers: list[Peer], payloads: list[str]) -> None:
    one, two = peers
    for number in range(1000):
        one.wakeups.tell(Changed(f"session {number}"))
    text = "\U0001f600\x00\ud800" * 20_000
    one.wakeups.tell(Delta("session", "sevt_1", EventType.AGENT_MESSAGE, 0, text))
    one.wakeups.tell(Changed("end"))
    await two.until_heard(Changed("end"))
    assert two.text("sevt_1") == text
    assert len([word for word in two.heard if isinstance(word, Changed)]) == 1001
    assert max(len(payload.encode()) for payload in payloads) < 8000


async def test_what_strangers_say_on_the_channel_is_passed_over(
    peers: list[Peer], client: asyncpg.Connection
) -> None:
    newer = json.dumps(
        ["another replica", ["c", "one"], ["d", "s", "e", "of.a.newer", 0, ""], ["z"], ["c", "two"]]
    )
    said = ["", "hello", "[]", "{}", "null", "[" * 7900, json.dumps([1, ["c", "no sender"]]), newer]
    with capture_logs() as logs:
        for payload in said:
            await client.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
        for peer in peers:
            await peer.until_heard(Changed("two"))
            assert peer.heard == [Changed("one"), Changed("two")]
            assert peer.missed == 1
    assert {entry["event"] for entry in logs} == {
        "a notification that no replica of this service sends was passed over"
    }


async def test_databases_of_one_server_are_apart(
    peers: list[Peer], make_peer: MakePeer, postgres_server: PostgresServer
) -> None:
    stranger = make_peer(postgres_server.url("postgres"))
    await stranger.start()
    await until_connected([stranger])
    peers[0].wakeups.tell(Changed("session"))
    await peers[1].until_heard(Changed("session"))
    another = make_peer(postgres_server.url("postgres"))
    await another.start()
    another.wakeups.tell(Changed("theirs"))
    await stranger.until_heard(Changed("theirs"))
    assert stranger.heard == [Changed("theirs")]


async def test_a_cut_connection_is_made_again_and_the_gap_is_known(
    peers: list[Peer], postgres_dsn: str
) -> None:
    one, two = peers
    with capture_logs() as logs:
        for times in range(2):
            await end_connections(postgres_dsn)
            one.wakeups.tell(Changed(f"told while cut {times}"))
            for peer in peers:
                await peer.until_missed(times + 2)
            two.wakeups.tell(Changed(f"told afterwards {times}"))
            await one.until_heard(Changed(f"told afterwards {times}"))
    assert {(entry["event"], entry["log_level"]) for entry in logs} == {
        ("other replicas are heard only by asking the database", "warning")
    }


async def test_a_server_that_stops_and_starts_again(
    postgres_server: PostgresServer, postgres_dsn: str, make_peer: MakePeer
) -> None:
    port = free_port()
    one, two = [make_peer(over_tcp(postgres_dsn, port)) for _ in range(2)]
    with capture_logs() as logs:
        for peer in (one, two):
            await peer.start()  # before there is a server
        one.wakeups.tell(Changed("told before"))
        await until(lambda: len(logs) >= 2)
        async with relay(port, postgres_server.socket_folder):
            await until_connected([one, two])
        gone = len(logs)
        one.wakeups.tell(Appended("session", 1))
        await until(lambda: len(logs) > gone + 2)
        one.wakeups.tell(Appended("session", 2))
        async with relay(port, postgres_server.socket_folder):
            await one.until_missed(2)
            await two.until_missed(2)
            one.wakeups.tell(Changed("told afterwards"))
            await two.until_heard(Changed("told afterwards"))
            for peer in (one, two):
                await peer.wakeups.close()
    assert Appended("session", 1) not in two.heard
    assert_no_password(logs)


async def test_a_silent_server_is_noticed(
    postgres_server: PostgresServer, postgres_dsn: str, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_agent_http.store.notify._SIGN_OF_LIFE_SECONDS", 0.1)
    monkeypatch.setattr("claude_agent_http.store.notify._STATEMENT_SECONDS", 0.3)
    port = free_port()
    peer = make_peer(over_tcp(postgres_dsn, port))
    async with relay(port, postgres_server.socket_folder) as flowing:
        await peer.start()
        await until_connected([peer])
        with capture_logs() as logs:
            flowing.clear()
            await until(lambda: bool(logs))
            flowing.set()
            await peer.until_missed(2)
        await peer.wakeups.close()
    assert "did not answer in time" in logs[0]["reason"]


@pytest.mark.parametrize("is_telling", [True, False])
async def test_the_end_does_not_wait_for_a_server_that_hangs(
    postgres_server: PostgresServer, postgres_dsn: str, make_peer: MakePeer, is_telling: bool
) -> None:
    port = free_port()
    connected, connecting = [make_peer(over_tcp(postgres_dsn, port)) for _ in range(2)]
    async with relay(port, postgres_server.socket_folder) as flowing:
        await connected.start()
        await until_connected([connected])
        flowing.clear()
        await connecting.start()
        for peer in (connected, connecting) if is_telling else ():
            peer.wakeups.tell(Changed("session"))
        for peer in (connected, connecting):
            assert await in_seconds(peer.wakeups.close()) < 2
            await peer.wakeups.close()


async def test_a_store_that_closes_while_the_server_hangs_closes_in_time(
    postgres_server: PostgresServer, postgres_dsn: str, clock: TickingClock
) -> None:
    port = free_port()
    store = postgres_store(over_tcp(postgres_dsn, port), clock)
    async with relay(port, postgres_server.socket_folder) as flowing:
        await store.open()
        peer = Peer(store.wakeups)
        await peer.start()
        await until_connected([peer])
        flowing.clear()
        peer.wakeups.tell(Changed("session"))
        assert await in_seconds(store.close()) < 4


async def test_no_warning_holds_the_password(make_peer: MakePeer) -> None:
    url = postgres_url(
        host="127.0.0.1", port=free_port(), username="ann", password=PASSWORD, database="agents"
    )
    peer = make_peer(url)
    with capture_logs() as logs:
        await peer.start()
        await until(lambda: len(logs) >= 2)
        await peer.wakeups.close()
    assert logs[0]["reason"].startswith("wake-ups over Postgres database 'agents' at 127.0.0.1:")
    assert "refused" in logs[0]["reason"]
    assert_no_password(logs)


def assert_no_password(logs: object) -> None:
    for secret in (PASSWORD, "s3cret", "p%40ss", "p@ss"):
        assert secret not in repr(logs)


async def test_a_hearer_that_fails_hears_the_rest(make_peer: MakePeer, postgres_dsn: str) -> None:
    speaker, listener = make_peer(postgres_dsn), make_peer(postgres_dsn)

    def hear(wakeup: Wakeup) -> None:
        listener.hear(wakeup)
        if wakeup in (Missed(), Changed("one")):
            raise ZeroDivisionError

    with capture_logs() as logs:
        await listener.wakeups.start(hear)
        await speaker.start()
        await until_connected([speaker, listener])
        for word in ("one", "two"):
            speaker.wakeups.tell(Changed(word))
        await listener.until_heard(Changed("two"))
    assert listener.heard == [Changed("one"), Changed("two")]
    assert [entry["event"] for entry in logs] == ["a wake-up could not be acted on"] * 2
