"""The ports that `serve` would listen on."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.settings import Settings
from claude_agent_http.system import CannotListenError, listeners

__all__ = ["check_metrics_port", "check_port"]

_TIMEOUT = httpx.Timeout(2)


@dataclass(frozen=True, slots=True)
class _Port:
    """`section` of the settings holds its `host` and `port`; `own` says what of ours is found there."""

    name: str
    section: str
    host: str
    port: int
    own: Callable[[str], Finding | None]


def check_port(settings: Settings, container: bool) -> Finding:
    api = settings.api
    return _check(_Port("port", "api", api.host, api.port, _own_service), container)


def check_metrics_port(settings: Settings) -> Finding:
    metrics = settings.metrics
    if not metrics.enabled:
        return ok("metrics port", "not needed: metrics.enabled is false")
    return _check(_Port("metrics port", "metrics", metrics.host, metrics.port, _own_metrics), container=False)


def _check(at: _Port, container: bool) -> Finding:
    try:
        with listeners(at.section, at.host, at.port):
            return ok(at.name, f"{at.host}:{at.port} is free")
    except CannotListenError as error:
        if error.in_use and (own := at.own(_url(at))):
            return own
        compose = "; with Compose: API_PORT" if container and error.in_use else ""
        return fail(at.name, error.found, error.advice + compose)


def _url(at: _Port) -> str:
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(at.host, at.host)  # noqa: S104
    return f"http://[{reach}]:{at.port}" if ":" in reach else f"http://{reach}:{at.port}"


def _own_service(url: str) -> Finding | None:
    """What our own service says of itself there; None when it is someone else."""
    try:
        health = httpx.get(f"{url}/health", timeout=_TIMEOUT, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    if not isinstance(health, dict) or not {"version", "storage_type"} <= health.keys():
        return None
    place = url.removeprefix("http://")
    found = f"claude-agent-http {health['version']} runs on {place} ({health.get('status')})"
    if health.get("status") == "healthy":
        return ok("port", found)
    return warn("port", found, "look at its log, and at the other lines here")


def _own_metrics(url: str) -> Finding | None:
    try:
        text = httpx.get(f"{url}/metrics", timeout=_TIMEOUT, trust_env=False).text
    except httpx.HTTPError:
        return None
    if "claude_agent_build_info" not in text:
        return None
    return ok("metrics port", f"claude-agent-http serves its metrics on {url.removeprefix('http://')}")
