"""`/health` tells that agents do not start, and that they do again."""

import stat
from pathlib import Path

import pytest
from tests.service.commands.program import run
from tests.service.e2e.client import Client
from tests.service.e2e.service_process import Services
from tests.waiting import until

from claude_agent_http.runtime.startfiles import bundled_cli

pytestmark = pytest.mark.tier("cli", "linux")


def _program(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_a_cli_that_does_not_start_is_told_until_one_does(services: Services, tmp_path: Path) -> None:
    cli = tmp_path / "claude"
    _program(cli, "echo the disk of this machine is broken >&2; exit 1")
    # What it runs in the end is elsewhere.
    service = services.start(CLAUDE_AGENT_CLI_PATH=str(cli), CLAUDE_AGENT_ISOLATION_READ=str(bundled_cli()))
    async with Client(service.url) as client:
        assert (await client.http.get("/health")).json()["status"] == "healthy"
        session = await client.create("ann")
        health = {}

        async def degraded() -> bool:
            answer = await client.http.get("/health")
            assert answer.status_code == 200
            health.update(answer.json())
            return health["status"] == "degraded"

        await until(degraded, 20)
        assert "did not start" in health["hint"]
        assert "claude-agent-http doctor" in health["hint"]
        failed = await client.chat(session, "hello")
        assert (failed.status_code, failed.json()["type"]) == (
            502,
            "urn:claude-agent-http:problem:runtime_start_failed",
        )
        assert "the disk of this machine is broken" in failed.json()["detail"]

        said = run("doctor", cwd=tmp_path, env=service.env)
        assert said.returncode == 1
        assert str(cli) in said.stdout + said.stderr

        _program(cli, f'exec "{bundled_cli()}" "$@"')
        assert (await client.chat(session, "hello again")).status_code == 200
        assert (await client.http.get("/health")).json()["status"] == "healthy"
