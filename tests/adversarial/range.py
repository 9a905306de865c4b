"""A service with two users: bob has secrets, and eve's agent tries what it is told."""

import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.adversarial.attacks import STARTS, Attack
from tests.adversarial.site import open_site
from tests.adversarial.starts import events_of_starts
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.service_process import ServiceProcess, Services

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.launcher.calls import NUMBERS
from claude_agent_http.system.loopback import LoopbackServer

__all__ = ["PYTHON", "Outcome", "Range", "open_range"]

PYTHON = getattr(sys, "_base_executable", sys.executable)
KEY = "sk-ant-test-0123456789abcdef-0123456789abcdef"
_PTRACE = {"x86_64": 101, "aarch64": 117}
_TURN_SECONDS = 240
_RESULTS = ("agent.tool_result", "agent.mcp_tool_result")


@dataclass(frozen=True, slots=True)
class Outcome:
    succeeded: bool
    said: str
    """By the tool."""


class Range:
    def __init__(self, service: ServiceProcess, client: Client, names: dict[str, Any], session: str) -> None:
        self.service = service
        self.names = names
        self.session = session
        self.client = client

    async def run(self, attacks: Iterable[Attack], *, controls: bool) -> dict[str, Outcome]:
        """All of one session in one turn of eve's agent; with `controls`, those where there are any."""
        attacks = list(attacks)
        in_one_turn = [attack for attack in attacks if attack.tool != STARTS]
        outcomes = await self._run_in_one_turn(in_one_turn, controls=controls)
        for attack in attacks:
            if attack.tool == STARTS:
                outcomes[attack.name] = await self._run_in_starts(attack)
        return outcomes

    async def _run_in_starts(self, attack: Attack) -> Outcome:
        command = self._filled(attack.given["command"])
        events = await events_of_starts(self.client, self.session, "eve", self.names, command)
        said = "\n".join(_text(event) for event in events if event["type"] in _RESULTS)
        return self._judged(attack, said)

    async def _run_in_one_turn(self, attacks: list[Attack], *, controls: bool) -> dict[str, Outcome]:
        chosen = [(attack, attack.control if controls else "") for attack in attacks]
        steps = [bash(self._filled(control)) if control else self._step(attack) for attack, control in chosen]
        answer = await self.client.chat(self.session, script(*steps), _TURN_SECONDS)
        assert answer.status_code == 200, answer.text
        said = [
            _text(event) for event in await self.client.last_turn(self.session) if event["type"] in _RESULTS
        ]
        assert len(said) == len(steps), "a tool gave no result"
        return {
            attack.name: self._judged(attack, text) for (attack, _), text in zip(chosen, said, strict=True)
        }

    async def say_in_bash(self, command: str) -> None:
        """Eve's agent runs it."""
        await self.client.say(self.session, script(bash(command)))

    async def recall(self, session: str) -> str:
        """What the model knows of a conversation."""
        return await self.client.recall(session)

    def _step(self, attack: Attack) -> dict[str, Any]:
        given = {
            name: self._filled(value) if isinstance(value, str) else value
            for name, value in attack.given.items()
        }
        return {"tool": attack.tool, "input": given}

    def _judged(self, attack: Attack, said: str) -> Outcome:
        if attack.planted:
            return Outcome(os.path.lexists(self._filled(attack.planted)), said)
        return Outcome(re.search(self._filled(attack.proof), said) is not None, said)

    def _filled(self, text: str) -> str:
        return re.sub("@([a-z_]+)@", lambda found: str(self.names[found.group(1)]), text)


@asynccontextmanager
async def open_range(isolation: str) -> AsyncIterator[Range]:
    """`isolation` is the mode of the service's setting."""
    services = Services()
    try:
        async with LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as model:
            service = services.make(
                None, CLAUDE_AGENT_CONFIG="agent/config.yaml", ANTHROPIC_API_KEY_FILE="agent/key"
            )
            _configure(service.folder, model.url, isolation)
            with _sockets(service.folder) as sockets, open_site(service.folder / "agent") as site:
                service.env["NODE_EXTRA_CA_CERTS"] = str(site.certificate)
                service.start()
                async with Client(service.url) as client:
                    session = await client.create("eve")
                    names = await _targets(service, client) | sockets
                    await client.say(session, "hello")
                    names |= {"own": service.users / "eve", "launcher": service.launcher("eve").pid}
                    names |= {"site": site.url, "visited": site.visited}
                    yield Range(service, client, names, session)
    finally:
        services.end()


def _configure(folder: Path, model: str, isolation: str) -> None:
    here = Path(__file__).parent
    settings = {
        "model": {"base_url": model},
        "isolation": {
            "mode": isolation,
            "read": [sys.prefix, str(here), str(folder / "tools")],
            "memory_mb": 800,
            "max_file_mb": 50,
            "max_open_files": 512,
            "max_processes": 200,
        },
        "api": {"prestart": False},  # A session begins when its message comes, not before.
        "logging": {"level": "info"},
        "mcp_servers": {"files": {"command": sys.executable, "args": [str(here / "mcp_files.py")]}},
    }
    (folder / "agent").mkdir()
    (folder / "tools").mkdir()
    (folder / "tools" / "tool").touch()
    (folder / "agent" / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "agent" / "key").write_text(KEY)
    (folder / "agent" / "bindings" / "database").mkdir(parents=True)
    (folder / "agent" / "bindings" / "database" / "password").write_text("BOUND-PASSWORD")


async def _targets(service: ServiceProcess, client: Client) -> dict[str, Any]:
    """Bob's session, live, with what is his alone; and the token of a session that is gone."""
    gone = await client.create("carol")
    await client.say(gone, "hello")
    stale = service.cli("carol").environ()["ANTHROPIC_API_KEY"]
    await client.http.delete(f"/api/v1/sessions/{gone}")
    bob = await client.create("bob")
    await client.say(bob, "BOB-SAID this")
    folder = service.users / ".sessions" / bob
    (folder / "home" / ".netrc").write_text("BOB-PASSWORD")
    for name in ("secret", "movable", "removable", "emptied"):
        (service.users / "bob" / name).write_text("BOB-SECRET")
    return {
        "users": service.users,
        "tool": service.folder / "tools" / "tool",
        "other": service.users / "bob",
        "bob": bob,
        "bob_folder": folder,
        "bob_cli": service.cli("bob").pid,
        "service": service.pid,
        "port": service.url.rpartition(":")[2],
        "database": service.folder / "sessions.db",
        "config": service.folder / "agent" / "config.yaml",
        "key_file": service.folder / "agent" / "key",
        "bindings": service.folder / "agent" / "bindings",
        "stale_token": stale,
        "bob_token": service.cli("bob").environ()["ANTHROPIC_API_KEY"],
        "python": PYTHON,
        "ptrace": _PTRACE[os.uname().machine],
        **NUMBERS[os.uname().machine],
    }


@contextmanager
def _sockets(folder: Path) -> Iterator[dict[str, Any]]:
    """UNIX sockets that anybody of the uid may connect to."""
    abstract = f"cah-{os.getpid()}-{folder.name}"
    paths = {"engine": folder / "docker.sock", "database_socket": folder / ".s.PGSQL.5432"}
    with ExitStack() as stack:
        for address in (*map(str, paths.values()), f"\0{abstract}"):
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(address)
            server.listen()
        datagrams = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagrams.bind(str(folder / "log"))
        yield {**paths, "datagram_socket": folder / "log", "abstract": abstract}


def _text(event: dict[str, Any]) -> str:
    content = event["content"]
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)
