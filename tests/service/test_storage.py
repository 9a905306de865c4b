"""From the settings to a database: its addresses, and how it is reached by TLS."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import self_signed
from tests.pgbouncer import PgBouncer, start_pgbouncer
from tests.postgres import PostgresServer
from tests.service.e2e.service_process import free_port

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.settings import SessionSettings
from claude_agent_http.storage import database_url, direct_database_url
from claude_agent_http.store import current_revision
from claude_agent_http.store.postgres_address import PostgresAddress

POSTGRES: dict[str, Any] = {"storage": "postgresql", "pg_host": "pool.example", "pg_port": 6432}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, None),
        ({"pg_direct_host": "db.example"}, ("db.example", 6432)),
        ({"pg_direct_port": 5432}, ("pool.example", 5432)),
        ({"pg_direct_host": "db.example", "pg_direct_port": 5432}, ("db.example", 5432)),
        ({"pg_direct_host": "/run/pg", "pg_direct_port": 5432}, ("/run/pg", 5432)),
        ({"pg_direct_host": "pool.example"}, ("pool.example", 6432)),
    ],
)
def test_the_server_itself_is_where_the_settings_say(
    given: dict[str, Any], wanted: tuple[str, int] | None
) -> None:
    session = SessionSettings(**POSTGRES, **given)
    url = PostgresAddress.parse(database_url(session)).url
    assert (url.host, url.port) == ("pool.example", 6432)
    direct_url = direct_database_url(session)
    if direct_url is None:
        assert wanted is None
        return
    direct = PostgresAddress.parse(direct_url).url
    assert (direct.host, direct.port) == wanted
    assert direct.set(host=url.host, port=url.port) == url


def test_sqlite_has_no_server(tmp_path: Path) -> None:
    session = SessionSettings(sqlite_path=tmp_path / "x.db", pg_direct_host="db.example")
    assert database_url(session) == f"sqlite:///{tmp_path}/x.db"
    assert direct_database_url(session) is None


def test_tls_is_asked_for_at_both_addresses() -> None:
    session = SessionSettings(**POSTGRES, pg_direct_host="db.example", pg_sslmode="require")
    for url in (database_url(session), direct_database_url(session)):
        assert PostgresAddress.parse(url or "").ssl == "require"


@dataclass(frozen=True)
class Endpoint:
    """A pooler on a port of 127.0.0.1, before a server that is reached past it."""

    pooler: PgBouncer
    server: PostgresServer
    certificate: Path
    other: Path

    async def look(self, host: str, **settings: Any) -> None:
        """Connect as the settings say; `pg_sslrootcert` is the name of a certificate here."""
        if root := settings.get("pg_sslrootcert"):
            settings["pg_sslrootcert"] = getattr(self, root)
        session = SessionSettings(
            storage="postgresql",
            pg_host=host,
            pg_port=self.pooler.port,
            pg_database="postgres",
            pg_direct_host=str(self.server.socket_folder),
            pg_direct_port=5432,
            **settings,
        )
        await current_revision(
            database_url(session), direct_url=direct_database_url(session), start_seconds=0.5
        )


@pytest.fixture(scope="module")
def endpoints(postgres_server: PostgresServer) -> Iterator[dict[str, Endpoint]]:
    """One with TLS, whose certificate is for `localhost`, and one without."""
    with tempfile.TemporaryDirectory(prefix="pgb-") as one, tempfile.TemporaryDirectory(prefix="pgb-") as two:
        certificate, key = self_signed(Path(one), "localhost")
        other, _ = self_signed(Path(two), "other")
        by_tcp = "listen_addr = 127.0.0.1"
        tls = (
            "client_tls_sslmode = require",
            f"client_tls_cert_file = {certificate}",
            f"client_tls_key_file = {key}",
        )
        with (
            start_pgbouncer(postgres_server, Path(one), by_tcp, *tls, port=free_port()) as with_tls,
            start_pgbouncer(postgres_server, Path(two), by_tcp, port=free_port()) as without,
        ):
            yield {
                "tls": Endpoint(with_tls, postgres_server, certificate, other),
                "plain": Endpoint(without, postgres_server, certificate, other),
            }


@pytest.mark.tier("postgres", "pgbouncer")
@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("127.0.0.1", {}),
        ("127.0.0.1", {"pg_sslmode": "require"}),
        ("127.0.0.1", {"pg_sslmode": "require", "pg_sslrootcert": "certificate"}),
        ("127.0.0.1", {"pg_sslmode": "verify-ca", "pg_sslrootcert": "certificate"}),
        ("localhost", {"pg_sslmode": "verify-full", "pg_sslrootcert": "certificate"}),
    ],
)
async def test_a_database_is_reached_by_tls(
    endpoints: dict[str, Endpoint], host: str, settings: dict[str, Any]
) -> None:
    endpoint = endpoints["tls"]
    before = endpoint.pooler.log.count("tls=TLS")
    await endpoint.look(host, **settings)
    assert endpoint.pooler.log.count("tls=TLS") > before


@pytest.mark.tier("postgres", "pgbouncer")
@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_a_database_is_reached_without_tls(endpoints: dict[str, Endpoint], mode: str) -> None:
    await endpoints["plain"].look("127.0.0.1", pg_sslmode=mode)


@pytest.mark.tier("postgres", "pgbouncer")
@pytest.mark.parametrize(
    ("kind", "host", "settings", "told"),
    [
        ("tls", "127.0.0.1", {"pg_sslmode": "disable"}, "refused or cut the connection"),
        ("tls", "localhost", {"pg_sslmode": "verify-full"}, r"TLS failed \(self-signed certificate"),
        (
            "tls",
            "127.0.0.1",
            {"pg_sslmode": "verify-full", "pg_sslrootcert": "certificate"},
            r"TLS failed \(IP address mismatch.*\); check session\.pg_sslmode",
        ),
        (
            "tls",
            "127.0.0.1",
            {"pg_sslmode": "require", "pg_sslrootcert": "other"},
            r"TLS failed \(self-signed certificate",
        ),
        ("plain", "127.0.0.1", {"pg_sslmode": "require"}, "it takes no TLS; turn TLS on there"),
    ],
)
async def test_a_refusal_says_what_is_wrong_with_tls(
    endpoints: dict[str, Endpoint], kind: str, host: str, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(StorageError, match=told):
        await endpoints[kind].look(host, **settings)
