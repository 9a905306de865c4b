"""The `claude` program that every session runs."""

import importlib.util
import platform
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from claude_agent_http.commands.doctor.finding import Finding, fail, ok
from claude_agent_http.settings import Settings

__all__ = ["check_agent_cli", "check_cpu", "find_cli"]

_START_SECONDS = 20
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


def check_agent_cli(settings: Settings, environ: Mapping[str, str]) -> Finding:
    cli = find_cli(settings, environ)
    if cli is None:
        advice = "install claude-agent-sdk again, or name a CLI with CLAUDE_AGENT_CLI_PATH"
        return fail("agent CLI", "no claude CLI was found: the SDK's own is missing", advice)
    # Nothing secret is passed on: the CLI needs none to tell its version.
    env = {name: environ[name] for name in _PASSED_ON if name in environ}
    try:
        ended = subprocess.run(
            [cli, "--version"],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return fail("agent CLI", f"{cli} did not start within {_START_SECONDS} s", "free some CPU and memory")
    except OSError as error:
        return fail("agent CLI", f"{cli} cannot be run: {error.strerror}", "correct CLAUDE_AGENT_CLI_PATH")
    return _judge(cli, ended)


def check_cpu(settings: Settings, cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    if settings.defaults.cli_path is not None:
        return ok("cpu", "defaults.cli_path is used; only the SDK's own CLI needs AVX")
    if platform.machine() not in {"x86_64", "AMD64"}:
        return ok("cpu", f"{platform.machine()} needs no AVX")
    try:
        flags = next(
            line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("flags")
        )
    except (OSError, StopIteration):
        return ok("cpu", "its features cannot be read here")
    if "avx" in flags.split():
        return ok("cpu", "has AVX, which the agent's CLI needs")
    advice = "run on a CPU with AVX (a VM: pass the host's through), or name a CLI with CLAUDE_AGENT_CLI_PATH"
    return fail("cpu", "has no AVX, which the SDK's own CLI needs", advice)


def find_cli(settings: Settings, environ: Mapping[str, str]) -> Path | None:
    """`cli_path`, else the SDK's own, else the one on PATH; the SDK is located, not imported."""
    if settings.defaults.cli_path is not None:
        return settings.defaults.cli_path
    spec = importlib.util.find_spec("claude_agent_sdk")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "_bundled" / "claude"
        if bundled.is_file():
            return bundled
    found = shutil.which("claude", path=environ.get("PATH"))
    return Path(found) if found else None


def _judge(cli: Path, ended: subprocess.CompletedProcess[bytes]) -> Finding:
    said = (ended.stdout or ended.stderr).decode("utf-8", "replace").strip().partition("\n")[0][:200]
    if ended.returncode == 0:
        return ok("agent CLI", f"{said} ({cli})")
    if ended.returncode == -signal.SIGILL:
        return fail("agent CLI", f"{cli} uses instructions this CPU lacks", "see the line about the cpu")
    if ended.returncode == -signal.SIGKILL:
        return fail("agent CLI", f"{cli} was killed, likely for want of memory", "raise the memory limit")
    advice = "run it by hand, and check HOME and CLAUDE_AGENT_CLI_PATH"
    return fail("agent CLI", f"{cli} --version ended with {ended.returncode}: {said}", advice)
