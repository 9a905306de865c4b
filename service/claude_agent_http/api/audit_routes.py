"""The audit for admins."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from claude_agent_http.api.access import ADMIN
from claude_agent_http.api.fields import Moment, UserId
from claude_agent_http.api.openapi import documented
from claude_agent_http.api.parts import CurrentAudit
from claude_agent_http.domain.approval import Decision
from claude_agent_http.domain.audit import AUDIT_ID_PATTERN, AuditEntry, AuditFilter, AuditResult, CallerKind

router = APIRouter(prefix="/api/v1/admin/audit", tags=["admin"], dependencies=[ADMIN])


class AuditView(BaseModel):
    """One request: who asked what, and what came of it."""

    id: str
    at: datetime
    caller: CallerKind
    credential: str | None = Field(examples=["key:0123456789abc"])
    user_id: str | None = Field(description="Whose things it was about.")
    method: str
    route: str | None = Field(examples=["/api/v1/sessions/{session_id}"])
    session_id: str | None
    key_id: str | None = Field(description="The API key that was made or revoked.")
    status: int
    result: AuditResult
    request_id: str
    client: str = Field(description="The address that it came from; of a command, the machine's name.")
    approval_id: str | None = Field(description="The tool that was to be allowed or denied.")
    decision: Decision | None = Field(description="What was asked for; `status` says whether it stands.")

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditView":
        return cls.model_validate(entry, from_attributes=True)


class AuditPage(BaseModel):
    """Newest first; `next_page` goes into `page` of the next request, null when these are the last."""

    data: list[AuditView]
    next_page: str | None


@router.get("", summary="Read the audit", responses=documented(422))
async def read(
    audit: CurrentAudit,
    user_id: Annotated[UserId | None, Query(description="About what is theirs.")] = None,
    session_id: Annotated[str | None, Query(max_length=64)] = None,
    credential: Annotated[
        str | None, Query(max_length=1024, description="As entries name it, such as `key:ID`.")
    ] = None,
    result: Annotated[AuditResult | None, Query(description="denied: 401, 403 or 404.")] = None,
    since: Annotated[Moment | None, Query(description="Not before that.")] = None,
    until: Annotated[Moment | None, Query(description="Before that.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    page: Annotated[
        str | None, Query(pattern=AUDIT_ID_PATTERN, description="`next_page` of the page before.")
    ] = None,
) -> AuditPage:
    """Who did what and when: every change, every denial, and whoever read what is another user's."""
    wanted = AuditFilter(user_id, session_id, credential, result, since, until)
    found = await audit.page(wanted, limit=limit + 1, before=page)
    shown = found[:limit]
    return AuditPage(
        data=[AuditView.of(entry) for entry in shown],
        next_page=shown[-1].id if len(found) > limit else None,
    )
