"""Every setting, its type, default and meaning. No source is read here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from claude_agent_http.settings.mcp import McpServer, PluginSettings, ServerName
from claude_agent_http.settings.values import (
    BudgetTokens,
    BudgetUsd,
    Credential,
    DemoChoice,
    Dollars,
    FilePath,
    Host,
    HttpUrl,
    IsolationMode,
    ListenPort,
    ModelPattern,
    Name,
    Network,
    Number,
    Origin,
    PermissionMode,
    PgHost,
    Port,
    PublicUrl,
    Quota,
    Seconds,
    SettingSource,
    SslMode,
    TokenAlgorithm,
    ToolName,
    no_truth,
)

__all__ = [
    "ApiSettings",
    "AuditSettings",
    "AuthSettings",
    "DefaultsSettings",
    "GatewaySettings",
    "IsolationSettings",
    "LimitsSettings",
    "LoggingSettings",
    "MetricsSettings",
    "ModelSettings",
    "PriceSettings",
    "RetentionSettings",
    "SessionSettings",
    "Settings",
    "UserSettings",
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class UserSettings(_Section):
    base_dir: FilePath = Field(
        Path("data/claude-users"), description="folder of the users' homes and workspaces"
    )
    auto_create_dir: bool = Field(True, description="make missing folders")
    quota_mb: Number = Field(0, ge=0, description="MB of disk that one user may take; 0 = no limit")


class SessionSettings(_Section):
    storage: Literal["memory", "sqlite", "postgresql"] = Field(
        "sqlite", description="where sessions are kept"
    )
    ttl: Seconds = Field(3600, description="seconds after which an unused session is closed; 0 = never")
    lease_seconds: Annotated[Number, Field(ge=1, le=300)] = Field(
        10, description="seconds that a replica that died keeps its sessions"
    )
    sqlite_path: FilePath = Field(Path("data/db/sessions.db"), description="the SQLite file")
    pg_host: PgHost = Field("localhost", description="PostgreSQL host, or the folder of its UNIX socket")
    pg_port: Port = Field(5432, description="PostgreSQL port")
    pg_database: Name = Field("claude_agent", description="PostgreSQL database")
    pg_user: Name = Field("postgres", description="PostgreSQL role")
    pg_password: SecretStr | None = Field(None, description="PostgreSQL password")
    pg_direct_host: PgHost | None = Field(
        None, description="the server itself, where pg_host is a connection pooler; unset = pg_host"
    )
    pg_direct_port: Port | None = Field(None, description="port of the server itself; unset = pg_port")
    pg_sslmode: SslMode = Field("prefer", description="how PostgreSQL is reached by TLS")
    pg_sslrootcert: FilePath | None = Field(
        None, description="file of the CA's certificate that PostgreSQL's must come from"
    )


class RetentionSettings(_Section):
    closed_days: Annotated[float, BeforeValidator(no_truth)] = Field(
        0,
        ge=0,
        le=36_500,
        allow_inf_nan=False,
        description="days after its last use until a closed session is deleted; 0 = never",
    )
    closed_mb: Number = Field(
        0,
        ge=0,
        description="MB that the events and transcripts of all closed sessions may take; 0 = no limit",
    )


class ApiSettings(_Section):
    host: Host = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 = every one, the default in a container"
    )
    port: ListenPort = Field(8000, description="port; 0 = any free one")
    cors_origins: tuple[Origin, ...] = Field((), description="origins whose pages may call the API")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="addresses of proxies that are believed about whose requests they pass on"
    )
    max_sessions: Number = Field(20, ge=1, description="most sessions with a live agent process at once")
    max_sessions_per_user: Number = Field(5, ge=1, description="the same, for one user")
    max_concurrent_requests: Number = Field(5, ge=1, description="most turns at once")
    memory_limit_mb: Number = Field(
        7168, ge=1, description="MB of memory past which no agent process is started"
    )
    idle_session_timeout: Seconds = Field(
        600, ge=1, description="seconds until an idle agent process is stopped"
    )
    max_upload_mb: Annotated[Number, Field(ge=1, le=1_000_000)] = Field(
        100, description="MB that one uploaded file may have"
    )
    drain_seconds: Annotated[Seconds, Field(le=3600)] = Field(
        30, description="seconds that running turns have to end after SIGTERM"
    )
    prestart: bool = Field(True, description="start the agent process when its session is created")
    replicas: Number = Field(1, ge=1, description="how many replicas of the service the deployer runs")


class LimitsSettings(_Section):
    requests_per_minute: Quota | None = Field(
        None,
        description="requests of one caller in a minute; 0 = no limit; unset = 600, or none without auth",
    )
    requests_at_once: Quota | None = Field(
        None,
        description="requests of one caller at once; 0 = no limit; unset = 100 or a quarter of connections, "
        "none without auth",
    )
    turns_per_minute: Quota | None = Field(
        None, description="turns of one user in a minute; 0 = no limit; unset = 60, or none without auth"
    )
    tokens_per_minute: Quota | None = Field(
        None,
        description="tokens of one user in a minute; 0 = no limit; unset = a million, or none without auth",
    )
    failures_per_minute: Quota | None = Field(
        None, description="refused credentials from one address in a minute; 0 = no limit; unset = 60"
    )
    connections: Quota | None = Field(
        None, description="connections at once; 0 = no limit; unset = half of the descriptors, 10000 at most"
    )
    connections_per_address: Quota | None = Field(
        None, description="connections at once from one address; 0 = no limit; unset = half of all"
    )


class AuthSettings(_Section):
    mode: Literal["none", "api-keys", "oidc"] = Field("none", description="how callers show who they are")
    insecure: bool = Field(
        False, description="let others than this machine reach a service that asks nobody who they are"
    )
    keys_dir: FilePath | None = Field(
        None, description="folder with a file for each API key; unset = /bindings/api-keys where it exists"
    )
    oidc_issuer: PublicUrl | None = Field(None, description="the OpenID issuer whose tokens are taken")
    oidc_audience: tuple[Name, ...] = Field((), description="what a token's aud must hold one of")
    oidc_jwks_url: PublicUrl | None = Field(
        None, description="where the issuer's keys are; unset = as its discovery document says"
    )
    oidc_algorithms: tuple[TokenAlgorithm, ...] = Field(
        (), description="how tokens may be signed; unset = RS256 and ES256"
    )
    oidc_user_claim: Name = Field("sub", description="claim that is the user's id")
    oidc_admin_claim: Name | None = Field(
        None, description="claim of an admin, as CLAIM=VALUE, or CLAIM where it is true"
    )
    oidc_act_as_claim: Name | None = Field(
        None, description="claim of who acts for any user, as CLAIM=VALUE, or CLAIM where it is true"
    )


class AuditSettings(_Section):
    enabled: bool | None = Field(
        None, description="record who did what and when; unset = true, or false without auth"
    )
    days: Annotated[Number, Field(ge=0, le=36_500)] = Field(
        90, description="days that the audit is kept; 0 = for good"
    )


class DefaultsSettings(_Section):
    system_prompt: str | None = Field(None, description="text that replaces the agent's own prompt")
    permission_mode: PermissionMode = Field("bypassPermissions", description="what an agent may do unasked")
    approval_timeout: Annotated[Seconds, Field(ge=1)] = Field(
        300, description="seconds that a tool which an agent asks about waits to be allowed"
    )
    allowed_tools: tuple[ToolName, ...] = Field((), description="tools allowed without asking")
    disallowed_tools: tuple[ToolName, ...] = Field((), description="tools taken away")
    setting_sources: tuple[SettingSource, ...] = Field(
        (), description="settings files that the CLI reads: user, project, local"
    )
    cli_path: FilePath | None = Field(None, description="another claude CLI than the one that the SDK brings")
    model: Name | None = Field(None, description="model; unset = the CLI's default")
    max_turns: Number | None = Field(None, ge=1, description="most model turns for one message")
    max_budget_usd: Annotated[float, BeforeValidator(no_truth)] | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars that one agent process may cost, as the CLI reckons them",
    )


class IsolationSettings(_Section):
    mode: IsolationMode = Field(
        "preferred",
        description="jail round each session's processes; required is the default in a container",
    )
    read: tuple[FilePath, ...] = Field(
        (), description="more files and folders that agents may read and run, such as programs of MCP servers"
    )
    ports: tuple[Port, ...] = Field((443,), description="TCP ports, of any host, that agents may connect to")
    max_processes: Number = Field(
        512, ge=64, le=32_768, description="most processes and threads of one session at once"
    )
    memory_mb: Number = Field(
        2048, ge=0, description="MiB of memory that one session's processes may hold; 0 = no limit"
    )
    max_file_mb: Number = Field(1024, ge=1, description="MiB of the largest file that an agent may write")
    max_open_files: Number = Field(1024, ge=256, description="most open files of one of its processes")


class ModelSettings(_Section):
    api_key: Credential | None = Field(None, description="key of the model API")
    auth_token: Credential | None = Field(
        None, description="bearer token of the model API, for endpoints of your own"
    )
    base_url: HttpUrl | None = Field(None, description="another model API than Anthropic's")
    binding_dir: FilePath | None = Field(
        None, description="folder of a mounted Secret with api-key or auth-token, and base-url"
    )
    demo: DemoChoice = Field(
        "auto",
        description="scripted demo model: auto = when nothing else is configured, but not in a container",
    )


class PriceSettings(_Section):
    """US dollars for a million tokens of each class."""

    input: Dollars
    output: Dollars
    cache_read: Dollars
    cache_write: Dollars


class GatewaySettings(_Section):
    allowed_models: tuple[ModelPattern, ...] = Field(
        (), description="models that agents may use, as names or patterns with *; none = all"
    )
    prices: dict[ModelPattern, PriceSettings] = Field(
        {}, description="prices of models beside those of Claude that the service knows"
    )
    session_budget_usd: BudgetUsd | None = Field(None, description="US dollars that one session may cost")
    session_budget_tokens: BudgetTokens | None = Field(None, description="tokens that one session may use")
    user_day_budget_usd: BudgetUsd | None = Field(
        None, description="US dollars that all sessions of one user may cost in one UTC day"
    )
    user_day_budget_tokens: BudgetTokens | None = Field(None, description="the same, in tokens")
    service_day_budget_usd: BudgetUsd | None = Field(
        None, description="US dollars that all sessions of all users may cost in one UTC day"
    )
    service_day_budget_tokens: BudgetTokens | None = Field(
        None, description="the same for all users, in tokens"
    )


class LoggingSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severity that is logged"
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="console, json, or auto: console on a terminal, else json"
    )


class MetricsSettings(_Section):
    enabled: bool = Field(
        False, description="serve metrics for Prometheus on a port of their own, the default in a container"
    )
    host: Host = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 = every one, the default in a container"
    )
    port: ListenPort = Field(9090, description="port; 0 = any free one")


class Settings(BaseSettings):
    """Made by `load_settings`; made directly it takes its arguments and nothing from the environment."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, case_sensitive=True
    )

    user: UserSettings = UserSettings()
    session: SessionSettings = SessionSettings()
    retention: RetentionSettings = RetentionSettings()
    api: ApiSettings = ApiSettings()
    limits: LimitsSettings = LimitsSettings()
    auth: AuthSettings = AuthSettings()
    audit: AuditSettings = AuditSettings()
    defaults: DefaultsSettings = DefaultsSettings()
    isolation: IsolationSettings = IsolationSettings()
    model: ModelSettings = ModelSettings()
    gateway: GatewaySettings = GatewaySettings()
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()
    mcp_servers: dict[ServerName, McpServer] = Field({}, description="MCP servers by name")
    plugins: tuple[PluginSettings, ...] = Field((), description="plugins, each {type: local, path: FOLDER}")

    @property
    def has_model_access(self) -> bool:
        """Whether a key, a token, an endpoint of the user's own or a folder with such is configured."""
        model = self.model
        return bool(model.api_key or model.auth_token or model.base_url or model.binding_dir)

    @property
    def uses_demo_model(self) -> bool:
        return self.model.demo == "on" or (self.model.demo == "auto" and not self.has_model_access)

    @property
    def asks_who(self) -> bool:
        """Whether callers have to show who they are."""
        return self.auth.mode != "none"

    @property
    def is_audited(self) -> bool:
        """Whether who does what is recorded."""
        return self.asks_who if self.audit.enabled is None else self.audit.enabled

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment is read by names of our own; the library's would take USER for a section.
        return (init_settings,)
