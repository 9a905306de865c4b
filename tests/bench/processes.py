"""The service and the demo model, each in a process of its own, as a user starts them."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

__all__ = ["Running", "demo_model", "service"]

_PROGRAM = ("-m", "claude_agent_http")
_START_SECONDS = 60
_END_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Running:
    """`log` is what the process wrote so far, one JSON object a line where it is the service's."""

    url: str
    pid: int
    log: Path

    def records(self) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, event: str, key: str) -> list[Any]:
        """What the service told under `key` each time that `event` happened."""
        return [record[key] for record in self.records() if record.get("event") == event]


@asynccontextmanager
async def demo_model(folder: Path) -> AsyncIterator[Running]:
    async with _running([*_PROGRAM, "demo-model"], "/healthz", folder / "demo-model", {}) as running:
        yield running


@asynccontextmanager
async def service(
    folder: Path, model_url: str, *, program: Sequence[str] = _PROGRAM, **settings: object
) -> AsyncIterator[Running]:
    """On SQLite in `folder`. `settings` are variables without their CLAUDE_AGENT_, in lower case; `program`
    is what Python runs."""
    given = {f"CLAUDE_AGENT_{name.upper()}": str(value) for name, value in settings.items()}
    limits = {
        "CLAUDE_AGENT_MAX_SESSIONS": "100",
        "CLAUDE_AGENT_MAX_SESSIONS_PER_USER": "100",
        "CLAUDE_AGENT_MAX_CONCURRENT": "20",
        "CLAUDE_AGENT_MEMORY_LIMIT_MB": "1000000",
        "CLAUDE_AGENT_IDLE_SESSION_TIMEOUT": "3600",
        "CLAUDE_AGENT_CONTAINER": "no",
    }
    model = {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": "demo"}
    variables = {**limits, **model, **given}
    async with _running([*program, "serve"], "/readyz", folder, variables) as running:
        yield running


@asynccontextmanager
async def _running(
    arguments: Sequence[str], probe: str, folder: Path, environment: dict[str, str]
) -> AsyncIterator[Running]:
    port, log = _free_port(), _new_log(folder)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments, "--port", str(port)),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    running = Running(f"http://127.0.0.1:{port}", process.pid, log)
    try:
        await _answers(f"{running.url}{probe}", process, log)
        yield running
    finally:
        await _end(process)


async def _answers(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while not await _is_ok(client, url):
                if process.returncode is not None:
                    raise RuntimeError(f"a process ended before it served:\n{_said(log)}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise RuntimeError(f"{url} did not answer in {_START_SECONDS} s:\n{_said(log)}") from None


async def _is_ok(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _new_log(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "output"


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
