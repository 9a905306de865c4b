"""What the service is and how it is."""

import dataclasses
from typing import Any

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from claude_agent_http.api.access import OPEN
from claude_agent_http.api.info import ModelMode, model_hint
from claude_agent_http.api.models import HealthView, ModelView, ProbeView, ServiceView
from claude_agent_http.api.openapi import documented
from claude_agent_http.api.parts import CurrentParts

__all__ = ["PROBES", "router"]

PROBES = frozenset({"/health", "/livez", "/readyz"})
"""The paths by which is asked how the service is."""

router = APIRouter(tags=["service"], dependencies=[OPEN])

_UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"model": HealthView, "description": "The service cannot work now."}
}


@router.get("/", summary="Where things are")
async def root(parts: CurrentParts) -> ServiceView:
    info = parts.info
    return ServiceView(
        name=info.name, version=info.version, docs="/docs", health="/health", model=_model(info.model_mode)
    )


@router.get("/health", summary="How the service is", responses=_UNHEALTHY)
async def health(parts: CurrentParts, response: Response) -> HealthView:
    now = await parts.health()
    response.status_code = 503 if now.status == "unhealthy" else 200
    return HealthView(**{**dataclasses.asdict(now), "model": _model(now.model)})


@router.get("/livez", summary="Whether the process answers")
async def livez() -> ProbeView:
    return ProbeView()


@router.get("/readyz", summary="Whether new work is welcome", responses=documented())
async def readyz(parts: CurrentParts) -> ProbeView:
    reason = await parts.ready()
    if reason is not None:
        raise HTTPException(503, f"not ready: {reason}", headers={"Retry-After": "5"})
    return ProbeView()


def _model(mode: ModelMode) -> ModelView:
    return ModelView(mode=mode, hint=model_hint(mode))
