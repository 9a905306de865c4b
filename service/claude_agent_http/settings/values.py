"""The types of single settings: what a value may be, whatever its source."""

import re
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

__all__ = [
    "BudgetTokens",
    "BudgetUsd",
    "Credential",
    "DemoChoice",
    "Dollars",
    "FilePath",
    "Host",
    "HttpUrl",
    "IsolationMode",
    "ListenPort",
    "ModelPattern",
    "Name",
    "Network",
    "Number",
    "Origin",
    "PermissionMode",
    "PgHost",
    "Port",
    "PublicUrl",
    "Quota",
    "Seconds",
    "SettingSource",
    "SslMode",
    "TokenAlgorithm",
    "ToolName",
    "no_truth",
]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?")
_PORTS = {"http": 80, "https": 443}
_YEARS_10 = 315_360_000


def no_truth(value: Any) -> Any:
    """YAML's true and false are no numbers, though Python says so."""
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


def _exact(value: Any) -> Any:
    """0.1 is meant as it is written, not as the nearest binary fraction."""
    value = no_truth(value)
    return str(value) if isinstance(value, float) else value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("should be a host name or an IP address, without scheme, port or path")
    return value


def _pg_host(value: str) -> str:
    """As libpq has it: what begins with a slash is the folder of a UNIX socket."""
    if value.startswith("/") and not re.search(r"[\s\0]", value):
        return value
    return _host(value)


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"should be a URL ({error})") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", value):
        raise ValueError("should be a URL such as https://host:port/path")
    return value


def _without_credentials(value: str) -> str:
    """Whoever may read the settings, or is sent to that address, would have them too."""
    if "@" in urlsplit(value).netloc:
        raise ValueError("should hold no user name or password before the host; what is there is public")
    return value


def _origin(value: str) -> str:
    """As browsers send it, for letters are compared: in lower case, without the scheme's own port."""
    if value == "*":
        return value
    parts = urlsplit(_without_credentials(_http_url(value)))
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("should be * or an origin such as https://example.com, without a path")
    if not value.isascii():
        raise ValueError("should have its host as browsers send it, in ASCII, such as xn--bcher-kva.example")
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
    port = "" if parts.port in {None, _PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError(f"should be an IP address or a network such as 10.0.0.0/8 ({error})") from error


def _path(value: Any) -> Any:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("should be a path")
    return value


def _credential(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
        raise ValueError("should be one line of printable ASCII characters without spaces")
    return value


def _on_or_off(value: Any) -> Any:
    # YAML 1.1 reads a bare on or off as a truth value.
    return ("on" if value else "off") if isinstance(value, bool) else value


Number = Annotated[int, BeforeValidator(no_truth)]
Port = Annotated[Number, Field(ge=1, le=65535)]
ListenPort = Annotated[Number, Field(ge=0, le=65535)]
Seconds = Annotated[Number, Field(ge=0, le=_YEARS_10)]
Quota = Annotated[Number, Field(ge=0, le=1_000_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Host = Annotated[str, AfterValidator(_host)]
PgHost = Annotated[str, AfterValidator(_pg_host)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
PublicUrl = Annotated[HttpUrl, AfterValidator(_without_credentials)]
Network = Annotated[str, AfterValidator(_network)]
Origin = Annotated[str, AfterValidator(_origin)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Credential = Annotated[SecretStr, AfterValidator(_credential)]
ModelPattern = Annotated[str, Field(min_length=1, max_length=128)]
Dollars = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=1_000_000, allow_inf_nan=False)]
BudgetUsd = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]
BudgetTokens = Annotated[Number, Field(ge=1, le=10**15)]
ToolName = Annotated[str, Field(min_length=1)]
PermissionMode = Literal["default", "acceptEdits", "bypassPermissions", "plan", "dontAsk", "auto"]
SettingSource = Literal["user", "project", "local"]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
TokenAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
DemoChoice = Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_or_off)]
IsolationMode = Annotated[Literal["required", "preferred", "off"], BeforeValidator(_on_or_off)]
