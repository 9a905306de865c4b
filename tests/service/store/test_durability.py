"""What was acknowledged is there: after a close, a kill, a full disk."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.store import appender
from tests.service.store.conftest import Place
from tests.service.store.values import TickingClock, new_event, new_session, seqs, whole_log

from claude_agent_http.domain.errors import ServiceLockedError, StorageError, StorageFullError
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import sqlite_store

_ACKNOWLEDGED = 300


async def test_reopening_shows_everything(place: Place) -> None:
    store = place.make()
    await store.open()
    session = await store.sessions.create(new_session(metadata={"a": 1}))
    appended = await store.events.append(session.id, [new_event(), new_event()])
    key = TranscriptKey("p", session.id)
    await store.transcripts.append(key, [{"uuid": "a"}])
    before = await store.sessions.get(session.id)
    await store.close()

    store = place.make()
    await store.open()
    assert await store.sessions.get(session.id) == before
    assert await store.events.read(session.id) == appended
    assert await store.transcripts.load(key) == [{"uuid": "a"}]
    assert seqs(await store.events.append(session.id, [new_event()])) == [3]
    await store.close()


async def test_closing_commits_what_was_accepted(place: Place) -> None:
    store = place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    appends = [asyncio.create_task(store.events.append(session.id, [new_event()])) for _ in range(250)]
    await asyncio.sleep(0)  # they are accepted, and none is committed
    await store.close()
    acknowledged = [seq for result in await asyncio.gather(*appends) for seq in seqs(result)]
    assert sorted(acknowledged) == list(range(1, 251))

    with pytest.raises(StorageError):
        await store.events.append(session.id, [new_event()])
    with pytest.raises(StorageError):
        await store.sessions.create(new_session())
    with pytest.raises(StorageError):
        await store.ping()
    await store.close()

    store = place.make()
    await store.open()
    assert seqs(await whole_log(store, session.id)) == list(range(1, 251))
    await store.close()


async def test_an_open_store_answers_a_ping(store: Store) -> None:
    await store.ping()


async def test_every_acknowledged_event_survives_a_kill(place: Place) -> None:
    with _appender(place) as process:
        acknowledged = [_line(process) for _ in range(_ACKNOWLEDGED)]
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        acknowledged += [tuple(line.split()) for line in process.stdout if line.endswith("\n")]

    store = place.make()
    await store.open()
    by_session: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for session_id, seq, event_id in acknowledged:
        by_session[session_id].append((int(seq), event_id))
    for session_id, expected in by_session.items():
        log = [(event.seq, event.id) for event in await whole_log(store, session_id)]
        assert log[: len(expected)] == expected
        assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
        assert len(log) % 3 == 0  # each append is whole
        assert (await store.sessions.get(session_id)).last_seq == len(log)
        assert seqs(await store.events.append(session_id, [new_event()])) == [len(log) + 1]
    await store.close()


async def test_a_second_process_is_refused_by_the_pid_of_the_first(sqlite_place: Place) -> None:
    with _appender(sqlite_place) as process:
        _line(process)
        for _ in range(2):
            store = sqlite_place.make()
            with pytest.raises(ServiceLockedError, match=rf"process {process.pid} uses"):
                await store.open()
            await store.close()
        process.kill()
        process.wait(10)
    store = sqlite_place.make()
    await store.open()
    await store.close()


async def test_a_symlink_is_the_same_database(tmp_path: Path, clock: TickingClock) -> None:
    (tmp_path / "alias.db").symlink_to(tmp_path / "real.db")
    store = sqlite_store(tmp_path / "real.db", clock)
    await store.open()
    with pytest.raises(ServiceLockedError):
        await sqlite_store(tmp_path / "alias.db", clock).open()
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.tier("tmpfs")
async def test_a_full_disk_is_told_and_survived(small_disk: Path, clock: TickingClock) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 * 1024 * 1024))  # Room, once it is gone, for all of the log in the file too.
    store = sqlite_store(small_disk / "agents.db", clock)
    await store.open()
    session = await store.sessions.create(new_session())
    stored = await _fill(store, session.id)
    assert stored

    for _ in range(3):
        with pytest.raises(StorageFullError):
            await store.events.append(session.id, [new_event(data={"text": "x" * 100_000})])
        with pytest.raises(StorageFullError):
            await store.transcripts.append(TranscriptKey("p", session.id), [{"text": "x" * 100_000}])
        assert seqs(await whole_log(store, session.id)) == stored
        assert (await store.sessions.get(session.id)).last_seq == len(stored)
    with pytest.raises(StorageFullError):
        await asyncio.gather(
            *(store.events.append(session.id, [new_event(data={"text": "x" * 30_000})]) for _ in range(9))
        )

    ballast.unlink()
    [event] = await store.events.append(session.id, [new_event(data={"text": "x" * 1000})])
    log = await whole_log(store, session.id)
    assert log[-1] == event
    assert seqs(log) == list(range(1, len(log) + 1))
    await store.close()

    store = sqlite_store(small_disk / "agents.db", clock)
    await store.open()
    assert await whole_log(store, session.id) == log
    await store.close()


@pytest.mark.tier("tmpfs")
async def test_a_disk_that_is_full_at_the_start(small_disk: Path, clock: TickingClock) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        os.posix_fallocate(ballast.fileno(), 0, _free_bytes(small_disk))
    with pytest.raises(StorageFullError):
        await sqlite_store(small_disk / "agents.db", clock).open()


def _free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


async def _fill(store: Store, session_id: str) -> list[int]:
    """Append until the disk is full; the acknowledged seqs."""
    acknowledged: list[int] = []
    for _ in range(10_000):
        try:
            stored = await store.events.append(session_id, [new_event(data={"text": "x" * 30_000})])
        except StorageFullError:
            return acknowledged
        acknowledged += seqs(stored)
    raise AssertionError("the disk never got full")


def _appender(place: Place) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable,
            str(appender.__file__),
            place.url,
            *([place.pooler_url] if place.pooler_url else []),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: "subprocess.Popen[str]") -> tuple[str, ...]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the appender ended with {process.wait(10)}"
    return tuple(line.split())
