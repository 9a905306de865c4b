"""Metrics of the real service, on a port of their own: what a turn leaves there, and when it answers."""

import asyncio
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from tests.service.commands.program import run
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.service_process import ServiceProcess, Services, free_port
from tests.service.metrics.readings import Reading, Samples, of_samples
from tests.waiting import until, wait_until

from claude_agent_http import __version__
from claude_agent_http.commands.doctor.port import check_metrics_port
from claude_agent_http.settings import load_settings


class Metered:
    """A service with metrics, and their address."""

    def __init__(self, services: Services, **env: str) -> None:
        port = str(free_port())
        self.env = {"CLAUDE_AGENT_METRICS_ENABLED": "yes", "CLAUDE_AGENT_METRICS_PORT": port}
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.service: ServiceProcess = services.start(**self.env, **env)

    def scrape(self, **headers: str) -> httpx.Response:
        answer = httpx.get(self.url, headers=headers, timeout=10, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer

    def samples(self) -> Samples:
        return Samples(self.scrape().text)

    def until(self, condition: Callable[[Samples], bool]) -> Samples:
        """The first scrape of which it is true."""
        found: list[Samples] = []

        def holds() -> bool:
            found[:] = [self.samples()]
            return condition(found[0])

        wait_until(holds, 20, lambda: f"last seen: {[one for one in found[0].all if one.value]}")
        return found[0]


@pytest.mark.tier("cli", "linux")
async def test_a_turn_is_seen_with_its_tokens_latencies_and_events(services: Services) -> None:
    metered = Metered(services, CLAUDE_AGENT_IDLE_SESSION_TIMEOUT="2", CLAUDE_AGENT_PRESTART="no")
    before = metered.samples()
    assert of_samples(before) == Reading()
    assert before.by("claude_agent_sessions", "state") == {}
    async with Client(metered.service.url) as client:
        session = await client.create("metered")
        await client.say(session, script(bash("true"), {"text": "done"}))
        seen = metered.until(lambda one: one.value("claude_agent_runtimes_stopped_total") == 1)
        log = await client.events(session)
        reading = of_samples(seen)
        assert (reading.begun, reading.ended, reading.errors) == (1, {"end_turn": 1}, {})
        (used,) = (event["usage"] for event in log if event["type"] == "session.usage")
        assert reading.tokens["input"] == used["input_tokens"] > 0
        assert reading.tokens["output"] == used["output_tokens"] > 0
        count, first = reading.first_token
        assert count == 1
        assert 0 < first <= reading.turn_seconds[1]
        assert 0 < reading.starts["start"][1] < first
        assert sum(reading.events.values()) == len(log)
        assert reading.events["agent.tool_use"] == 1
        assert seen.value("claude_agent_build_info", version=__version__) == 1
        # The next message wakes the session again.
        await client.say(session, "hello")
        seen = metered.samples()
        starts = of_samples(seen).starts
        assert {kind: count for kind, (count, _) in starts.items()} == {"start": 1, "wake": 1}
        assert seen.by("claude_agent_sessions", "state") == {"idle": 1}
        assert seen.value("process_resident_memory_bytes") > 0
    assert all(sample.value >= 0 for sample in seen.all)
    text = metered.scrape(Accept="application/openmetrics-text; version=1.0.0").text
    assert any(family.name == "claude_agent_turns" for family in openmetrics(text))


@pytest.mark.tier("cli", "linux")
async def test_refusals_interrupts_and_failed_starts_are_seen(services: Services, tmp_path: Path) -> None:
    metered = Metered(services, CLAUDE_AGENT_MAX_CONCURRENT="1")
    async with Client(metered.service.url) as client:
        one, other = await client.create("one"), await client.create("other")
        metered.until(lambda seen: seen.by("claude_agent_sessions", "state") == {"idle": 2})
        late = asyncio.create_task(client.chat(one, script(bash("sleep 100")), 3))
        async with client.follow(one) as reader:
            await reader.until_type("agent.tool_started")
        assert (await client.chat(one, "me too")).status_code == 429
        assert (await client.chat(other, "and me")).status_code == 429
        assert metered.samples().value("claude_agent_turns_in_progress") == 1
        assert (await late).status_code == 504
        reading = of_samples(metered.samples())
        assert reading.refused == {"busy": 1, "turns": 1}
        assert reading.interrupted == {"timeout": 1}
        metered.service.cli("other").kill()
        (metered.service.users / ".sessions").rename(tmp_path / "gone")
        (metered.service.users / ".sessions").touch()
        assert (await client.chat(other, "hello")).status_code == 502
        reading = of_samples(metered.samples())
        assert (reading.failed_starts, reading.errors) == (1, {"runtime_start_failed_error": 1})


@pytest.mark.tier("cli", "linux")
async def test_the_metrics_outlive_the_api_while_turns_end(services: Services) -> None:
    metered = Metered(services, CLAUDE_AGENT_DRAIN_SECONDS="20")
    async with Client(metered.service.url) as client:
        session = await client.create()
        turn = asyncio.create_task(client.chat(session, script(bash("until [ -e go ]; do sleep 0.05; done"))))
        async with client.follow(session) as reader:
            await reader.until_type("agent.tool_started")
        metered.service.kill(signal.SIGTERM)
        await until(lambda: not metered.service.is_ready(), 10)
        assert metered.samples().value("claude_agent_turns_in_progress") == 1
        (metered.service.users / "ann" / "go").touch()
        assert (await turn).status_code == 200
    assert await asyncio.to_thread(metered.service.wait) == 0
    with pytest.raises(httpx.ConnectError):
        metered.scrape()


def test_only_local_names_reach_them_on_a_local_address(services: Services, tmp_path: Path) -> None:
    metered = Metered(services)
    refused = httpx.get(metered.url, headers={"Host": "rebound.example"}, trust_env=False)
    assert refused.status_code == 421
    assert "metrics.host" in refused.json()["detail"]
    assert "serving metrics" in metered.service.log
    assert metered.url in metered.service.log
    assert httpx.get(f"{metered.service.url}/metrics", trust_env=False).status_code == 404
    found = check_metrics_port(load_settings(metered.env, tmp_path).settings)
    assert (found.level, "serves its metrics" in found.found) == ("ok", True)


def test_without_them_there_is_no_such_port(services: Services) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # Outside a container they are off, so that a port that is taken keeps nobody from starting.
        service = services.start(CLAUDE_AGENT_METRICS_PORT=str(taken.getsockname()[1]))
    assert "metrics" not in service.log


def test_a_port_in_use_stops_the_start_and_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {
            "HOME": str(tmp_path),
            "CLAUDE_AGENT_METRICS_ENABLED": "yes",
            "CLAUDE_AGENT_METRICS_PORT": port,
        }
        ended = run("serve", "--port", "0", cwd=tmp_path, env=env)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}: Address already in use" in ended.stderr
    assert "metrics.port" in ended.stderr
    assert "Traceback" not in ended.stderr
