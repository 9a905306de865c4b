"""A service that knows who calls: eve, bob, and root, who is an admin."""

import json
from pathlib import Path

import httpx
from tests.service.e2e.service_process import ServiceProcess, Services

__all__ = ["caller", "created", "start_with_keys"]

_KEYS = {user: f"{user}-{40 * '0'}" for user in ("eve", "bob", "root")}


def start_with_keys(services: Services, **env: str) -> ServiceProcess:
    """Each of them has a key in a file."""
    made = services.make(None, CLAUDE_AGENT_AUTH="api-keys", CLAUDE_AGENT_AUTH_KEYS_DIR="keys", **env)
    keys: Path = made.folder / "keys"
    keys.mkdir()
    for user, key in _KEYS.items():
        (keys / user).write_text(json.dumps({"key": key, "user_id": user, "admin": user == "root"}))
    return made.start()


def caller(service: ServiceProcess, user: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=service.url, headers={"X-Api-Key": _KEYS[user]}, timeout=60, trust_env=False
    )


async def created(client: httpx.AsyncClient, **fields: object) -> str:
    """A new session's id."""
    answer = await client.post("/api/v1/sessions", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session_id"])
