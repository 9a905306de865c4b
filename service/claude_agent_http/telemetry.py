"""The telemetry that the settings choose, for app: none, or metrics for Prometheus on a port of their own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp

from claude_agent_http import __version__
from claude_agent_http.api.host_check import HostCheck, loopback_hosts
from claude_agent_http.domain.errors import ListenError
from claude_agent_http.engine import NullTelemetry
from claude_agent_http.metrics.state import Look
from claude_agent_http.ports import Telemetry
from claude_agent_http.settings import MetricsSettings
from claude_agent_http.system import InnerServer, InnerServerError

__all__ = ["Metering", "configured_metering"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Metering:
    """The engine is given `telemetry`; `async with metering.shown(look):` shows what it was told, and how
    the service is. Entering raises ListenError."""

    telemetry: Telemetry
    shown: Callable[[Look], AbstractAsyncContextManager[None]]


def configured_metering(settings: MetricsSettings) -> Metering:
    if not settings.enabled:
        return Metering(NullTelemetry(), lambda _: nullcontext())
    # Imported here: who has no use for metrics need not carry their library.
    from claude_agent_http.metrics.exposition import create_metrics_app  # noqa: PLC0415
    from claude_agent_http.metrics.prometheus import PrometheusTelemetry  # noqa: PLC0415

    telemetry = PrometheusTelemetry(__version__)
    return Metering(telemetry, lambda look: _served(create_metrics_app(telemetry, look), settings))


@asynccontextmanager
async def _served(app: ASGIApp, settings: MetricsSettings) -> AsyncIterator[None]:
    if hosts := loopback_hosts(settings.host):
        app = HostCheck(app, hosts, setting="metrics.host")
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(
                InnerServer(app, settings.host, settings.port, grace_seconds=0)
            )
        except InnerServerError as error:
            advice = "choose another metrics.port or metrics.host, or set metrics.enabled to false"
            raise ListenError(f"metrics: {error}; {advice}") from error
        _log.info("serving metrics", address=server.address)
        yield
