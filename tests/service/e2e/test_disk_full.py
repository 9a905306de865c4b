"""No space left for the database and the workspaces: told as such, and over when there is space again."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.e2e.client import Client, assert_dense, bash, script
from tests.service.e2e.service_process import Services
from tests.waiting import wait_until

pytestmark = pytest.mark.tier("cli", "linux", "tmpfs")


@pytest.fixture
def small_disk(services: Services) -> Iterator[Path]:
    folder = services.folder()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], check=True, timeout=10)
    yield folder
    services.end()
    # The kernel lets go of a process's files a moment after the process is gone.
    wait_until(lambda: subprocess.call(["umount", folder], timeout=10) == 0, 10, lambda: f"{folder} is busy")


def fill(path: Path) -> None:
    disk = os.statvfs(path.parent)
    with path.open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, disk.f_bavail * disk.f_frsize)


async def test_a_full_disk(services: Services, small_disk: Path) -> None:
    service = services.start(small_disk)
    ballast = small_disk / "ballast"
    async with Client(service.url) as client:
        session = await client.create()
        await client.say(session, "my name is Robin")
        fill(ballast)
        big = {"user_id": "ann", "metadata": {"text": "x" * 15_000}}
        answers = [await client.http.post("/api/v1/sessions", json=big) for _ in range(20)]
        assert {answer.status_code for answer in answers} <= {201, 507}
        for answer in (answers[-1], await client.chat(session, "x" * 90_000)):
            assert answer.status_code == 507
            assert "space" in answer.json()["detail"]
        assert (await client.http.get("/health")).status_code == 200
        assert (await client.http.get(f"/api/v1/sessions/{session}")).json()["message_count"] == 1
        before = await client.events(session)
        assert_dense(before)

        ballast.unlink()
        assert "my name is Robin" in await client.recall(session)
        after = await client.events(session)
        assert_dense(after)
        assert after[: len(before)] == before


async def test_a_disk_that_fills_up_during_a_turn(services: Services, small_disk: Path) -> None:
    """Who waits is told that the answer is not stored; it is as soon as there is space, unless the disk was
    found full before the answer came: then the turn ended there, and says so."""
    service = services.start(small_disk)
    ballast = service.users / "ann" / "ballast"
    async with Client(service.url) as client:
        session = await client.create("ann")
        await client.say(session, "my name is Robin")
        flood = script(bash("cat /dev/zero > ballast"), {"text": "x" * 40_000})
        answer = await client.chat(session, flood)
        assert answer.status_code == 507
        assert "no space" in answer.json()["detail"]
        assert (await client.http.get("/health")).status_code == 200
        ballast.unlink()
        assert "my name is Robin" in await client.recall(session)
        log = await client.events(session)
        assert_dense(log)
        said = [event["content"][0]["text"] for event in log if event["type"] == "agent.message"]
        errors = [event["error"]["type"] for event in log if event["type"] == "session.error"]
        assert ("x" * 40_000 in said, errors) in ((True, []), (False, ["storage_full_error"]))
        kinds = [event["type"] for event in log]
        assert kinds.count("session.status_running") == kinds.count("session.status_idle") == 3
