"""Help, version, config, migrate, serve's refusals and demo-model, each as a process."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from tests.service.commands.program import LIMIT_SECONDS, command, environment, run

import claude_agent_http
from claude_agent_http.commands.serve import banner
from claude_agent_http.settings import insecurity, load_settings, refusal

COMMANDS = ["serve", "chat", "config", "doctor", "audit", "migrate", "demo-model"]


def test_version(tmp_path: Path):
    ended = run("--version", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, f"claude-agent-http {claude_agent_http.__version__}\n")


def test_help_names_every_command(tmp_path: Path):
    ended = run("--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert all(f"  {name} " in ended.stdout for name in COMMANDS)
    assert run(cwd=tmp_path).stdout == ended.stdout


def test_no_help_is_cut_on_a_narrow_terminal(tmp_path: Path):
    ended = run("--help", cwd=tmp_path, env={"COLUMNS": "80"})
    listed = ended.stdout.partition("Commands:")[2]
    assert "..." not in listed
    assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, tmp_path: Path):
    ended = run(name, "--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert "Usage: " in ended.stdout


def test_help_imports_nothing_heavy(tmp_path: Path):
    ended = run("--help", cwd=tmp_path, env={"PYTHONPROFILEIMPORTTIME": "1", "HOME": str(tmp_path)})
    for heavy in ("pydantic", "fastapi", "sqlalchemy", "httpx", "claude_agent_sdk", "uvicorn"):
        assert f" {heavy}\n" not in ended.stderr


def test_config_shows_every_setting_and_no_secret(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("api:\n  port: 9001\n")
    env = {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": "hush", "CLAUDE_AGENT_MAX_SESSIONS": "3"}
    ended = run("config", cwd=tmp_path, env=env)
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert lines[0] == f"configuration file: {tmp_path}/config.yaml"
    rows = {key: (value, source) for key, value, source in (line.split("\t") for line in lines[1:])}
    assert rows["api.port"] == ("9001", f"{tmp_path}/config.yaml:2")
    assert rows["api.max_sessions"] == ("3", "CLAUDE_AGENT_MAX_SESSIONS")
    assert rows["model.api_key"] == ("********", "ANTHROPIC_API_KEY")
    assert rows["session.pg_password"] == ("-", "default")
    assert "hush" not in ended.stdout + ended.stderr


def test_config_as_json(tmp_path: Path):
    env = {"ANTHROPIC_AUTH_TOKEN": "hush", "CLAUDE_AGENT_API_PROT": "1"}
    ended = run("config", "--json", cwd=tmp_path, env=env)
    content = json.loads(ended.stdout)
    values = {row["key"]: row["value"] for row in content["settings"]}
    assert values["model.auth_token"] == "********"
    assert values["api.port"] == 8000
    assert content["config_file"] is None
    assert "CLAUDE_AGENT_API_PORT" in content["warnings"][0]
    assert "hush" not in ended.stdout


def test_config_tells_what_is_so_because_of_the_container(tmp_path: Path):
    ended = run("config", cwd=tmp_path, env={"CLAUDE_AGENT_CONTAINER": "yes"})
    assert "api.host\t0.0.0.0\tdefault in a container\n" in ended.stdout
    assert "model.demo\toff\tdefault in a container\n" in ended.stdout
    assert "set ANTHROPIC_API_KEY, or CLAUDE_AGENT_MODEL_DEMO=on" in ended.stderr


def test_a_container_is_recognised(tmp_path: Path):
    env = {"CLAUDE_AGENT_CONTAINER": "", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert "api.host\t0.0.0.0\tdefault in a container\n" in run("config", cwd=tmp_path, env=env).stdout


@pytest.mark.parametrize("name", ["config", "serve", "migrate"])
def test_a_bad_configuration_ends_with_2_and_says_why(name: str, tmp_path: Path):
    (tmp_path / "config.yaml").write_text("api:\n  prot: 1\n")
    ended = run(name, cwd=tmp_path, env={"CLAUDE_AGENT_MAX_SESSIONS": "x"})
    assert ended.returncode == 2
    assert f"api.prot (from {tmp_path}/config.yaml:2): unknown key; did you mean 'api.port'?" in ended.stderr
    assert "api.max_sessions (from CLAUDE_AGENT_MAX_SESSIONS): " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bad_option_of_serve_is_named(tmp_path: Path):
    ended = run("serve", "--port", "web", "--host", "a b", cwd=tmp_path)
    assert ended.returncode == 2
    assert "api.port (from --port): " in ended.stderr
    assert "api.host (from --host): " in ended.stderr


def test_a_missing_configuration_file_is_named(tmp_path: Path):
    ended = run("config", "--config", "none.yaml", cwd=tmp_path)
    assert ended.returncode == 2
    assert f"{tmp_path}/none.yaml does not exist" in ended.stderr


def test_migrate_makes_the_database_once(tmp_path: Path):
    first, second = run("migrate", cwd=tmp_path), run("migrate", cwd=tmp_path)
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("sqlite: migrated from empty to ")
    assert second.stdout.startswith("sqlite: already at ")
    assert (tmp_path / "data/db/sessions.db").is_file()


def test_migrate_of_memory_has_nothing_to_do(tmp_path: Path):
    ended = run("migrate", cwd=tmp_path, env={"CLAUDE_AGENT_SESSION_STORAGE": "memory"})
    assert (ended.returncode, ended.stdout) == (0, "memory storage: nothing to migrate\n")


def test_migrate_of_what_is_no_database(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    ended = run("migrate", cwd=tmp_path, env={"CLAUDE_AGENT_SESSION_SQLITE_PATH": "x.db"})
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("environ", "label", "wanted"),
    [
        ({}, "url", "http://127.0.0.1:8000"),
        ({}, "docs", "http://127.0.0.1:8000/docs"),
        ({}, "model", "DEMO MODEL"),
        ({}, "model", "ANTHROPIC_API_KEY"),
        ({"ANTHROPIC_API_KEY": "hush", "ANTHROPIC_MODEL": "claude-x"}, "model", "claude-x"),
        ({"CLAUDE_AGENT_MODEL_DEMO": "off"}, "model", "none (every turn will fail)"),
        ({"CLAUDE_AGENT_CONTAINER": "yes"}, "model", "none (every turn will fail)"),
        ({"ANTHROPIC_BASE_URL": "http://u:hush@h/"}, "model", "http://********@h/"),
        ({"CLAUDE_AGENT_API_HOST": "0.0.0.0"}, "url", "http://localhost:8000"),
        ({"CLAUDE_AGENT_API_HOST": "::1"}, "url", "http://[::1]:8000"),
        ({"CLAUDE_AGENT_API_PORT": "0"}, "url", "a free port of 127.0.0.1"),
        ({"CLAUDE_AGENT_SESSION_STORAGE": "memory"}, "storage", "lost at the end"),
        ({"CLAUDE_AGENT_METRICS_ENABLED": "yes"}, "metrics", "http://127.0.0.1:9090/metrics"),
        ({"CLAUDE_AGENT_CONTAINER": "yes"}, "metrics", "http://localhost:9090/metrics"),
        (
            {"CLAUDE_AGENT_METRICS_ENABLED": "yes", "CLAUDE_AGENT_METRICS_PORT": "0"},
            "metrics",
            "a free port of 127.0.0.1",
        ),
        (
            {"CLAUDE_AGENT_SESSION_STORAGE": "postgresql", "CLAUDE_AGENT_SESSION_PG_PASSWORD": "hush"},
            "storage",
            "postgresql, localhost:5432/claude_agent",
        ),
        (
            {
                "CLAUDE_AGENT_SESSION_STORAGE": "postgresql",
                "CLAUDE_AGENT_SESSION_PG_HOST": "pool.example",
                "CLAUDE_AGENT_SESSION_PG_DIRECT_HOST": "db.example",
            },
            "storage",
            "postgresql, pool.example:5432/claude_agent (server at db.example:5432)",
        ),
    ],
)
def test_what_a_starting_service_says(environ: dict[str, str], label: str, wanted: str, tmp_path: Path):
    facts = banner(load_settings(environ, tmp_path).settings)
    assert wanted in facts[label]
    assert "hush" not in str(facts)


@pytest.mark.parametrize(
    "environ",
    [
        {"CLAUDE_AGENT_API_HOST": "0.0.0.0"},
        {"CLAUDE_AGENT_CONTAINER": "yes"},
        {"CLAUDE_AGENT_API_HOST": "::"},
    ],
)
def test_others_reach_no_service_that_asks_nobody(environ: dict[str, str], tmp_path: Path):
    ended = run("serve", cwd=tmp_path, env={"HOME": str(tmp_path), **environ})
    assert ended.returncode == 2
    assert "CLAUDE_AGENT_AUTH=api-keys" in ended.stderr
    assert "CLAUDE_AGENT_INSECURE=true" in ended.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("environ", "refused", "warns"),
    [
        ({}, False, False),
        ({"CLAUDE_AGENT_INSECURE": "true"}, False, False),
        ({"CLAUDE_AGENT_API_HOST": "localhost"}, False, False),
        ({"CLAUDE_AGENT_API_HOST": "127.0.0.2"}, False, False),
        ({"CLAUDE_AGENT_API_HOST": "::1"}, False, False),
        ({"CLAUDE_AGENT_API_HOST": "0.0.0.0"}, True, False),
        ({"CLAUDE_AGENT_API_HOST": "10.0.0.1"}, True, False),
        ({"CLAUDE_AGENT_API_HOST": "agents.example"}, True, False),
        ({"CLAUDE_AGENT_API_HOST": "0.0.0.0", "CLAUDE_AGENT_INSECURE": "true"}, False, True),
        ({"CLAUDE_AGENT_API_HOST": "0.0.0.0", "CLAUDE_AGENT_AUTH": "api-keys"}, False, False),
        ({"CLAUDE_AGENT_CONTAINER": "yes", "CLAUDE_AGENT_INSECURE": "true"}, False, True),
        ({"CLAUDE_AGENT_CONTAINER": "yes", "CLAUDE_AGENT_AUTH": "api-keys"}, False, False),
    ],
)
def test_who_may_reach_a_service_that_asks_nobody(environ, refused, warns, tmp_path: Path):
    settings = load_settings(environ, tmp_path).settings
    assert (refusal(settings) is not None, insecurity(settings) is not None) == (refused, warns)
    assert ("INSECURE" in banner(settings)["callers"]) == warns


def test_an_insecure_start_warns_in_its_log_too(tmp_path: Path):
    env = {"CLAUDE_AGENT_API_HOST": "0.0.0.0", "CLAUDE_AGENT_INSECURE": "true", "HOME": str(tmp_path)}
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("serve", "--port", port, cwd=tmp_path, env=env)
    lines = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    assert [line["level"] for line in lines if "INSECURE" in line["event"]] == ["warning"]
    assert "callers: INSECURE" in ended.stdout


def test_a_start_warns_of_a_model_that_every_turn_will_be_refused(tmp_path: Path):
    env = {"ANTHROPIC_MODEL": "qwen3", "CLAUDE_AGENT_GATEWAY_SESSION_BUDGET_USD": "5", "HOME": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path, env=env)
    lines = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    [warning] = [line for line in lines if "defaults.model" in line["event"]]
    assert (warning["level"], "'qwen3' has no price" in warning["reason"]) == ("warning", True)


def test_a_service_without_metrics_says_nothing_of_them(tmp_path: Path):
    assert "metrics" not in banner(load_settings({}, tmp_path).settings)


def test_the_demo_model_serves_and_says_how_to_use_it(tmp_path: Path):
    port = free_port()
    program = subprocess.Popen(
        command("demo-model", "--port", str(port)),
        cwd=tmp_path,
        env=environment({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            assert program.stdout is not None
            lines = [program.stdout.readline(), program.stdout.readline()]
            with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
                assert client.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        finally:
            program.send_signal(signal.SIGINT)
            program.wait(LIMIT_SECONDS)
    assert f"ANTHROPIC_BASE_URL=http://127.0.0.1:{port}" in lines[1]


def test_the_demo_model_says_when_its_port_is_taken(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("demo-model", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert ended.returncode == 1
    assert "cannot listen on 127.0.0.1:" in ended.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
