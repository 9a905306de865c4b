"""The bare SDK's side: the same CLI, options, environment and model, and nothing of the service."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage, SessionStore, StreamEvent
from tests.bench.timed import Timed

from claude_agent_http.domain.session import Session
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.folders import SessionFolders, make_folders, write_private
from claude_agent_http.runtime.options import Start, cli_environment, cli_options, cli_settings
from claude_agent_http.runtime.startfiles import bundled_cli
from claude_agent_http.settings import Settings

__all__ = ["BareConversation", "SdkSide", "sdk_side"]

_LIMIT_SECONDS = 120


class SdkSide:
    """One connected client. Times are milliseconds; `connect` is how long connecting took."""

    def __init__(self, client: ClaudeSDKClient, connect: float) -> None:
        self._client = client
        self.connect = connect

    async def turn(self, message: str) -> float:
        """From the query to its ResultMessage."""
        return (await self.timed(message)).whole_ms

    async def timed(self, message: str) -> Timed:
        """A turn from its query to its ResultMessage."""
        asked, first, text = time.time_ns(), 0, ""
        async with asyncio.timeout(_LIMIT_SECONDS):
            await self._client.query(message)
            async for received in self._client.receive_response():
                if not first and isinstance(received, StreamEvent) and (piece := _piece(received.event)):
                    text, first = piece, time.time_ns()
                if isinstance(received, ResultMessage) and received.is_error:
                    raise RuntimeError(f"the turn failed: {received.result}")
        return Timed(asked, first, time.time_ns(), text)


class BareConversation:
    """A conversation whose client may come and go, as the CLI keeps it on disk."""

    def __init__(self, folder: Path, model_url: str) -> None:
        self._config = _config(folder)
        self._model_env = {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": "demo"}
        self._session = _session(folder)
        self._folders = make_folders(self._config.state_dir, self._session.id)
        write_private(self._folders.settings_file, cli_settings())
        self._begun = False

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SdkSide]:
        """A client connected in the caller's task, disconnected at exit; it resumes what was begun before."""
        client = ClaudeSDKClient(self._options())
        started = time.perf_counter()
        await client.connect()
        self._begun = True
        try:
            yield SdkSide(client, (time.perf_counter() - started) * 1000)
        finally:
            await client.disconnect()

    def _options(self) -> ClaudeAgentOptions:
        """The service's own options, without its launcher, its transcript store and its hook."""
        served = cli_options(self._config, _start(self._session, self._folders, self._model_env))
        return replace(
            served,
            cli_path=bundled_cli(),
            env=cli_environment(
                self._config, self._folders, os.environ, self._model_env, root=os.geteuid() == 0
            ),
            session_id=None if self._begun else self._session.id,
            resume=self._session.id if self._begun else None,
            session_store=None,
            session_store_flush=ClaudeAgentOptions().session_store_flush,
            hooks=None,
        )


@asynccontextmanager
async def sdk_side(folder: Path, model_url: str) -> AsyncIterator[SdkSide]:
    """A client of a new conversation, connected in the caller's task, disconnected at exit."""
    async with BareConversation(folder, model_url).connected() as side:
        yield side


def _config(folder: Path) -> RuntimeConfig:
    return RuntimeConfig(
        state_dir=folder / "bare-state",
        permission_mode=Settings().defaults.permission_mode,
    )


def _session(folder: Path) -> Session:
    workspace, now = folder / "bare-users" / str(uuid4()), datetime.now(UTC)
    workspace.mkdir(parents=True)
    return Session(str(uuid4()), "bench", None, str(workspace), now, now, "")


def _start(session: Session, folders: SessionFolders, model_env: dict[str, str]) -> Start:
    async def unused(*_: Any) -> dict[str, Any]:
        return {}

    return Start(session, folders, model_env, False, cast("SessionStore", None), unused, lambda _line: None)


def _piece(event: dict[str, Any]) -> str:
    delta = event.get("delta") or {}
    return str(delta.get("text", "")) if delta.get("type") == "text_delta" else ""
