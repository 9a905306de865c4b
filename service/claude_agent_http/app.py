"""Composition root: takes Settings, builds the parts, hands them to each other."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import uvloop
from starlette.types import ASGIApp

from claude_agent_http import __version__, logs
from claude_agent_http.api import HealthCheck, ModelMode, ServiceInfo, create_api
from claude_agent_http.domain.errors import ListenError
from claude_agent_http.engine import Engine, Limits
from claude_agent_http.metrics.state import ServiceView
from claude_agent_http.metrics.stored import StoredSessions
from claude_agent_http.ports import Store
from claude_agent_http.runtime.cli import CliRuntimeFactory
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.strays import Strays
from claude_agent_http.runtime.workspaces import FolderWorkspaces
from claude_agent_http.server import DrainingServer
from claude_agent_http.settings import Loaded, Settings
from claude_agent_http.storage import configured_store
from claude_agent_http.system import (
    CannotListenError,
    LoopbackServer,
    MemorySampler,
    RandomIds,
    SystemClock,
    listeners,
)
from claude_agent_http.telemetry import configured_metering

_STATE_FOLDER = ".sessions"


def serve(loaded: Loaded) -> int:
    """Serve until a signal. Returns the exit code; raises ClaudeAgentError when a part cannot start."""
    logs.configure(loaded.settings.logging.level, loaded.settings.logging.format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(loaded.settings))
    return 0


async def _serve(settings: Settings) -> None:
    # First of all: who cannot have the port leaves before a database is migrated or a lease is taken.
    with _listeners(settings) as sockets:
        async with Strays() as strays, running(settings, strays) as service:
            await DrainingServer(service.api, sockets, service.drain).run_until_signalled()


@contextmanager
def _listeners(settings: Settings) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        try:
            sockets = stack.enter_context(listeners("api", settings.api.host, settings.api.port))
        except CannotListenError as error:
            raise ListenError(str(error)) from error
        yield sockets


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that live as long as the service."""

    api: ASGIApp
    engine: Engine
    store: Store
    drain_seconds: float

    async def drain(self) -> None:
        await self.engine.stop(self.drain_seconds)


@asynccontextmanager
async def running(settings: Settings, strays: Strays) -> AsyncIterator[Service]:
    """Everything but the listening socket. At exit the engine is stopped, then the store closed."""
    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(MemorySampler())
        store = configured_store(settings.session)
        await store.open()
        stack.push_async_callback(store.close)
        workspaces = FolderWorkspaces(settings.user.base_dir, auto_create=settings.user.auto_create_dir)
        config = _runtime_config(settings, await _model_env(settings, stack))
        runtimes = CliRuntimeFactory(
            config,
            store.transcripts,
            RandomIds(),
            workspaces=workspaces,
            strays=strays,
            environ=os.environ,
        )
        metering = configured_metering(settings.metrics)
        engine = Engine(
            store=store,
            runtimes=runtimes,
            workspaces=workspaces,
            clock=SystemClock(),
            ids=RandomIds(),
            limits=_limits(settings),
            memory=memory,
            name=os.environ.get("POD_NAME") or socket.gethostname(),
            version=__version__,
            telemetry=metering.telemetry,
        )
        stored = StoredSessions(store.sessions.count, SystemClock())
        await stack.enter_async_context(metering.shown(_view(engine, memory, stored, store)))
        await engine.start()
        service = Service(_api(settings, engine, store, memory), engine, store, settings.api.drain_seconds)
        stack.push_async_callback(engine.stop, 0)
        yield service


def _view(engine: Engine, memory: MemorySampler, stored: StoredSessions, store: Store) -> ServiceView:
    """Leases are told of where replicas share the database."""
    if not store.is_shared:
        return ServiceView(engine.stats, memory, stored)
    return ServiceView(
        engine.stats,
        memory,
        stored,
        leases=lambda: engine.stats().live,
        replicas=lambda: engine.stats().peers + 1,
    )


async def _model_env(settings: Settings, stack: AsyncExitStack) -> dict[str, str]:
    """How the CLI reaches its model: the demo model's address, or what the user configured."""
    if settings.uses_demo_model:
        # Imported here: who has a model of their own need not carry this one.
        from claude_agent_http.demo.app import create_demo_model  # noqa: PLC0415

        demo = await stack.enter_async_context(LoopbackServer(create_demo_model(), grace_seconds=0))
        return {"ANTHROPIC_BASE_URL": demo.url, "ANTHROPIC_API_KEY": "demo"}
    model = settings.model
    given = {
        "ANTHROPIC_API_KEY": model.api_key.get_secret_value() if model.api_key else None,
        "ANTHROPIC_AUTH_TOKEN": model.auth_token.get_secret_value() if model.auth_token else None,
        "ANTHROPIC_BASE_URL": str(model.base_url) if model.base_url else None,
    }
    return {name: value for name, value in given.items() if value}


def _runtime_config(settings: Settings, model_env: dict[str, str]) -> RuntimeConfig:
    defaults = settings.defaults
    return RuntimeConfig(
        state_dir=settings.user.base_dir / _STATE_FOLDER,
        model=defaults.model,
        system_prompt=defaults.system_prompt,
        permission_mode=defaults.permission_mode,
        allowed_tools=defaults.allowed_tools,
        disallowed_tools=defaults.disallowed_tools,
        setting_sources=defaults.setting_sources,
        max_turns=defaults.max_turns,
        max_budget_usd=defaults.max_budget_usd,
        mcp_servers={name: server.plain() for name, server in settings.mcp_servers.items()},
        plugins=[plugin.model_dump(mode="json") for plugin in settings.plugins],
        cli_path=defaults.cli_path,
        model_env=model_env,
    )


def _limits(settings: Settings) -> Limits:
    api = settings.api
    return Limits(
        max_live=api.max_sessions,
        max_live_per_user=api.max_sessions_per_user,
        max_turns_at_once=api.max_concurrent_requests,
        max_starts_at_once=os.cpu_count() or 1,
        memory_mb=api.memory_limit_mb,
        idle_seconds=api.idle_session_timeout,
        session_ttl_seconds=settings.session.ttl,
        retention_seconds=settings.retention.closed_days * 86_400,
        retention_bytes=settings.retention.closed_mb * 1_000_000,
        lease_seconds=settings.session.lease_seconds,
        prestart=api.prestart,
    )


def _api(settings: Settings, engine: Engine, store: Store, memory: MemorySampler) -> ASGIApp:
    check = HealthCheck(
        info=ServiceInfo(version=__version__, model_mode=_model_mode(settings)),
        storage_type=settings.session.storage,
        stats=engine.stats,
        memory=memory,
        ping=store.ping,
        sessions=engine.active_sessions,
    )

    async def ready() -> str | None:
        return "draining" if engine.draining else await check.reason_not_ready()

    return create_api(
        engine,
        check.info,
        check,
        ready,
        listens_on=settings.api.host,
        cors_origins=settings.api.cors_origins,
    )


def _model_mode(settings: Settings) -> ModelMode:
    if settings.uses_demo_model:
        return "demo"
    return "configured" if settings.has_model_access else "none"
