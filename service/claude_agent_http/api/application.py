"""The FastAPI application, put together."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from starlette.types import Lifespan

from claude_agent_http.api import (
    approvals,
    audit_routes,
    chat,
    events,
    files,
    health,
    keys,
    sessions,
    usage,
    users,
)
from claude_agent_http.api.access import ASSETS, declared, open_paths
from claude_agent_http.api.audit import Audit, AuditParts
from claude_agent_http.api.authentication import Authentication
from claude_agent_http.api.body_limit import BodyLimit
from claude_agent_http.api.files_port import WorkspaceFiles
from claude_agent_http.api.host_check import HostCheck, loopback_hosts
from claude_agent_http.api.info import Health, Parts, ReasonNotReady, ServiceInfo
from claude_agent_http.api.open_requests import OpenRequests
from claude_agent_http.api.openapi import DESCRIPTION, TAGS, with_problems
from claude_agent_http.api.problems import handle_problems
from claude_agent_http.api.rate_limit import CallerRate, RequestRates, StrangerRate
from claude_agent_http.api.request_log import RequestLog
from claude_agent_http.engine import Engine, KeyRing
from claude_agent_http.ports import Authenticator

_EXPOSED = [
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
    "X-Stop-Reason",
]
_ACCEPTED = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "X-Api-Key",
    "X-Request-Id",
]


def create_api(
    engine: Engine,
    info: ServiceInfo,
    health_of: Callable[[], Awaitable[Health]],
    ready: ReasonNotReady,
    workspace_files: WorkspaceFiles,
    *,
    key_ring: KeyRing,
    authenticator: Authenticator | None,
    audit: AuditParts,
    rates: RequestRates | None = None,
    max_upload_bytes: int = 100_000_000,
    listens_on: str | None = None,
    cors_origins: Sequence[str] = (),
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """Every route over the engine. Without an `authenticator` nobody is asked who they are. `ready` gives the
    reason why the service is not ready, or None; `listens_on` is the host or address of its socket: on a
    loopback one it answers to local names only."""
    api = FastAPIOffline(
        redoc_url=None,
        static_url=ASSETS,
        title="claude-agent-http",
        summary="The Claude Agent SDK as an HTTP service",
        description=DESCRIPTION,
        version=info.version,
        openapi_tags=TAGS,
        lifespan=lifespan,
    )
    api.state.parts = Parts(engine, info, health_of, ready, workspace_files, key_ring, audit.trail)
    for one in (health, sessions, chat, approvals, events, files, usage, users, keys, audit_routes):
        api.include_router(one.router)
    handle_problems(api)
    _add_middleware(
        api,
        authenticator,
        audit,
        rates or RequestRates(),
        cors_origins,
        loopback_hosts(listens_on),
        max_upload_bytes,
    )
    with_problems(api, asks_who=authenticator is not None)
    return api


def _add_middleware(
    api: FastAPI,
    authenticator: Authenticator | None,
    audit: AuditParts,
    rates: RequestRates,
    cors_origins: Sequence[str],
    hosts: Sequence[str],
    upload_bytes: int,
) -> None:
    """The last one added is the outermost."""
    open_to_all = open_paths(api)
    api.add_middleware(BodyLimit, upload_bytes=upload_bytes)
    if rates.at_once is not None:
        api.add_middleware(OpenRequests, most=rates.at_once)
    if rates.callers is not None:
        api.add_middleware(CallerRate, rate=rates.callers)
    strangers = StrangerRate(rates.strangers)
    api.add_middleware(
        Authentication, authenticator=authenticator, strangers=strangers, open_paths=open_to_all
    )
    if audit.is_on:
        api.add_middleware(Audit, parts=audit, routes=declared(api), open_paths=open_to_all)
    if cors_origins:
        api.add_middleware(CORSMiddleware, **_cors(cors_origins))
    if hosts:
        api.add_middleware(HostCheck, hosts=hosts)
    api.add_middleware(RequestLog)


def _cors(origins: Sequence[str]) -> dict[str, Any]:
    return {
        "allow_origins": list(origins),
        "allow_credentials": "*" not in origins,
        "allow_methods": ["GET", "HEAD", "POST", "PUT", "DELETE"],
        "allow_headers": _ACCEPTED,
        "expose_headers": _EXPOSED,
    }
