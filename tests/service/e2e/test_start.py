"""Starts that must fail say why in words; the demo says that it is one; the terminal client talks to it."""

import subprocess
from pathlib import Path

import httpx
import pytest
from tests.service.commands.program import run
from tests.service.e2e.client import Client
from tests.service.e2e.service_process import ServiceProcess, Services

from claude_agent_http import __version__


def assert_refused(ended: subprocess.CompletedProcess[str], codes: set[int], *words: str) -> None:
    assert ended.returncode in codes, ended
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr


def test_a_second_service_on_one_database_is_refused(shared_service: ServiceProcess, tmp_path: Path) -> None:
    ended = run("serve", "--port", "0", cwd=tmp_path, env=shared_service.env)
    assert_refused(ended, {1}, f"process {shared_service.pid} uses this database")
    assert shared_service.is_ready()


def test_a_port_in_use_is_told(shared_service: ServiceProcess, tmp_path: Path) -> None:
    port = str(httpx.URL(shared_service.url).port)
    assert_refused(run("serve", "--port", port, cwd=tmp_path), {1}, port, "in use", "CLAUDE_AGENT_API_PORT")
    assert not (tmp_path / "data").exists()


def test_bad_settings_are_told(tmp_path: Path) -> None:
    env = {
        "HOME": str(tmp_path),
        "CLAUDE_AGENT_MAX_SESSIONS": "many",
        "CLAUDE_AGENT_SESSION_STORAGE": "mysql",
    }
    ended = run("serve", "--port", "0", cwd=tmp_path, env=env)
    assert_refused(ended, {2}, "CLAUDE_AGENT_MAX_SESSIONS", "CLAUDE_AGENT_SESSION_STORAGE")


def test_the_demo_says_that_it_is_one(shared_service: ServiceProcess) -> None:
    assert "DEMO MODEL" in shared_service.log
    for path in ("/", "/health"):
        assert httpx.get(shared_service.url + path, trust_env=False).json()["model"]["mode"] == "demo"


@pytest.mark.tier("cli")
async def test_without_a_key_a_container_starts_and_says_what_it_lacks(services: Services) -> None:
    service = services.start(
        CLAUDE_AGENT_CONTAINER="yes", CLAUDE_AGENT_INSECURE="true", CLAUDE_AGENT_METRICS_PORT="0"
    )
    assert "none (every turn will fail)" in service.log
    assert "set ANTHROPIC_API_KEY, or CLAUDE_AGENT_MODEL_DEMO=on" in service.log
    async with Client(service.url) as client:
        health = await client.http.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["model"]["mode"] == "none"
        assert "ANTHROPIC_API_KEY" in health.json()["hint"]
        answer = await client.chat(await client.create("ann"), "hello")
    assert answer.status_code == 502, answer.text


@pytest.mark.tier("cli")
def test_the_terminal_client(shared_service: ServiceProcess, tmp_path: Path) -> None:
    url = ("--url", shared_service.url, "--user", "terminal")
    once = run("chat", *url, "--once", "run: echo hi from bash", cwd=tmp_path)
    assert once.returncode == 0, once
    assert "hi from bash" in once.stdout
    session = once.stderr.split("session ", 1)[1].split()[0]
    talk = run("chat", *url, "--session", session, cwd=tmp_path, given="what did I say?\nthink about tea\n")
    assert talk.returncode == 0, talk
    assert "run: echo hi from bash" in talk.stdout
    assert "thought about tea" in talk.stdout


def test_the_version(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout.split()[-1] == __version__
