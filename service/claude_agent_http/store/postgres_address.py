"""Where a Postgres database is, from a URL as people write it."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from claude_agent_http.domain.errors import StorageError

_SCHEMES = ("postgres", "postgresql", "postgresql+asyncpg")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PARAMETERS = ("host", "sslmode", "ssl", "sslrootcert", "application_name")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """`url` is the driver's and holds the password: `str(address)` is for messages. `ssl` is asyncpg's."""

    url: URL
    ssl: str | ssl.SSLContext | None
    application_name: str

    def __str__(self) -> str:
        user = self.url.username or "the default user"
        host, port = self.url.host or "localhost", self.url.port or 5432
        return f"Postgres database {self.url.database!r} at {host}:{port} as {user!r}"

    def __repr__(self) -> str:
        return f"<{self}>"

    @classmethod
    def parse(cls, url: str) -> "PostgresAddress":
        """From `postgres[ql][+asyncpg]://user:password@host:port/database?sslmode=&sslrootcert=`.

        The folder of a UNIX socket is written `?host=/folder`.

        Raises StorageError, which never repeats the URL.
        """
        parsed = _parse(url)
        query = {name: value for name, value in parsed.query.items() if isinstance(value, str)}
        if unknown := set(parsed.query) - set(_PARAMETERS):
            raise StorageError(
                f"database URL: unknown parameter {min(unknown)!r}; known are {', '.join(_PARAMETERS)}"
            )
        return cls(
            url=parsed.set(drivername="postgresql+asyncpg", host=parsed.host or query.get("host"), query={}),
            ssl=_ssl(query.get("sslmode") or query.get("ssl"), query.get("sslrootcert")),
            application_name=query.get("application_name", "claude-agent-http"),
        )

    def connect_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"server_settings": {"application_name": self.application_name}}
        return arguments if self.ssl is None else arguments | {"ssl": self.ssl}


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(
            "database URL: not a URL; write postgresql://user:password@host:5432/database"
        ) from None
    if parsed.drivername not in _SCHEMES or not parsed.database:
        raise StorageError("database URL: write postgresql://user:password@host:5432/database")
    return parsed


def _ssl(mode: str | None, root: str | None) -> str | ssl.SSLContext | None:
    if mode is not None and mode not in _SSL_MODES:
        raise StorageError(f"database URL: sslmode {mode!r} is none of {', '.join(_SSL_MODES)}")
    if mode == "verify-full" and root is None:
        return (
            ssl.create_default_context()
        )  # the CAs that the system knows; asyncpg would want a file in HOME
    if root is None or mode in ("disable", "allow", "prefer"):
        return mode
    if not Path(root).is_file():
        raise StorageError(f"database URL: sslrootcert {root} is not a file; mount the server's CA there")
    try:
        context = ssl.create_default_context(cafile=root)
    except (ssl.SSLError, OSError):
        raise StorageError(f"database URL: sslrootcert {root} holds no certificate in PEM form") from None
    # As libpq does: a root certificate makes `require` check the chain, only verify-full checks the name.
    context.check_hostname = mode == "verify-full"
    return context
