"""The port that `serve` would listen on."""

import errno
import socket

import httpx

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.settings import Settings

__all__ = ["check_port"]

_TIMEOUT = httpx.Timeout(2)


def check_port(settings: Settings, container: bool) -> Finding:
    host, port = settings.api.host, settings.api.port
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(address[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address[4])
            probe.listen(1)
    except socket.gaierror as error:
        return fail("port", f"{host} is no address of this machine: {error.strerror}", "correct api.host")
    except OSError as error:
        return _refused(host, port, error, container)
    return ok("port", f"{host}:{port} is free")


def _refused(host: str, port: int, error: OSError, container: bool) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return _taken(host, port, container)
    if error.errno == errno.EACCES:
        return fail(
            "port", f"this user may not listen on port {port}", "choose a port of 1024 or more (api.port)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return fail("port", f"{host} is no address of this machine", "correct api.host, or use 0.0.0.0")
    return fail("port", f"cannot listen on {host}:{port}: {error.strerror}", "correct api.host and api.port")


def _taken(host: str, port: int, container: bool) -> Finding:
    advice = (
        f"see who has it (`ss -tlnp | grep :{port}`) and stop that, or choose another port "
        f"(CLAUDE_AGENT_API_PORT{'; with Compose API_PORT' if container else ''})"
    )
    health = _health(host, port)
    if health is None:
        return fail("port", f"{host}:{port} is in use by another program", advice)
    found = f"claude-agent-http {health.get('version')} runs on {host}:{port} ({health.get('status')})"
    if health.get("status") == "healthy":
        return ok("port", found)
    return warn("port", found, "look at its log, and at the other lines here")


def _health(host: str, port: int) -> dict[str, object] | None:
    """What our own service answers there; None when it is someone else."""
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    shown = f"[{reach}]" if ":" in reach else reach
    try:
        answer = httpx.get(f"http://{shown}:{port}/health", timeout=_TIMEOUT, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    return answer if isinstance(answer, dict) and {"version", "storage_type"} <= answer.keys() else None
