"""`doctor`: every check in turn, printed as a list; 1 when one failed."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from claude_agent_http.commands.doctor.agent_cli import check_agent_cli, check_cpu
from claude_agent_http.commands.doctor.callers import check_callers
from claude_agent_http.commands.doctor.database import check_database
from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.commands.doctor.folders import (
    check_base_dir,
    check_database_dir,
    check_disk,
    check_home,
)
from claude_agent_http.commands.doctor.identity import check_model, check_uid
from claude_agent_http.commands.doctor.issuer import check_issuer
from claude_agent_http.commands.doctor.memory import check_memory
from claude_agent_http.commands.doctor.port import check_metrics_port, check_port
from claude_agent_http.commands.doctor.system import check_system
from claude_agent_http.commands.terminal import stdout, this_program
from claude_agent_http.settings import Loaded, SettingsError, hints, is_container, load_settings
from claude_agent_http.system import in_container

__all__ = ["examine", "run_doctor"]

_STYLES = {"ok": "green", "warn": "bold yellow", "fail": "bold red"}


def run_doctor(*, as_json: bool, config_file: Path | None) -> int:
    findings: list[Finding] = []
    detected = in_container(os.environ)
    for finding in examine(os.environ, Path.cwd(), config_file, detected=detected):
        findings.append(finding)
        if not as_json:
            _print(finding)
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        content = {"ok": not failed, "findings": [asdict(finding) for finding in findings]}
        stdout().file.write(json.dumps(content, indent=2) + "\n")
    return 1 if failed else 0


def examine(
    environ: Mapping[str, str], cwd: Path, config_file: Path | None = None, *, detected: bool = False
) -> Iterator[Finding]:
    """Each finding as soon as it is made; `detected` says whether this looks like a container. A broken
    configuration leaves only the system and HOME to be checked."""
    container = is_container(environ, detected=detected)
    yield check_system(container)
    yield check_home(environ, container)
    try:
        loaded = load_settings(environ, cwd, config_file, in_container=detected)
    except SettingsError as error:
        advice = f"correct the keys named here; `{this_program()} config` shows them all when it is right"
        yield fail("configuration", str(error), advice)
        return
    yield _configuration(loaded)
    settings = loaded.settings
    yield check_model(loaded)
    yield check_uid(loaded)
    yield check_base_dir(settings, container)
    yield check_database_dir(settings, container)
    yield check_disk(settings)
    yield check_database(settings)
    yield check_callers(settings)
    if settings.auth.mode == "oidc":
        yield check_issuer(settings.auth)
    yield check_port(settings, container)
    yield check_metrics_port(settings)
    yield check_cpu(settings)
    yield check_agent_cli(settings, environ)
    # Imported here, for it loads the SDK, and what is printed above need not wait for that.
    from claude_agent_http.commands.doctor.isolation import check_isolation  # noqa: PLC0415

    yield from check_isolation(loaded)
    if settings.mcp_servers:
        # Half a second, which most set-ups do not need.
        from claude_agent_http.commands.doctor.mcp_servers import check_mcp_servers  # noqa: PLC0415

        yield from check_mcp_servers(settings.mcp_servers)
    yield check_memory(settings, container)


def _configuration(loaded: Loaded) -> Finding:
    source = str(loaded.config_file or "environment and defaults")
    # That no model is configured is a finding of its own.
    warnings = [warning for warning in loaded.warnings if warning not in hints(loaded.settings)]
    if warnings:
        return warn("configuration", "; ".join(warnings), "correct or remove them")
    return ok("configuration", source)


def _print(finding: Finding) -> None:
    console = stdout()
    mark = Text(f"{finding.level:<5}", _STYLES[finding.level])
    console.print(Text.assemble(mark, (f"{finding.name}: ", "bold"), finding.found))
    if finding.advice:
        console.print(Text(f"      -> {finding.advice}"))
