"""Erase users."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from claude_agent_http.api.access import CALLER, CurrentCaller, check_erasure
from claude_agent_http.api.fields import UserId
from claude_agent_http.api.models import ErasedUser
from claude_agent_http.api.openapi import documented
from claude_agent_http.api.parts import CurrentEngine
from claude_agent_http.api.request_log import is_about

router = APIRouter(prefix="/api/v1/users", tags=["users"], dependencies=[CALLER])


@router.delete("/{user_id}", summary="Erase a user", responses=documented(422, 429, 507))
async def erase(
    user_id: Annotated[UserId, Path()], caller: CurrentCaller, engine: CurrentEngine, request: Request
) -> ErasedUser:
    """Deletes all sessions of the user, wherever they run, and then all of the user's files. After any error,
    repeat the request until it succeeds; for a user without anything it succeeds too. An admin may have any
    user erased."""
    is_about(request, user_id=user_id)
    check_erasure(caller, user_id)
    erased = await engine.erase(user_id)
    return ErasedUser(user_id=user_id, sessions_deleted=erased.sessions, files_deleted=erased.files)
