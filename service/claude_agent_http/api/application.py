"""The FastAPI application, put together."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from starlette.types import Lifespan

from claude_agent_http.api import chat, events, health, sessions, users
from claude_agent_http.api.body_limit import BodyLimit
from claude_agent_http.api.host_check import HostCheck, loopback_hosts
from claude_agent_http.api.info import Health, Parts, ReasonNotReady, ServiceInfo
from claude_agent_http.api.openapi import DESCRIPTION, TAGS, with_problems
from claude_agent_http.api.problems import handle_problems
from claude_agent_http.api.request_log import RequestLog
from claude_agent_http.engine import Engine

_EXPOSED = ["Link", "Retry-After", "X-Request-Id", "X-Stop-Reason"]
_ACCEPTED = ["Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"]


def create_api(
    engine: Engine,
    info: ServiceInfo,
    health_of: Callable[[], Awaitable[Health]],
    ready: ReasonNotReady,
    *,
    listens_on: str | None = None,
    cors_origins: Sequence[str] = (),
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """Every route over the engine. `ready` gives the reason why the service is not ready, or None;
    `listens_on` is the host or address of its socket: on a loopback one it answers to local names only."""
    api = FastAPIOffline(
        redoc_url=None,
        static_url="/docs/assets",
        title="claude-agent-http",
        summary="The Claude Agent SDK as an HTTP service",
        description=DESCRIPTION,
        version=info.version,
        openapi_tags=TAGS,
        lifespan=lifespan,
    )
    api.state.parts = Parts(engine, info, health_of, ready)
    for router in (health.router, sessions.router, chat.router, events.router, users.router):
        api.include_router(router)
    handle_problems(api)
    _add_middleware(api, cors_origins, loopback_hosts(listens_on))
    with_problems(api)
    return api


def _add_middleware(api: FastAPI, cors_origins: Sequence[str], hosts: Sequence[str]) -> None:
    """The last one added is the outermost."""
    api.add_middleware(BodyLimit)
    if cors_origins:
        api.add_middleware(CORSMiddleware, **_cors(cors_origins))
    if hosts:
        api.add_middleware(HostCheck, hosts=hosts)
    api.add_middleware(RequestLog)


def _cors(origins: Sequence[str]) -> dict[str, Any]:
    return {
        "allow_origins": list(origins),
        "allow_credentials": "*" not in origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_headers": _ACCEPTED,
        "expose_headers": _EXPOSED,
    }
