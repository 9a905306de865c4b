"""Tools that wait until somebody allows them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from claude_agent_http.api.access import OWNER
from claude_agent_http.api.models import ApprovalPage, ApprovalView, DecisionRequest, DecisionView
from claude_agent_http.api.openapi import documented
from claude_agent_http.api.parts import CurrentEngine, OpenSession, SessionId, json_only
from claude_agent_http.api.request_log import is_about

router = APIRouter(prefix="/api/v1/sessions/{session_id}/approvals", tags=["approvals"], dependencies=[OWNER])


@router.get("", summary="List pending approvals", responses=documented(404))
async def pending(session: OpenSession, engine: CurrentEngine) -> ApprovalPage:
    """The tools that the session's turn waits for, oldest first. Which tools an agent asks about is for
    `defaults.permission_mode` to say."""
    return ApprovalPage(data=[ApprovalView.of(one) for one in await engine.approvals(session)])


@router.post(
    "/{approval_id}",
    summary="Allow or deny a tool",
    responses=documented(404, 409, 507, body=True),
    dependencies=[Depends(json_only)],
)
async def decide(
    session_id: SessionId,
    approval_id: Annotated[
        str,
        Path(
            max_length=200,
            description="The id of the `agent.tool_approval_requested` event.",
            examples=["sevt_01m8q45b0pnc47123kwerfgq9x"],
        ),
    ],
    body: DecisionRequest,
    engine: CurrentEngine,
    request: Request,
) -> DecisionView:
    """The first decision stands: the same one again is answered the same, another one with 409. So is one for
    a turn that has ended. It is taken by any replica."""
    is_about(request, decision=body.decision)
    return DecisionView.of(await engine.decide(session_id, approval_id, body.decision, body.reason))
