"""API keys for admins: give one out, list them, take one back."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from claude_agent_http.api import fields
from claude_agent_http.api.access import ADMIN, CurrentCaller
from claude_agent_http.api.cursors import no_cursor
from claude_agent_http.api.openapi import documented
from claude_agent_http.api.parts import CurrentKeys, json_only
from claude_agent_http.api.request_log import is_about
from claude_agent_http.domain.api_key import ApiKey, KeyScope
from claude_agent_http.domain.errors import ForbiddenError, InvalidInputError


async def _asked_who_they_are(caller: CurrentCaller) -> None:
    """Else anybody could make a key now, and have it when the service begins to ask."""
    if caller.credential is None:
        raise ForbiddenError(
            "nobody is asked who they are (auth.mode is none), so nobody may manage keys here; set "
            "CLAUDE_AGENT_AUTH=api-keys, or use `claude-agent-http keys` on the service's machine"
        )


router = APIRouter(
    prefix="/api/v1/admin/keys", tags=["admin"], dependencies=[ADMIN, Depends(_asked_who_they_are)]
)

KeyId = Annotated[str, Path(max_length=64, description="The part of the key between its first two `_`.")]


class CreateKey(BaseModel):
    """Whose the key is, or for whom it acts: `user_id` or `act_as`, or only `admin`."""

    name: str = Field(min_length=1, max_length=100, description="What people know it by.", examples=["ci"])
    user_id: fields.UserId | None = Field(default=None, description="The one user that it acts for.")
    act_as: bool = Field(default=False, description="It acts for any user, as a back end does.")
    admin: bool = Field(default=False, description="It may use the routes for admins.")
    expires_at: fields.Moment | None = Field(default=None, description="When it ends; else never.")


class KeyView(BaseModel):
    """A key, without what opens anything."""

    id: str
    name: str
    user_id: str | None
    act_as: bool
    admin: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Up to a minute late.")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyView":
        return cls(**key.shown())


class CreatedKey(KeyView):
    """A new key with its text, which nobody is ever shown again."""

    key: str = Field(examples=["cah_..."])


class KeyPage(BaseModel):
    """Keys, newest first; `next_page` goes into `page` of the next request, null when these are the last."""

    data: list[KeyView]
    next_page: str | None


@router.post(
    "",
    status_code=201,
    summary="Create an API key",
    responses=documented(507, body=True),
    dependencies=[Depends(json_only)],
)
async def create(body: CreateKey, keys: CurrentKeys, request: Request, response: Response) -> CreatedKey:
    """The answer is the only place where the key itself is ever shown."""
    scope = KeyScope(body.user_id, body.act_as, body.admin)
    issued = await keys.create(body.name, scope, body.expires_at)
    is_about(request, user_id=body.user_id, key_id=issued.key.id)
    response.headers["Cache-Control"] = "no-store"
    return CreatedKey(**issued.key.shown(), key=issued.text)


@router.get("", summary="List API keys", responses=documented(422))
async def list_keys(
    keys: CurrentKeys,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    page: Annotated[str | None, Query(max_length=64, description="`next_page` of the page before.")] = None,
) -> KeyPage:
    """Also those that are revoked or have expired."""
    try:
        found = await keys.page(limit=limit + 1, after=page)
    except InvalidInputError:
        raise no_cursor() from None
    shown = found[:limit]
    next_page = shown[-1].id if len(found) > limit else None
    return KeyPage(data=[KeyView.of(key) for key in shown], next_page=next_page)


@router.delete("/{key_id}", status_code=204, summary="Revoke an API key", responses=documented(404, 422, 507))
async def revoke(key_id: KeyId, keys: CurrentKeys, request: Request) -> None:
    """It opens nothing any more: on this replica at once, on every other within 3 s. A repeat is fine."""
    is_about(request, key_id=key_id)
    await keys.revoke(key_id)
