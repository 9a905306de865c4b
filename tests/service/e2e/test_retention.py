"""A real service deletes what its retention does not keep, and nothing else."""

import pytest
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import Services

pytestmark = [pytest.mark.tier("cli"), pytest.mark.timeout(120)]


@pytest.mark.in_proofs(storage="sqlite")
async def test_a_closed_session_goes_after_its_time(services: Services, storage: Storage) -> None:
    limits = {"CLAUDE_AGENT_SESSION_TTL": "2", "CLAUDE_AGENT_RETENTION_CLOSED_DAYS": "0.00003"}
    service = services.start(**storage.env, **limits)
    async with Client(service.url) as client:
        old = await client.create("ann")
        await client.say(old, script(bash("echo kept > file"), {"text": "done"}))
        async with client.follow(old) as reader:
            busy = await client.create("bob")  # now, for it is closed too when nobody speaks to it
            working = client.http.build_request(
                "POST",
                "/api/v1/chat/stream",
                json={"session_id": busy, "message": script(bash("sleep 8"), {"text": "still here"})},
            )
            answer = await client.http.send(working, stream=True)
            await reader.until_ended(20)
        assert (await client.http.post(f"/api/v1/sessions/{old}/resume")).status_code == 404
        assert (await client.http.get(f"/api/v1/sessions/{old}/events")).status_code == 404
        assert '"type":"done"' in (await answer.aread()).decode()
        assert (await client.http.get(f"/api/v1/sessions/{busy}")).status_code == 200
    assert (service.users / "ann" / "file").read_text() == "kept\n"
    assert old not in {path.name for path in (service.users / ".sessions").iterdir()}
    assert "closed sessions were deleted" in service.log
