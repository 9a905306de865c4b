"""Everything that must stop the start: with the key, its source, what is wrong, and the nearest name."""

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from claude_agent_http.settings import SettingsError, load_settings

V = "CLAUDE_AGENT_"
POSTGRES = {f"{V}SESSION_STORAGE": "postgresql"}

BAD_VARIABLES = [
    ("API_PORT", "eight", "api.port", "integer", "'eight'"),
    ("API_PORT", "65536", "api.port", "less than or equal to 65535", "'65536'"),
    ("API_PORT", "-1", "api.port", "greater than or equal to 0"),
    ("API_PORT", "80.5", "api.port", "integer"),
    ("API_PORT", "tcp://10.0.0.1:8000", "api.port", "enableServiceLinks: false"),
    ("API_HOST", "http://localhost", "api.host", "without scheme"),
    ("API_HOST", "local host", "api.host", "host name"),
    ("API_CORS_ORIGINS", "https://a.example/path", "api.cors_origins.0", "without a path"),
    ("API_CORS_ORIGINS", "https://a.example,example.com", "api.cors_origins.1", "'example.com'"),
    ("API_CORS_ORIGINS", "https://u:p@a.example", "api.cors_origins.0", "no user name or password"),
    ("API_CORS_ORIGINS", "https://bücher.example", "api.cors_origins.0", "as browsers send it"),
    ("API_CORS_ORIGINS", "[1", "api.cors_origins", "JSON"),
    ("MAX_SESSIONS", "0", "api.max_sessions", "greater than or equal to 1"),
    ("MAX_SESSIONS", "many", "api.max_sessions", "integer"),
    ("MAX_SESSIONS_PER_USER", "-5", "api.max_sessions_per_user", "greater than or equal to 1"),
    ("MAX_CONCURRENT", "0", "api.max_concurrent_requests", "greater than or equal to 1"),
    ("API_MAX_CONCURRENT_REQUESTS", "x", "api.max_concurrent_requests", "integer"),
    ("MEMORY_LIMIT_MB", "7GB", "api.memory_limit_mb", "integer"),
    ("IDLE_SESSION_TIMEOUT", "-1", "api.idle_session_timeout", "greater than or equal to 1"),
    ("DRAIN_SECONDS", "3601", "api.drain_seconds", "less than or equal to 3600"),
    ("PRESTART", "maybe", "api.prestart", "boolean"),
    ("SESSION_STORAGE", "postgres", "session.storage", "'postgresql'", "'postgres'"),
    ("SESSION_STORAGE", "SQLITE", "session.storage", "'sqlite'"),
    ("SESSION_TTL", "-1", "session.ttl", "greater than or equal to 0"),
    ("SESSION_TTL", "9" * 5000, "session.ttl", "integer"),
    ("SESSION_PG_PORT", "0", "session.pg_port", "greater than or equal to 1"),
    ("SESSION_PG_HOST", "pg:5432/db", "session.pg_host", "host name"),
    ("SESSION_PG_DIRECT_HOST", "pg:5432", "session.pg_direct_host", "host name"),
    ("SESSION_PG_DIRECT_PORT", "0", "session.pg_direct_port", "greater than or equal to 1"),
    ("SESSION_PG_SSLMODE", "verify", "session.pg_sslmode", "'verify-full'", "'verify'"),
    ("SESSION_LEASE_SECONDS", "0", "session.lease_seconds", "greater than or equal to 1"),
    ("SESSION_LEASE_SECONDS", "301", "session.lease_seconds", "less than or equal to 300"),
    ("SESSION_LEASE_SECONDS", "1.5", "session.lease_seconds", "integer"),
    ("REPLICAS", "0", "api.replicas", "greater than or equal to 1"),
    ("REPLICAS", "auto", "api.replicas", "integer"),
    (
        "REPLICAS",
        "2",
        "api.replicas",
        "session.storage sqlite (from default)",
        "belongs to one process",
        "use postgresql",
    ),
    ("DEFAULTS_PERMISSION_MODE", "acceptedits", "defaults.permission_mode", "'acceptEdits'"),
    ("DEFAULTS_SETTING_SOURCES", "user,projct", "defaults.setting_sources.1", "'project'", "'projct'"),
    ("DEFAULTS_ALLOWED_TOOLS", '["Read", 3]', "defaults.allowed_tools.1", "should be text"),
    ("DEFAULTS_MAX_TURNS", "0", "defaults.max_turns", "greater than or equal to 1"),
    ("DEFAULTS_MAX_BUDGET_USD", "0", "defaults.max_budget_usd", "greater than 0"),
    ("DEFAULTS_MAX_BUDGET_USD", "inf", "defaults.max_budget_usd", "finite"),
    ("CLI_PATH", "/no/such/claude", "defaults.cli_path", "does not exist"),
    ("CLI_PATH", "/", "defaults.cli_path", "no file that can be run"),
    ("MODEL_DEMO", "yes please", "model.demo", "'auto'"),
    ("LOGGING_LEVEL", "verbose", "logging.level", "'debug'"),
    ("LOGGING_FORMAT", "xml", "logging.format", "'json'"),
    ("MCP_SERVERS", "{", "mcp_servers", "JSON", "line 1"),
    ("MCP_SERVERS", "[]", "mcp_servers", "mapping"),
    ("MCP_SERVERS", '{"a": 1}', "mcp_servers.a", "mapping"),
    ("MCP_SERVERS", '{"a": {"url": "http://x"}}', "mcp_servers.a", "needs a type"),
    ("MCP_SERVERS", '{"a": {"type": "ftp"}}', "mcp_servers.a", "stdio, sse or http"),
    ("MCP_SERVERS", '{"a": {"type": "http", "url": "x"}}', "mcp_servers.a.url", "URL"),
    ("MCP_SERVERS", '{"a": {"type": "stdio"}}', "mcp_servers.a.command", "is missing"),
    ("MCP_SERVERS", '{"a": {"command": "x", "agrs": []}}', "mcp_servers.a.agrs", "did you mean 'args'"),
    ("MCP_SERVERS", '{"a b": {"command": "x"}}', "mcp_servers.a b", "should match"),
    ("PLUGINS", '[{"path": "/no/such/folder"}]', "plugins.0.path", "no folder"),
    ("PLUGINS", '[{"path": "/", "typ": "local"}]', "plugins.0.typ", "did you mean 'type'"),
    ("PLUGINS", '{"path": "/"}', "plugins", "should be a list"),
]


@pytest.mark.parametrize(("name", "value", "key", "wanted"), [(n, v, k, w) for n, v, k, *w in BAD_VARIABLES])
def test_a_bad_variable_is_named(name: str, value: str, key: str, wanted: list[str], tmp_path: Path):
    text = refusal({V + name: value}, tmp_path)
    assert f"{key} (from {V}{name}): " in text
    for part in wanted:
        assert part in text
    assert len(text) < 500


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        (
            {"ANTHROPIC_BASE_URL": "api.example.com"},
            "model.base_url (from ANTHROPIC_BASE_URL): should be a URL",
        ),
        (
            {"ANTHROPIC_BASE_URL": "https://host:port"},
            "model.base_url (from ANTHROPIC_BASE_URL): should be a URL",
        ),
        ({"ANTHROPIC_API_KEY": "two words"}, "model.api_key (from ANTHROPIC_API_KEY): should be one line"),
        (
            {"ANTHROPIC_API_KEY": "sk-1", f"{V}MODEL_API_KEY": "sk-2"},
            f"model.api_key (from ANTHROPIC_API_KEY and {V}MODEL_API_KEY): they set the same key",
        ),
        (
            {f"{V}MAX_SESSIONS": "1", f"{V}API_MAX_SESSIONS": "2"},
            f"api.max_sessions (from {V}MAX_SESSIONS and {V}API_MAX_SESSIONS): they set the same key",
        ),
        (
            {f"{V}MODEL_DEMO": "on", "ANTHROPIC_API_KEY": "sk-1"},
            f"model.demo (from {V}MODEL_DEMO): with model.api_key (from ANTHROPIC_API_KEY) set the demo "
            "model is never used",
        ),
        (
            {f"{V}MODEL_DEMO": "on", "ANTHROPIC_BASE_URL": "http://x"},
            "model.base_url (from ANTHROPIC_BASE_URL)",
        ),
        (
            {f"{V}MODEL_BINDING_DIR": "/no/such/folder"},
            f"model.binding_dir (from {V}MODEL_BINDING_DIR): /no/such/folder is no folder",
        ),
        (
            {f"{V}MODEL_BINDING_DIR": "/tmp", "ANTHROPIC_AUTH_TOKEN": "t"},
            f"model.binding_dir (from {V}MODEL_BINDING_DIR): holds the credential, and so does "
            "model.auth_token (from ANTHROPIC_AUTH_TOKEN); keep one",
        ),
        (
            {"ANTHROPIC_API_KEY_FILE": "/no/such/file"},
            "model.api_key (from ANTHROPIC_API_KEY_FILE): cannot read the file /no/such/file: No such file",
        ),
        ({f"{V}SESSION_PG_PASSWORD_FILE": "/dev/null"}, "the file /dev/null is empty"),
        (
            {f"{V}METRICS_ENABLED": "yes", f"{V}METRICS_PORT": "8000"},
            f"metrics.port (from {V}METRICS_PORT): should be another than api.port (from default), but both "
            "are 8000",
        ),
        (
            {f"{V}REPLICAS": "1", f"{V}API_REPLICAS": "2"},
            f"api.replicas (from {V}REPLICAS and {V}API_REPLICAS): they set the same key",
        ),
        (
            {f"{V}API_REPLICAS": "3", f"{V}SESSION_STORAGE": "memory"},
            f"api.replicas (from {V}API_REPLICAS): should be 1 with session.storage memory (from "
            f"{V}SESSION_STORAGE), but is 3: memory belongs to one process; for more use postgresql",
        ),
        (
            {**POSTGRES, f"{V}SESSION_PG_SSLMODE": "verify-ca"},
            f"session.pg_sslmode (from {V}SESSION_PG_SSLMODE): needs session.pg_sslrootcert",
        ),
        (
            {**POSTGRES, f"{V}SESSION_PG_SSLROOTCERT": "ca.crt", f"{V}SESSION_PG_SSLMODE": "require"},
            f"session.pg_sslrootcert (from {V}SESSION_PG_SSLROOTCERT): /",
        ),
        (
            {**POSTGRES, f"{V}SESSION_PG_SSLROOTCERT": "/dev/null"},
            f"session.pg_sslrootcert (from {V}SESSION_PG_SSLROOTCERT): with session.pg_sslmode prefer (from "
            "default) no certificate is checked; use verify-full, or remove this",
        ),
        ({f"{V}CONFIG": "/no/such/config.yaml"}, f"(from {V}CONFIG): /no/such/config.yaml does not exist"),
        ({f"{V}CONFIG": "/"}, "/: cannot be read: Is a directory"),
    ],
)
def test_other_bad_environments(environ: dict[str, str], wanted: str, tmp_path: Path):
    assert wanted in refusal(environ, tmp_path)


BAD_FILES = [
    ("api:\n  prot: 1\n", 2, "api.prot", "unknown key; did you mean 'api.port'?"),
    ("API:\n  port: 1\n", 1, "API", "unknown key; did you mean 'api'?"),
    ("aip:\n  port: 1\n", 1, "aip", "unknown key; did you mean 'api'?"),
    ("port: 8000\n", 1, "port", "unknown key; did you mean 'api.port'?"),
    ("session:\n  max_sessions: 3\n", 2, "session.max_sessions", "did you mean 'api.max_sessions'?"),
    ("zzz: 1\n", 1, "zzz", "unknown key"),
    ("api:\n  port: true\n", 2, "api.port", "should be a number, not true or false"),
    ("api:\n  port: '80a'\n", 2, "api.port", "integer"),
    ("api:\n\n  port: 1.5\n", 3, "api.port", "integer"),
    ("api:\n  port: [1]\n", 2, "api.port", "integer"),
    ("api:\n  host: 1\n", 2, "api.host", "should be text; put it in quotes, but is 1"),
    ("api: 8000\n", 1, "api", "should be a section"),
    ("api: [port]\n", 1, "api", "should be a section"),
    ("api:\n  cors_origins: https://x.example\n", 2, "api.cors_origins", "should be a list"),
    ("api:\n  port: 1\n  host: a\n  port: 2\n", 4, "port", "stands twice here, first on line 2"),
    ("api:\n  port: 1\napi:\n  port: 2\n", 3, "api", "stands twice here, first on line 1"),
    ("mcp_servers:\n  a: {command: x}\n  a: {command: y}\n", 3, "a", "stands twice"),
    ("mcp_servers:\n  a:\n    command: x\n    evn: {}\n", 1, "mcp_servers.a.evn", "did you mean 'env'?"),
    ("session:\n  pg_password: 123456\n", 2, "session.pg_password", "should be text; put it in quotes"),
    ("user:\n  base_dir: ''\n", 2, "user.base_dir", "should be a path"),
    ("user:\n  auto_create_dir: sometimes\n", 2, "user.auto_create_dir", "boolean"),
    ("defaults:\n  max_budget_usd: .inf\n", 2, "defaults.max_budget_usd", "finite"),
    ("defaults:\n  system_prompt: [a]\n", 2, "defaults.system_prompt", "should be text"),
    ("? [a, b]\n: 1\n", 1, "", "unknown key"),
]


@pytest.mark.parametrize(("text", "line", "key", "wanted"), BAD_FILES)
def test_a_bad_file_is_told_with_the_line(text: str, line: int, key: str, wanted: str, tmp_path: Path):
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    said = refusal({}, tmp_path)
    assert f"{key} (from {tmp_path}/config.yaml:{line}): " in said
    assert wanted in said


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"api:\n  port: [1\nx", "config.yaml:3: is not YAML"),
        (b"api:\n\tport: 1\n", "config.yaml:2: is not YAML"),
        (b"a: 1\n---\nb: 2\n", "config.yaml:2: is not YAML"),
        (b"a: *nowhere\n", "config.yaml:1: is not YAML"),
        (b"api: {port: !!python/object:os.system x}\n", "config.yaml:1: "),
        (b"\xff\xfe\xfa", "config.yaml: is not YAML"),
        (b"- api\n", "config.yaml:1: should hold sections"),
        (b"just words\n", "config.yaml:1: should hold sections"),
        (b"&a {mcp_servers: *a}\n", "config.yaml"),
        (b"[" * 100_000, "config.yaml"),
        (b"#" * (1024 * 1024 + 1), "config.yaml: is larger than 1 MB"),
        (b"api: {port: 2026-13-45}\n", "config.yaml"),
    ],
)
def test_a_file_that_is_no_configuration(content: bytes, wanted: str, tmp_path: Path):
    (tmp_path / "config.yaml").write_bytes(content)
    assert wanted in refusal({}, tmp_path)


def test_a_bad_value_in_the_file_counts_though_the_environment_overrides_it(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("api: {port: x}\n", encoding="utf-8")
    assert "api.port (from " in refusal({f"{V}API_PORT": "80"}, tmp_path)


def test_every_problem_is_told_at_once(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("api: {prot: 1}\nx: 1\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings({f"{V}API_PORT": "x", f"{V}MAX_SESSIONS": "0"}, tmp_path)
    assert [problem.key for problem in caught.value.problems] == [
        "api.prot",
        "x",
        "api.port",
        "api.max_sessions",
    ]
    assert "4 problems" in str(caught.value)


def test_paths_of_the_wrong_kind(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").chmod(stat.S_IRUSR)
    assert f"user.base_dir (from {V}USER_BASE_DIR): should be a folder" in refusal(
        {f"{V}USER_BASE_DIR": "file"}, tmp_path
    )
    assert "file is a file" in refusal({f"{V}USER_BASE_DIR": "file/users"}, tmp_path)
    database = f"{V}SESSION_SQLITE_PATH"
    assert f"session.sqlite_path (from {database}): should be a file" in refusal(
        {database: "folder"}, tmp_path
    )
    assert "should lie in a folder" in refusal({database: "file/x.db"}, tmp_path)
    assert "no file that can be run" in refusal({f"{V}CLI_PATH": "./file"}, tmp_path)


@pytest.mark.parametrize(
    "environ",
    [
        {"ANTHROPIC_API_KEY": "hush hush", "ANTHROPIC_AUTH_TOKEN": "hush\x07"},
        {"ANTHROPIC_API_KEY": "hush1", f"{V}MODEL_API_KEY": "hush2"},
        {"ANTHROPIC_BASE_URL": "ftp://user:hush@host"},
        {"ANTHROPIC_BASE_URL": "http://user:hush@host:x"},
        {f"{V}AUTH_OIDC_ISSUER": "https://user:hush@host"},
        {f"{V}AUTH_OIDC_JWKS_URL": "https://hush@host/keys"},
        {f"{V}AUTH_OIDC_JWKS_URL": "ftp://user:hush@host"},
        {f"{V}MCP_SERVERS": '{"a": {"command": "x", "env": {"TOKEN": ["hush"]}}'},
        {f"{V}MCP_SERVERS": '{"a": {"command": "x", "env": {"TOKEN": ["hush"]}}}'},
        {f"{V}MCP_SERVERS": '{"a": {"type": "http", "url": "//hush", "headers": {"A": "hush"}}}'},
    ],
)
def test_no_secret_in_a_refusal(environ: dict[str, str], tmp_path: Path):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, tmp_path)
    assert "hush" not in str(caught.value) + repr(caught.value) + repr(caught.value.problems)


def refusal(environ: Mapping[str, str], cwd: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, cwd)
    return str(caught.value)


def test_tokens_need_an_issuer_and_an_audience(tmp_path: Path):
    with pytest.raises(SettingsError) as caught:
        load_settings({"CLAUDE_AGENT_AUTH": "oidc"}, tmp_path)
    assert {problem.key for problem in caught.value.problems} == {"auth.oidc_issuer", "auth.oidc_audience"}


@pytest.mark.parametrize("name", ["oidc_issuer", "oidc_jwks_url"])
@pytest.mark.parametrize("user", ["user:word@", "user@", ":word@", "@"])
def test_an_address_that_others_see_holds_no_password(name: str, user: str, tmp_path: Path):
    variable = f"{V}AUTH_{name.upper()}"
    said = refusal({variable: f"https://{user}login.test/a"}, tmp_path)
    assert f"auth.{name} (from {variable}): should hold no user name or password" in said
    given = load_settings({variable: "https://login.test/@a"}, tmp_path).settings.auth
    assert getattr(given, name) == "https://login.test/@a"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "rs256"])
def test_no_token_is_signed_with_what_others_know(algorithm: str, tmp_path: Path):
    with pytest.raises(SettingsError, match="oidc_algorithms"):
        load_settings({"CLAUDE_AGENT_AUTH_OIDC_ALGORITHMS": algorithm}, tmp_path)
    given = load_settings({"CLAUDE_AGENT_AUTH_OIDC_ALGORITHMS": "RS512, EdDSA"}, tmp_path)
    assert given.settings.auth.oidc_algorithms == ("RS512", "EdDSA")


def test_a_folder_of_keys_must_be_one(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"auth\.keys_dir .*/missing is no folder"):
        load_settings({"CLAUDE_AGENT_AUTH_KEYS_DIR": "missing"}, tmp_path)
