"""A real service that asks for keys: made beside it, shown to it, revoked while it runs."""

import json
import subprocess

import httpx
import pytest
from tests.service.commands.program import LIMIT_SECONDS, command, environment
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import wait_until

pytestmark = [pytest.mark.tier("cli", "linux")]
SESSIONS = "/api/v1/sessions"


def typed(service: ServiceProcess, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command on the service's machine, with its settings."""
    return subprocess.run(
        command(*arguments),
        cwd=service.folder,
        env=environment(service.env | env),
        text=True,
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )


def status(service: ServiceProcess, key: str, path: str = SESSIONS) -> int:
    headers = {"X-Api-Key": key} if key else {}
    return httpx.get(f"{service.url}{path}", headers=headers, timeout=10, trust_env=False).status_code


def test_keys_come_and_go_while_the_service_runs(services: Services, storage: Storage):
    service = services.start(CLAUDE_AGENT_AUTH="api-keys", **storage.env)
    other = services.start(CLAUDE_AGENT_AUTH="api-keys", **storage.env) if storage.env else service
    assert "there is no API key yet" in service.log
    assert (status(service, ""), status(service, "", "/health")) == (401, 200)
    alice, bob = (
        typed(service, "keys", "create", name, "--user", name).stdout.strip() for name in ("alice", "bob")
    )
    assert (status(service, alice), status(other, bob)) == (200, 200)

    said = typed(service, "chat", "--url", service.url, "--once", "count to 3", CLAUDE_AGENT_API_KEY=alice)
    assert said.stdout.strip() == "1 2 3"
    [session_id] = httpx.get(f"{other.url}{SESSIONS}", headers={"X-Api-Key": alice}, trust_env=False).json()
    for replica in {service.url: service, other.url: other}.values():
        for rest in ("", "/events", "/events/stream"):
            assert status(replica, bob, f"{SESSIONS}/{session_id}{rest}") == 404

    typed(service, "keys", "revoke", alice.split("_")[1])
    wait_until(lambda: {status(service, alice), status(other, alice)} == {401}, 5)
    assert (status(service, bob), status(other, bob)) == (200, 200)
    service.stop()
    listed = {key["name"]: key for key in json.loads(typed(service, "keys", "list", "--json").stdout)}
    assert listed["bob"]["last_used_at"] is not None
    assert listed["alice"]["revoked_at"] is not None
    for key in (alice, bob):
        assert key.split("_")[2] not in service.log + other.log


def test_a_key_in_a_file_comes_and_goes_too(services: Services):
    folder = services.folder()
    keys = folder / "keys"
    keys.mkdir()
    service = services.start(
        folder,
        CLAUDE_AGENT_AUTH="api-keys",
        CLAUDE_AGENT_AUTH_KEYS_DIR=str(keys),
        CLAUDE_AGENT_SESSION_STORAGE="memory",
    )
    key = "a-key-of-this-test-alone"
    assert status(service, key) == 401
    (keys / "ci").write_text(key)
    wait_until(lambda: status(service, key) == 200, 10)
    (keys / "ci").unlink()
    wait_until(lambda: status(service, key) == 401, 10)
    assert key not in service.log
    assert "ci" in service.log
