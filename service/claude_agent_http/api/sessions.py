"""Create, find, resume, interrupt and delete sessions."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from claude_agent_http.api.access import CALLER, OWNER, CurrentCaller, default_user
from claude_agent_http.api.fields import UserId
from claude_agent_http.api.models import CreateSession, Interrupted, SessionDetail, SessionView
from claude_agent_http.api.openapi import documented
from claude_agent_http.api.parts import CurrentEngine, OpenSession, SessionId, json_only
from claude_agent_http.api.request_log import is_about
from claude_agent_http.domain.errors import InvalidInputError
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import NewSession

router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])

# More than any database holds. One query, because a page could not go on behind a session deleted meanwhile.
_NO_LIMIT = 2**31 - 1

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A repeat by the same user gives the same session; 1 to 255 visible ASCII characters.",
    ),
]


@router.post(
    "",
    status_code=201,
    summary="Create a session",
    responses=documented(409, 507, body=True),
    dependencies=[CALLER, Depends(json_only)],
)
async def create(
    body: CreateSession,
    caller: CurrentCaller,
    engine: CurrentEngine,
    request: Request,
    idempotency_key: IdempotencyKey = None,
) -> SessionView:
    """Returns at once: no model is called, and the agent's process starts in the background."""
    user_id = default_user(caller, body.user_id)
    if user_id is None:
        raise InvalidInputError("user_id", "is missing; say whose session it will be")
    is_about(request, user_id=user_id)
    new = NewSession(
        user_id=user_id,
        subdir=body.subdir,
        metadata=body.metadata or {},
        session_id=None if body.session_id is None else str(body.session_id),
        idempotency_key=idempotency_key,
    )
    return _view(request, await engine.create(new))


@router.get("", summary="List sessions", responses=documented(422), dependencies=[CALLER])
async def list_ids(
    caller: CurrentCaller,
    engine: CurrentEngine,
    request: Request,
    response: Response,
    user_id: Annotated[UserId | None, Query(description="Only theirs; else the caller's own.")] = None,
    limit: Annotated[int | None, Query(ge=1, le=10_000, description="At most so many; else all.")] = None,
    after: Annotated[UUID | None, Query(description="Ids behind this one.")] = None,
) -> list[str]:
    """Ids, newest first. When `limit` leaves some out, a `Link` header with `rel="next"` leads to them. A
    caller that is no user and may act for any gets everybody's."""
    behind = None if after is None else str(after)
    whose = default_user(caller, user_id)
    is_about(request, user_id=whose)
    ids = await engine.list_ids(whose, limit=limit or _NO_LIMIT, after=behind)
    if limit is not None and len(ids) == limit:
        response.headers["Link"] = _next_link(request, user_id, limit, ids[-1])
    return ids


@router.get("/{session_id}", summary="Read a session", responses=documented(404), dependencies=[OWNER])
async def read(session: OpenSession, engine: CurrentEngine) -> SessionDetail:
    return SessionDetail.waiting(session, await engine.approvals(session))


@router.delete(
    "/{session_id}",
    status_code=204,
    summary="Delete a session",
    responses=documented(404, 507),
    dependencies=[OWNER],
)
async def delete(session_id: SessionId, engine: CurrentEngine) -> None:
    """Stops its agent and removes its events and its conversation; the files in its folder stay."""
    await engine.delete(session_id)


@router.post(
    "/{session_id}/resume",
    summary="Reopen a session",
    responses=documented(404, 507),
    dependencies=[OWNER],
)
async def resume(session_id: SessionId, engine: CurrentEngine, request: Request) -> SessionView:
    """Makes a closed session active again and starts its agent ahead of the next message."""
    return _view(request, await engine.resume(session_id))


@router.post(
    "/{session_id}/interrupt",
    status_code=202,
    summary="Interrupt the running turn",
    responses=documented(404),
    dependencies=[OWNER],
)
async def interrupt(session_id: SessionId, engine: CurrentEngine) -> Interrupted:
    """Asks the turn to end soon; its `session.status_idle` event says when it has."""
    return Interrupted(interrupted=await engine.interrupt(session_id))


def _view(request: Request, session: Session) -> SessionView:
    is_about(request, session_id=session.id, user_id=session.user_id)
    return SessionView.of(session)


def _next_link(request: Request, user_id: str | None, limit: int, last: str) -> str:
    asked = {"user_id": user_id, "limit": limit, "after": last}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return f'<{request.url.path}?{query}>; rel="next"'
