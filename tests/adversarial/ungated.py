"""Agents as they would be without the gateway: each with the model's key in its environment."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from tests.adversarial.attacks import Attack
from tests.service.e2e.client import script

from claude_agent_http.domain.event import EventType, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.gateway import FixedModelAccess
from claude_agent_http.runtime import CliRuntimeFactory, RuntimeConfig
from claude_agent_http.store import memory_store
from claude_agent_http.system import RandomIds, SystemClock

__all__ = ["said_without_gateway"]


async def said_without_gateway(
    attacks: Iterable[Attack], folder: Path, model_url: str, key: str
) -> dict[str, str]:
    """What the tool of each attack says."""
    access = FixedModelAccess({"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": key})
    config = RuntimeConfig(state_dir=folder / "sessions", permission_mode="bypassPermissions")
    factory = CliRuntimeFactory(config, memory_store(SystemClock()).transcripts, RandomIds(), access)
    (folder / "work").mkdir()
    now = datetime.now(UTC)
    session = Session(str(uuid4()), "eve", None, str(folder / "work"), now, now, "")
    chosen = list(attacks)
    steps = [{"tool": attack.tool, "input": attack.given} for attack in chosen]

    async def every(*_: object) -> bool:
        return True

    said = []
    async with factory.open(session, every, Lease(session.id, "one", 1)) as runtime:
        async for item in runtime.turn(script(*steps), "turn"):
            if isinstance(item, NewEvent) and item.type is EventType.AGENT_TOOL_RESULT:
                said.append(str(item.data["content"]))
    return {attack.name: text for attack, text in zip(chosen, said, strict=True)}
