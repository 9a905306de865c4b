"""Sessions as rows, for every statement that reads them."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.store.tables import sessions

FIELDS = tuple(field.name for field in fields(Session))
COLUMNS = tuple(sessions.c[name] for name in FIELDS)


def select_sessions() -> Select[Any]:
    return select(*COLUMNS)


def held_under(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    """Whether that lease is the session's current one; see `Session.is_held_under`."""
    return sessions.c.lease_holder == lease.replica_id, sessions.c.lease_epoch == lease.epoch


def to_session(row: Sequence[Any]) -> Session:
    """The session of a row of `select_sessions`."""
    return Session(*row)
