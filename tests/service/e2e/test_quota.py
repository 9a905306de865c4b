"""A user who takes more of the disk than a user may, at a real service with a real agent."""

from pathlib import Path

import pytest
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.service_process import Services
from tests.waiting import until

pytestmark = pytest.mark.tier("cli", "linux")


async def test_a_user_beyond_the_quota_makes_room_and_goes_on(services: Services, tmp_path: Path) -> None:
    service = services.start(CLAUDE_AGENT_USER_QUOTA_MB="20", CLAUDE_AGENT_PRESTART="false")
    async with Client(service.url) as client:
        session = await client.create("ann")
        file = f"/api/v1/sessions/{session}/files/big.bin"
        chat = {"session_id": session, "message": script(bash("head -c 30000000 /dev/zero > big.bin"))}
        assert (await client.http.post("/api/v1/chat", json=chat)).status_code == 200

        async def is_counted() -> bool:
            return (await client.http.post("/api/v1/chat", json=chat)).status_code == 507

        await until(is_counted, 20)
        for answer in (
            await client.http.post("/api/v1/chat", json=chat),
            await client.http.put(file.replace("big", "more"), content=b"x"),
        ):
            assert answer.status_code == 507
            assert answer.json()["type"].endswith(":quota_exceeded")
            assert "the quota is 20 MB" in answer.json()["detail"]
        assert (await client.http.delete(file)).status_code == 204
        said = await client.say(session, "hello")
        assert said


async def test_without_a_quota_a_user_goes_on_filling_the_disk(services: Services) -> None:
    service = services.start(CLAUDE_AGENT_PRESTART="false")
    async with Client(service.url) as client:
        session = await client.create("ann")
        for number in range(2):
            await client.say(session, script(bash(f"head -c 30000000 /dev/zero > big{number}.bin")))
    assert sum(file.stat().st_size for file in (service.users / "ann").glob("big*")) == 60_000_000
