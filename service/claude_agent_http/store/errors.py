"""The edge where errors of SQLAlchemy, the drivers and the operating system become ours.

Messages name the database by its description, which never holds a password, and never repeat a value.
"""

import errno
import socket
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from claude_agent_http.domain.errors import StorageError, StorageFullError


class RejectedError(StorageError):
    """The database refused this very data; the same database may take other data."""


class UnreachableError(StorageError):
    """No connection can be made for now."""


class LostConnectionError(StorageError):
    """The connection broke; whether the transaction was committed is unknown."""


_SQLITE: dict[int, tuple[type[StorageError], str]] = {
    sqlite3.SQLITE_FULL: (StorageFullError, "no space is left for it; free some disk space"),
    sqlite3.SQLITE_BUSY: (StorageError, "another process keeps it busy; stop that process or try again"),
    sqlite3.SQLITE_LOCKED: (StorageError, "another process keeps it busy; stop that process or try again"),
    sqlite3.SQLITE_READONLY: (StorageError, "it is read-only; make the file and its folder writable"),
    sqlite3.SQLITE_PERM: (StorageError, "access is denied; make the file and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: (StorageError, "it cannot be opened; make the file and its folder writable"),
    sqlite3.SQLITE_CORRUPT: (StorageError, "the file is damaged; restore it from a backup"),
    sqlite3.SQLITE_NOTADB: (StorageError, "the file is not an SQLite database; choose another path"),
    sqlite3.SQLITE_IOERR: (StorageError, "reading or writing the disk failed; check the disk"),
    sqlite3.SQLITE_TOOBIG: (RejectedError, "a value is too large"),
    sqlite3.SQLITE_CONSTRAINT: (RejectedError, "a constraint does not hold"),
}

_TRANSACTION_POOLER = (
    "its pooler keeps no prepared statements (pool_mode = transaction); name the server itself by "
    "session.pg_direct_host and pg_direct_port"
)

# Keys are whole SQLSTATEs or their two-character classes.
_POSTGRES: dict[str, tuple[type[StorageError], str]] = {
    "53100": (StorageFullError, "its disk is full; free some space on the database server"),
    "53300": (StorageError, "it has no connection left; raise max_connections or lower the pool size"),
    "53": (StorageError, "the server is short of resources"),
    "28": (StorageError, "it refused the user or password; check the credentials"),
    "3D": (StorageError, "the database does not exist; create it or correct the name"),
    "42501": (StorageError, "the user lacks a privilege; make it the owner of the database"),
    "55P03": (StorageError, "it is locked by another process; try again"),
    "40": (StorageError, "the transaction lost a conflict; try again"),
    "57014": (StorageError, "the statement took too long"),
    # As which PgBouncer reports nearly everything of its own.
    "08P01": (LostConnectionError, "a connection pooler refused or cut the connection; look at its log"),
    "26000": (StorageError, _TRANSACTION_POOLER),
    "42P05": (StorageError, _TRANSACTION_POOLER),
    "57P03": (UnreachableError, "the server is starting or stopping; try again"),
    "57": (LostConnectionError, "the server ended the connection; try again"),
    "08": (LostConnectionError, "the connection broke; try again"),
    "25P03": (LostConnectionError, "the server ended a transaction that fell silent; try again"),
    "25006": (StorageError, "it is read-only; connect to the primary server"),
    "22": (RejectedError, "a value does not fit"),
    "23": (RejectedError, "a constraint does not hold"),
    "54": (RejectedError, "a value is too large"),
}

# Of asyncpg, in a plain ConnectionError.
_REFUSES_TLS = "rejected SSL upgrade"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

# OSError includes TimeoutError.
_FOREIGN = (SQLAlchemyError, sqlite3.Error, OSError)


@contextmanager
def translated(database: str) -> Iterator[None]:
    """Turn every foreign error of the block into a StorageError about `database`, a description of it."""
    try:
        yield
    except Exception as error:
        if not _is_foreign(error):
            raise
        kind, reason = _meaning(error)
        raise kind(f"{database}: {reason}") from error


def _is_foreign(error: Exception) -> bool:
    """asyncpg's are known by their module's name: importing it would cost a SQLite service its memory."""
    return isinstance(error, _FOREIGN) or type(error).__module__.startswith("asyncpg.")


def _meaning(error: Exception) -> tuple[type[StorageError], str]:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, sqlite3.Error):
        return _sqlite_meaning(cause)
    sqlstate = getattr(cause, "sqlstate", None)
    if isinstance(sqlstate, str):
        unknown = (StorageError, f"the server reported SQLSTATE {sqlstate}")
        return _POSTGRES.get(sqlstate) or _POSTGRES.get(sqlstate[:2]) or unknown
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return LostConnectionError, "the connection broke; try again"
    if isinstance(cause, PoolTimeoutError):
        return StorageError, "every connection is in use; try again or raise the pool size"
    if isinstance(cause, OSError):
        return _tls_meaning(cause) or _os_meaning(cause)
    return RejectedError, f"the driver refused the request ({type(cause).__name__})"


def _sqlite_meaning(error: sqlite3.Error) -> tuple[type[StorageError], str]:
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    unknown = (RejectedError, f"SQLite reported {name}")
    return unknown if code is None else _SQLITE.get(code & 0xFF, unknown)


def _tls_meaning(error: OSError) -> tuple[type[StorageError], str] | None:
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or error.reason or type(error).__name__
        return StorageError, f"TLS failed ({reason}); check session.pg_sslmode and pg_sslrootcert"
    if _REFUSES_TLS in str(error):
        return StorageError, "it takes no TLS; turn TLS on there, or choose another session.pg_sslmode"
    return None


def _os_meaning(error: OSError) -> tuple[type[StorageError], str]:
    if error.errno in NO_SPACE:
        return StorageFullError, "no space is left for it; free some disk space"
    if isinstance(error, TimeoutError):
        return UnreachableError, "it did not answer in time; check that it is running and reachable"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):  # the latter of a UNIX socket
        return UnreachableError, "the connection was refused; check the address and that the server runs"
    if isinstance(error, socket.gaierror):
        return UnreachableError, "the host name is not known; check the address"
    if isinstance(error, ConnectionError):
        return LostConnectionError, "the connection broke; try again"
    return StorageError, f"the operating system reported {error.strerror or type(error).__name__}"
