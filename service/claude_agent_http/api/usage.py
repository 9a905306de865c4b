"""What sessions and users used of models."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from claude_agent_http.api.access import CALLER, OWNER, CurrentCaller, usage_user
from claude_agent_http.api.fields import Day, UserId
from claude_agent_http.api.openapi import documented
from claude_agent_http.api.parts import CurrentEngine, SessionId
from claude_agent_http.api.request_log import is_about
from claude_agent_http.domain.errors import InvalidInputError
from claude_agent_http.domain.usage import AMOUNTS, DayUsage, Spending

router = APIRouter(tags=["usage"])

_MOST_DAYS = 366
_USUAL_DAYS = 30


class SpendingView(BaseModel):
    """Requests to the model, their tokens by class, and what they cost by the service's price table."""

    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    cost_micro_usd: int = Field(description="In millionths of a US dollar; 0 for a model without a price.")


class ModelUsage(SpendingView):
    model: str


class DayModelUsage(ModelUsage):
    day: date = Field(description="By UTC.")


class SessionUsage(BaseModel):
    session_id: str
    models: list[ModelUsage]
    total: SpendingView


class UsageOfDays(BaseModel):
    user_id: str | None = Field(description="None: of all users together.")
    first: date
    last: date
    days: list[DayModelUsage] = Field(description="One entry a day and model that was used.")
    total: SpendingView


@router.get(
    "/api/v1/sessions/{session_id}/usage",
    summary="Usage of a session",
    dependencies=[OWNER],
    responses=documented(404),
)
async def of_session(session_id: SessionId, engine: CurrentEngine) -> SessionUsage:
    """What the session's agent used of each model, answers that broke off included."""
    models = await engine.usage_of_session(session_id)
    return SessionUsage(
        session_id=session_id,
        models=[ModelUsage(model=model, **_amounts(spent)) for model, spent in models.items()],
        total=_total(models.values()),
    )


@router.get("/api/v1/usage", summary="Usage by day", dependencies=[CALLER], responses=documented(422))
async def of_days(
    caller: CurrentCaller,
    engine: CurrentEngine,
    request: Request,
    user_id: Annotated[UserId | None, Query()] = None,
    first: Annotated[Day | None, Query(description="First UTC day; else 29 days before `last`.")] = None,
    last: Annotated[Day | None, Query(description="Last UTC day; else today.")] = None,
) -> UsageOfDays:
    """Of one user; of all together for an admin, and for who is no user and may act for any, who names none.
    Deleted sessions count, erased users for the current day at most."""
    whose = usage_user(caller, user_id)
    is_about(request, user_id=whose)
    begin, end = _range(first, last)
    found = await engine.usage_of_days(begin, end, user_id=whose)
    return UsageOfDays(
        user_id=whose,
        first=begin,
        last=end,
        days=[_day(one) for one in found],
        total=_total(one.spending for one in found),
    )


def _range(first: date | None, last: date | None) -> tuple[date, date]:
    """Raises InvalidInputError."""
    end = last or datetime.now(UTC).date()
    usual = timedelta(days=_USUAL_DAYS - 1)
    begin = first or (end - usual if end - date.min > usual else date.min)
    if not 0 <= (end - begin).days < _MOST_DAYS:
        raise InvalidInputError("first", f"should be at most {_MOST_DAYS} days up to last, {end}")
    return begin, end


def _day(used: DayUsage) -> DayModelUsage:
    return DayModelUsage(day=used.day, model=used.model, **_amounts(used.spending))


def _total(spent: Iterable[Spending]) -> SpendingView:
    return SpendingView(**_amounts(sum(spent, Spending())))


def _amounts(spent: Spending) -> dict[str, int]:
    return {name: getattr(spent, name) for name in AMOUNTS}
