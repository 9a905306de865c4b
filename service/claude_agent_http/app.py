"""Composition root: takes Settings, builds the parts, hands them to each other."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog
import uvloop
from starlette.types import ASGIApp

from claude_agent_http import __version__, logs
from claude_agent_http.api import (
    PROBES,
    AuditParts,
    HealthCheck,
    IsolationInfo,
    ModelMode,
    ServiceInfo,
    create_api,
)
from claude_agent_http.authentication import Authentication, configured_authentication
from claude_agent_http.disk import FolderFiles, FolderUsage, FolderWorkspaces
from claude_agent_http.disk.owners import is_noted
from claude_agent_http.domain.errors import ListenError
from claude_agent_http.engine import AuditTrail, Budgets, DiskQuota, Engine, KeyRing, Ledger, Limits
from claude_agent_http.isolation import ConfiguredIsolation, configured_isolation
from claude_agent_http.metrics.state import ServiceView
from claude_agent_http.metrics.stored import StoredSessions
from claude_agent_http.model_access import budget_limits, configured_model_access, why_default_model_fails
from claude_agent_http.ports import Store
from claude_agent_http.rates import Rates, configured_rates
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.factory import CliRuntimeFactory
from claude_agent_http.runtime.isolation import kernel
from claude_agent_http.runtime.strays import Strays
from claude_agent_http.server import ConnectionLimits, DrainingServer
from claude_agent_http.settings import Loaded, Settings, insecurity
from claude_agent_http.storage import configured_store
from claude_agent_http.system import (
    CannotListenError,
    MemorySampler,
    RandomIds,
    SystemClock,
    listeners,
)
from claude_agent_http.telemetry import configured_metering

_STATE_FOLDER = ".sessions"
_log = structlog.get_logger(__name__)


def serve(loaded: Loaded) -> int:
    """Serve until a signal. Returns the exit code; raises ClaudeAgentError when a part cannot start."""
    logs.configure(loaded.settings.logging.level, loaded.settings.logging.format)
    isolation = configured_isolation(loaded, kernel())
    if isolation.missing:
        _log.warning("agents are not held to all that a jail is for", missing=list(isolation.missing))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(loaded, isolation))
    return 0


async def _serve(loaded: Loaded, isolation: ConfiguredIsolation) -> None:
    if (warning := insecurity(loaded.settings)) is not None:
        _log.warning(warning)
    if (reason := why_default_model_fails(loaded.settings)) is not None:
        _log.warning("every turn will be refused its model (defaults.model)", reason=reason)
    # First of all: who cannot have the port leaves before a database is migrated or a lease is taken.
    with _listeners(loaded.settings) as sockets:
        async with Strays() as strays, running(loaded, isolation, strays) as service:
            limits = _connection_limits(loaded.settings)
            await DrainingServer(service.api, sockets, service.drain, limits).run_until_signalled()


@contextmanager
def _listeners(settings: Settings) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        try:
            sockets = stack.enter_context(listeners("api", settings.api.host, settings.api.port))
        except CannotListenError as error:
            raise ListenError(str(error)) from error
        yield sockets


def _connection_limits(settings: Settings) -> ConnectionLimits:
    limits = settings.limits
    return ConnectionLimits.of(
        limits.connections, limits.connections_per_address, settings.api.trusted_proxies, PROBES
    )


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
async def running(loaded: Loaded, isolation: ConfiguredIsolation, strays: Strays) -> AsyncIterator[Service]:
    """Everything but the listening socket. At exit the engine is stopped, then the gateway, then the store is
    closed."""
    settings = loaded.settings
    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(MemorySampler())
        store = configured_store(settings.session)
        await store.open()
        stack.push_async_callback(store.close)
        workspaces = FolderWorkspaces(
            settings.user.base_dir,
            auto_create=settings.user.auto_create_dir,
            ran_here=partial(is_noted, settings.user.base_dir / _STATE_FOLDER),
        )
        rates = configured_rates(
            settings.limits,
            SystemClock(),
            asks_who=settings.asks_who,
            connections=_connection_limits(settings).connections,
        )
        ledger = await stack.enter_async_context(
            Ledger(store.usage, store.clock, RandomIds().replica_id(), rates.turns.used)
        )
        budgets = Budgets(budget_limits(settings.gateway), ledger, store.clock)
        runtimes = CliRuntimeFactory(
            _runtime_config(settings, isolation),
            store.transcripts,
            RandomIds(),
            await stack.enter_async_context(configured_model_access(settings, loaded.secret_files, budgets)),
            workspaces=workspaces,
            strays=strays,
            environ=os.environ,
        )
        metering = configured_metering(settings.metrics)
        base = settings.user.base_dir
        usage = stack.enter_context(closing(FolderUsage(base, base / _STATE_FOLDER)))
        audit = await stack.enter_async_context(_audit(settings, store))
        engine = Engine(
            store=store,
            runtimes=runtimes,
            workspaces=workspaces,
            clock=store.clock,
            ids=RandomIds(),
            limits=_limits(settings),
            memory=memory,
            name=os.environ.get("POD_NAME") or socket.gethostname(),
            version=__version__,
            telemetry=metering.telemetry,
            rates=rates.turns,
            quota=DiskQuota(usage, settings.user.quota_mb),
            budgets=budgets,
        )
        stored = StoredSessions(store.sessions.count, SystemClock())
        await stack.enter_async_context(metering.shown(_view(engine, memory, stored, store)))
        authentication = await stack.enter_async_context(
            configured_authentication(settings.auth, store.api_keys, store.clock)
        )
        await engine.start()
        files = stack.enter_context(closing(FolderFiles(settings.user.base_dir)))
        api = _api(settings, isolation, engine, store, memory, files, authentication, audit, rates)
        service = Service(api, engine, store, settings.api.drain_seconds)
        stack.push_async_callback(engine.stop, 0)
        yield service


@asynccontextmanager
async def _audit(settings: Settings, store: Store) -> AsyncIterator[AuditParts]:
    keep_seconds = settings.audit.days * 86_400
    async with AuditTrail(store.audit, store.clock, keep_seconds=keep_seconds) as trail:
        yield AuditParts(trail, store.clock, RandomIds(), settings.is_audited)


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


def _runtime_config(settings: Settings, isolation: ConfiguredIsolation) -> RuntimeConfig:
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
        isolation=isolation.jail,
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
        approval_seconds=settings.defaults.approval_timeout,
        lease_seconds=settings.session.lease_seconds,
        prestart=api.prestart,
    )


def _api(
    settings: Settings,
    isolation: ConfiguredIsolation,
    engine: Engine,
    store: Store,
    memory: MemorySampler,
    files: FolderFiles,
    authentication: Authentication,
    audit: AuditParts,
    rates: Rates,
) -> ASGIApp:
    check = HealthCheck(
        info=ServiceInfo(
            version=__version__,
            model_mode=_model_mode(settings),
            isolation=IsolationInfo(isolation.mode, isolation.landlock, isolation.missing),
        ),
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
        files,
        key_ring=KeyRing(store.api_keys, store.clock, RandomIds(), changed=authentication.forget),
        authenticator=authentication.authenticator,
        audit=audit,
        rates=rates.requests,
        max_upload_bytes=settings.api.max_upload_mb * 1_000_000,
        listens_on=settings.api.host,
        cors_origins=settings.api.cors_origins,
    )


def _model_mode(settings: Settings) -> ModelMode:
    if settings.uses_demo_model:
        return "demo"
    return "configured" if settings.has_model_access else "none"
