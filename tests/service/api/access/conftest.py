"""A service that knows its callers; `wire` is without a credential of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.service.api.access.callers import CALLERS, CHAT, SESSIONS, shown
from tests.service.api.rig import Service, serving

from claude_agent_http.auth import KnownCallers


@pytest.fixture
def known() -> KnownCallers:
    return KnownCallers(CALLERS)


@pytest.fixture
async def service(tmp_path: Path, known: KnownCallers) -> AsyncIterator[Service]:
    async with serving(tmp_path / "users", authenticator=known) as made:
        yield made


@pytest.fixture
async def hers(wire: httpx.AsyncClient) -> str:
    """A session of Alice's in which something was said, and a file lies that the document has for example."""
    made = await wire.post(SESSIONS, json={"user_id": "alice"}, headers=shown("alice"))
    session_id = str(made.json()["session_id"])
    chat = {"session_id": session_id, "message": "hi"}
    assert (await wire.post(CHAT, json=chat, headers=shown("alice"))).status_code == 200
    file = f"{SESSIONS}/{session_id}/files/notes.txt"
    assert (await wire.put(file, content=b"hers", headers=shown("alice"))).status_code == 201
    return session_id
