"""Precedence, names, forms of values, warnings and what is told of secrets."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from claude_agent_http.settings import (
    Given,
    Loaded,
    RemoteServer,
    Settings,
    StdioServer,
    load_settings,
    report,
)

V = "CLAUDE_AGENT_"


def test_defaults_outside_a_container(tmp_path: Path):
    loaded = load_settings({}, tmp_path)
    settings = loaded.settings
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8000)
    assert settings.user.base_dir == tmp_path / "data/claude-users"
    assert settings.session.sqlite_path == tmp_path / "data/db/sessions.db"
    assert settings.defaults.permission_mode == "bypassPermissions"
    assert settings.uses_demo_model
    assert loaded.config_file is None
    assert loaded.warnings == ()
    assert set(loaded.origins.values()) == {"default"}


def test_option_beats_variable_beats_file_beats_default(tmp_path: Path):
    write(tmp_path, "api:\n  host: file.example\n  port: 1\n  max_sessions: 3\n")
    environ = {f"{V}API_PORT": "2", f"{V}API_HOST": "env.example"}
    loaded = load_settings(environ, tmp_path, options=[Given("api.port", "4", "--port")])
    api = loaded.settings.api
    assert (api.host, api.port, api.max_sessions, api.max_sessions_per_user) == ("env.example", 4, 3, 5)
    assert loaded.origins["api.host"] == f"{V}API_HOST"
    assert loaded.origins["api.port"] == "--port"
    assert loaded.origins["api.max_sessions"] == f"{tmp_path}/config.yaml:4"
    assert loaded.origins["api.max_sessions_per_user"] == "default"


def test_a_variable_replaces_a_mapping_of_the_file_whole(tmp_path: Path):
    write(tmp_path, "mcp_servers: {a: {command: x}}\n")
    loaded = load_settings({f"{V}MCP_SERVERS": '{"b": {"command": "y"}}'}, tmp_path)
    assert list(loaded.settings.mcp_servers) == ["b"]


def test_the_environment_of_this_process_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"{V}API_PORT", "1")
    monkeypatch.setenv("USER", "someone")
    monkeypatch.setenv("API", "{}")
    assert load_settings({}, tmp_path).settings.api.port == 8000
    assert Settings().api.port == 8000


@pytest.mark.parametrize(
    ("name", "value", "key", "wanted"),
    [
        ("CLAUDE_AGENT_MAX_SESSIONS", "7", "api.max_sessions", 7),
        ("CLAUDE_AGENT_API_MAX_SESSIONS", "7", "api.max_sessions", 7),
        ("CLAUDE_AGENT_MAX_SESSIONS_PER_USER", "7", "api.max_sessions_per_user", 7),
        ("CLAUDE_AGENT_MAX_CONCURRENT", " 7 ", "api.max_concurrent_requests", 7),
        ("CLAUDE_AGENT_API_MAX_CONCURRENT_REQUESTS", "7", "api.max_concurrent_requests", 7),
        ("CLAUDE_AGENT_MEMORY_LIMIT_MB", "7", "api.memory_limit_mb", 7),
        ("CLAUDE_AGENT_IDLE_SESSION_TIMEOUT", "7", "api.idle_session_timeout", 7),
        ("CLAUDE_AGENT_DRAIN_SECONDS", "7", "api.drain_seconds", 7),
        ("CLAUDE_AGENT_PRESTART", "no", "api.prestart", False),
        ("CLAUDE_AGENT_API_PRESTART", "FALSE", "api.prestart", False),
        ("CLAUDE_AGENT_CLI_PATH", "/bin/sh", "defaults.cli_path", Path("/bin/sh")),
        ("CLAUDE_AGENT_SESSION_TTL", "0", "session.ttl", 0),
        ("CLAUDE_AGENT_SESSION_STORAGE", "postgresql", "session.storage", "postgresql"),
        ("CLAUDE_AGENT_SESSION_PG_HOST", "fd00::1", "session.pg_host", "fd00::1"),
        ("CLAUDE_AGENT_SESSION_LEASE_SECONDS", "300", "session.lease_seconds", 300),
        (
            "CLAUDE_AGENT_SESSION_PG_DIRECT_HOST",
            "/run/postgresql",
            "session.pg_direct_host",
            "/run/postgresql",
        ),
        ("CLAUDE_AGENT_SESSION_PG_DIRECT_PORT", "6543", "session.pg_direct_port", 6543),
        ("CLAUDE_AGENT_SESSION_PG_SSLMODE", "verify-full", "session.pg_sslmode", "verify-full"),
        ("CLAUDE_AGENT_SESSION_PG_SSLROOTCERT", "/x/ca.crt", "session.pg_sslrootcert", Path("/x/ca.crt")),
        ("CLAUDE_AGENT_REPLICAS", "1", "api.replicas", 1),
        ("CLAUDE_AGENT_API_REPLICAS", "1", "api.replicas", 1),
        ("CLAUDE_AGENT_USER_AUTO_CREATE_DIR", "off", "user.auto_create_dir", False),
        ("CLAUDE_AGENT_API_HOST", "::", "api.host", "::"),
        ("CLAUDE_AGENT_API_PORT", "0", "api.port", 0),
        (
            "CLAUDE_AGENT_API_CORS_ORIGINS",
            "https://a.example/, *",
            "api.cors_origins",
            ("https://a.example", "*"),
        ),
        ("CLAUDE_AGENT_API_CORS_ORIGINS", '["http://b:1"]', "api.cors_origins", ("http://b:1",)),
        (
            "CLAUDE_AGENT_API_CORS_ORIGINS",
            "HTTPS://App.Example.com, https://app:443, http://app:443, http://[::A]:80/, https://a:",
            "api.cors_origins",
            ("https://app.example.com", "https://app", "http://app:443", "http://[::a]", "https://a"),
        ),
        ("ANTHROPIC_MODEL", "claude-x", "defaults.model", "claude-x"),
        ("ANTHROPIC_BASE_URL", "http://localhost:8080", "model.base_url", "http://localhost:8080"),
        (
            "CLAUDE_AGENT_DEFAULTS_ALLOWED_TOOLS",
            "Bash(git log, git show), Read",
            "defaults.allowed_tools",
            ("Bash(git log, git show)", "Read"),
        ),
        ("CLAUDE_AGENT_DEFAULTS_SYSTEM_PROMPT", "a, b", "defaults.system_prompt", "a, b"),
        ("CLAUDE_AGENT_DEFAULTS_MAX_BUDGET_USD", "0.5", "defaults.max_budget_usd", 0.5),
    ],
)
def test_variables(name: str, value: str, key: str, wanted: object, tmp_path: Path):
    loaded = load_settings({name: value}, tmp_path)
    assert value_of(loaded, key) == wanted
    assert loaded.origins[key] == name
    assert loaded.warnings == ()


def test_an_empty_variable_is_unset(tmp_path: Path):
    write(tmp_path, "api: {port: 1}\n")
    environ = dict.fromkeys([f"{V}API_PORT", "ANTHROPIC_API_KEY", f"{V}CONFIG", "ANTHROPIC_API_KEY_FILE"], "")
    loaded = load_settings(environ, tmp_path)
    assert loaded.settings.api.port == 1
    assert loaded.settings.uses_demo_model


def test_null_and_empty_sections_of_the_file_are_unset(tmp_path: Path):
    write(tmp_path, "api:\nsession:\n  ttl: null\nmcp_servers:\n")
    loaded = load_settings({}, tmp_path)
    assert loaded.settings.session.ttl == 3600
    assert loaded.origins["session.ttl"] == "default"


def test_two_names_may_agree(tmp_path: Path):
    loaded = load_settings({f"{V}MAX_SESSIONS": "7", f"{V}API_MAX_SESSIONS": "7"}, tmp_path)
    assert loaded.settings.api.max_sessions == 7


def test_a_secret_from_a_file_is_stripped(tmp_path: Path):
    (tmp_path / "key").write_text("  sk-1\n\n")
    loaded = load_settings({"ANTHROPIC_API_KEY_FILE": str(tmp_path / "key")}, tmp_path)
    assert loaded.settings.model.api_key is not None
    assert loaded.settings.model.api_key.get_secret_value() == "sk-1"
    assert loaded.origins["model.api_key"] == "ANTHROPIC_API_KEY_FILE"
    assert loaded.secret_files == {"model.api_key": tmp_path / "key"}
    assert not loaded.settings.uses_demo_model


@pytest.mark.parametrize(
    ("environ", "demo", "warns"),
    [
        ({}, True, False),
        ({f"{V}MODEL_DEMO": "on"}, True, False),
        ({f"{V}MODEL_DEMO": "off"}, False, True),
        ({f"{V}MODEL_DEMO": "off", "ANTHROPIC_API_KEY": "k"}, False, False),
        ({"ANTHROPIC_API_KEY": "k"}, False, False),
        ({"ANTHROPIC_AUTH_TOKEN": "k"}, False, False),
        ({"ANTHROPIC_BASE_URL": "http://x"}, False, False),
        ({f"{V}MODEL_BINDING_DIR": "/tmp"}, False, False),
    ],
)
def test_when_the_demo_model_answers(environ: dict[str, str], demo: bool, warns: bool, tmp_path: Path):
    loaded = load_settings(environ, tmp_path)
    assert loaded.settings.uses_demo_model is demo
    assert ["every turn will fail" in warning for warning in loaded.warnings] == [True] * warns


def test_with_postgresql_there_may_be_many_replicas(tmp_path: Path):
    (tmp_path / "ca.crt").touch()
    write(
        tmp_path,
        "session: {storage: postgresql, pg_sslmode: verify-ca, pg_sslrootcert: ca.crt}\napi: {replicas: 3}\n",
    )
    settings = load_settings({}, tmp_path).settings
    assert settings.api.replicas == 3
    assert settings.session.pg_sslrootcert == tmp_path / "ca.crt"


@pytest.mark.parametrize(("word", "wanted"), [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_yaml_reads_on_and_off_as_truth(word: str, wanted: str, tmp_path: Path):
    write(tmp_path, f"model: {{demo: {word}}}\n")
    assert load_settings({}, tmp_path).settings.model.demo == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (f"{V}MAX_SESSION", f"did you mean '{V}MAX_SESSIONS'?"),
        (f"{V}api_port", f"did you mean '{V}API_PORT'?"),
        (f"{V}SESSION_STORGE", f"did you mean '{V}SESSION_STORAGE'?"),
        (f"{V}QQQ_ZZZ_WWW", "is unknown and has no effect"),
    ],
)
def test_an_unknown_variable_only_warns(name: str, wanted: str, tmp_path: Path):
    (warning,) = load_settings({name: "hush", "OTHER": "1", f"{V}SDK_VERSION": "1"}, tmp_path).warnings
    assert name in warning
    assert wanted in warning
    assert "hush" not in warning


@pytest.mark.parametrize(
    "name", ["CLAUDE_CODE_USE_BEDROCK", "ANTHROPIC_VERTEX_PROJECT_ID", "ANTHROPIC_DEFAULT_OPUS_MODEL"]
)
def test_a_variable_that_the_cli_would_read_elsewhere_warns(name: str, tmp_path: Path):
    (warning,) = load_settings({name: "hush", "ANTHROPIC_API_KEY": "k", "AWS_REGION": "x"}, tmp_path).warnings
    assert f"{name} has no effect" in warning
    assert "ANTHROPIC_BASE_URL" in warning
    assert "hush" not in warning
    assert load_settings({name: "", "ANTHROPIC_API_KEY": "k"}, tmp_path).warnings == ()


def test_relative_paths_stand_under_the_working_folder(tmp_path: Path):
    (tmp_path / "plug").mkdir()
    (tmp_path / "bin").mkdir()
    cli = tmp_path / "bin/claude-x"
    cli.write_text("#!/bin/sh\n")
    cli.chmod(0o755)
    write(
        tmp_path,
        "plugins: [{path: plug}]\nuser: {base_dir: '~/users'}\ndefaults: {cli_path: claude-x}\n"
        "isolation: {read: [tools, '~/bin']}\n",
    )
    environ = {
        "HOME": str(tmp_path / "me"),
        "PATH": str(tmp_path / "bin"),
        f"{V}SESSION_SQLITE_PATH": "a/../x.db",
    }
    settings = load_settings(environ, tmp_path).settings
    assert settings.plugins[0].path == tmp_path / "plug"
    assert settings.user.base_dir == tmp_path / "me/users"
    assert settings.session.sqlite_path == tmp_path / "x.db"
    assert settings.defaults.cli_path == cli
    assert settings.isolation.read == (tmp_path / "tools", tmp_path / "me/bin")


def test_the_file_may_be_named(tmp_path: Path):
    write(tmp_path, "api: {port: 1}\n")
    (tmp_path / "two.yaml").write_text("api: {port: 2}\n")
    (tmp_path / "three.yaml").write_text("")
    named = load_settings({f"{V}CONFIG": "two.yaml"}, tmp_path)
    assert (named.settings.api.port, named.config_file) == (2, tmp_path / "two.yaml")
    assert load_settings({f"{V}CONFIG": "two.yaml"}, tmp_path, Path("three.yaml")).settings.api.port == 8000


def test_anchors_and_merge_keys_work(tmp_path: Path):
    write(tmp_path, "mcp_servers:\n  a: &a {command: x, args: [y]}\n  b: {<<: *a, command: z}\n")
    servers = load_settings({}, tmp_path).settings.mcp_servers
    assert servers["b"].plain() == {"type": "stdio", "command": "z", "args": ["y"], "env": {}}


def test_mcp_servers_and_plugins(tmp_path: Path):
    write(
        tmp_path,
        "mcp_servers:\n  a: {type: stdio, command: x, env: {K: hush}}\n"
        "  b: {type: sse, url: 'https://h/p', headers: {A: hush}}\n",
    )
    servers = load_settings({}, tmp_path).settings.mcp_servers
    assert isinstance(servers["a"], StdioServer)
    assert isinstance(servers["b"], RemoteServer)
    assert servers["a"].plain()["env"] == {"K": "hush"}
    assert servers["b"].plain() == {"type": "sse", "url": "https://h/p", "headers": {"A": "hush"}}


def test_settings_are_frozen(tmp_path: Path):
    settings = load_settings({}, tmp_path).settings
    with pytest.raises(ValidationError):
        settings.api.port = 1  # type: ignore[misc]


def test_no_secret_is_ever_shown(tmp_path: Path):
    write(
        tmp_path,
        "session: {pg_password: hush-0}\n"
        "mcp_servers:\n  a: {command: x, env: {K: hush-1}}\n"
        "  b: {type: http, url: 'https://u:hush-2@h/?key=hush-3', headers: {A: hush-4}}\n",
    )
    (tmp_path / "token").write_text("hush-5")
    environ = {
        "ANTHROPIC_API_KEY": "hush-6",
        "ANTHROPIC_AUTH_TOKEN_FILE": str(tmp_path / "token"),
        "ANTHROPIC_BASE_URL": "https://u:hush-7@h/x?k=hush-8",
    }
    loaded = load_settings(environ, tmp_path)
    rows = {row.key: row for row in report(loaded)}
    assert rows["model.api_key"].value == "********"
    assert rows["model.auth_token"].source == "ANTHROPIC_AUTH_TOKEN_FILE"
    assert rows["model.base_url"].value == "https://********@h/x?********"
    assert rows["mcp_servers"].value["a"]["env"] == {"K": "********"}
    assert "hush" not in repr(rows)
    assert "hush" not in repr(loaded.origins) + repr(loaded.warnings)


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--token", "hush", "--root", "/srv"], ["--token", "********", "--root", "/srv"]),
        (["--api-key=hush", "-y", "pkg"], ["--api-key=********", "-y", "pkg"]),
        (["run", "-e", "GITHUB_TOKEN=hush", "image"], ["run", "-e", "GITHUB_TOKEN=********", "image"]),
        (["--env=DB_Password=hush=hush"], ["--env=DB_Password=********"]),
        (["--clientSecret", "-hush-key"], ["--clientSecret", "********"]),
        (["--header", "Authorization: Bearer hush"], ["--header", "********"]),
        (["-H", "Authorization: Bearer hush"], ["-H", "Authorization: ********"]),
        (["--no-auth", "--token", "hush"], ["--no-auth", "--token", "********"]),
        (["postgresql://u:hush@db/x"], ["postgresql://********@db/x"]),
        (["--dsn=mysql://u:hush@db/x"], ["--dsn=mysql://********@db/x"]),
        (["https://u:hush@h/sse?k=hush"], ["https://********@h/sse?********"]),
        (["--url=https://h/sse?k=hush&l=hush"], ["--url=https://h/sse?********"]),
        (["https://h/@scope/package"], ["https://h/@scope/package"]),
        (["--root", "/srv", "LEVEL=info", "--token"], ["--root", "/srv", "LEVEL=info", "--token"]),
    ],
)
def test_a_secret_among_the_arguments_of_a_server_is_covered(
    args: list[str], shown: list[str], tmp_path: Path
):
    servers = json.dumps({"a": {"command": "x", "args": args}})
    loaded = load_settings({f"{V}MCP_SERVERS": servers}, tmp_path)
    (row,) = (row for row in report(loaded) if row.key == "mcp_servers")
    assert row.value["a"]["args"] == shown
    assert loaded.settings.mcp_servers["a"].plain()["args"] == args


def value_of(loaded: Loaded, key: str) -> object:
    value: object = loaded.settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def write(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text, encoding="utf-8")
