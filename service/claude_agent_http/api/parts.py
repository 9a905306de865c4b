"""What a route takes from the application and from the request's address."""

import re
from typing import Annotated

from fastapi import Depends, Path, Request
from starlette.exceptions import HTTPException

from claude_agent_http.api.access import CurrentCaller, check_session, open_session
from claude_agent_http.api.files_port import WorkspaceFiles
from claude_agent_http.api.info import Parts
from claude_agent_http.api.request_log import is_about
from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import AuditTrail, Engine, KeyRing

__all__ = [
    "CurrentAudit",
    "CurrentEngine",
    "CurrentFiles",
    "CurrentKeys",
    "CurrentParts",
    "OpenSession",
    "SessionId",
    "json_only",
    "known_form",
]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHOWN = 64


async def json_only(request: Request) -> None:
    """Raises 415 for a body that is not declared as JSON: a web page of another origin cannot send that
    without asking first."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(415, "send the body as JSON, with the header Content-Type: application/json")


def known_form(session_id: str) -> str:
    """The id in its stored form. Raises SessionNotFoundError for what cannot be the id of any session."""
    canonical = session_id.lower()
    if _UUID.fullmatch(canonical) is None:
        raise SessionNotFoundError(session_id[:_SHOWN])
    return canonical


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _engine(request: Request) -> Engine:
    return (await _parts(request)).engine


async def _files(request: Request) -> WorkspaceFiles:
    return (await _parts(request)).files


async def _keys(request: Request) -> KeyRing:
    return (await _parts(request)).keys


async def _audit(request: Request) -> AuditTrail:
    return (await _parts(request)).audit


CurrentParts = Annotated[Parts, Depends(_parts)]
CurrentAudit = Annotated[AuditTrail, Depends(_audit)]
CurrentEngine = Annotated[Engine, Depends(_engine)]
CurrentFiles = Annotated[WorkspaceFiles, Depends(_files)]
CurrentKeys = Annotated[KeyRing, Depends(_keys)]


async def _named(
    request: Request,
    session_id: Annotated[str, Path(description="The session's id; one of another form is just unknown.")],
) -> str:
    canonical = known_form(session_id)
    is_about(request, session_id=canonical)
    return canonical


_Named = Annotated[str, Depends(_named)]


async def _session_id(request: Request, engine: CurrentEngine, caller: CurrentCaller, named: _Named) -> str:
    is_about(request, user_id=await check_session(caller, engine, named))
    return named


async def _session(request: Request, engine: CurrentEngine, caller: CurrentCaller, named: _Named) -> Session:
    session = await open_session(caller, engine, named)
    is_about(request, user_id=session.user_id)
    return session


SessionId = Annotated[str, Depends(_session_id)]
"""The id in the request's path, in its stored form, of a session that is open to the caller."""

OpenSession = Annotated[Session, Depends(_session)]
"""The same session itself, read once."""
