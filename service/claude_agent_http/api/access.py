"""Who may do what: every route declares its access, and every decision is made here.

A route stands in the application with exactly one of `OPEN`, `CALLER`, `OWNER` and `ADMIN` among its
dependencies (`create_api` refuses another), and is closed to who shows no credential unless it is `OPEN`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import CredentialMissingError, ForbiddenError, SessionNotFoundError
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import Engine

__all__ = [
    "ADMIN",
    "ASSETS",
    "CALLER",
    "OPEN",
    "OWNER",
    "Access",
    "CurrentCaller",
    "Declared",
    "OpenPaths",
    "check_erasure",
    "check_session",
    "check_user",
    "declared",
    "default_user",
    "open_paths",
    "open_session",
    "usage_user",
]

ASSETS = "/docs/assets"
# The framework's own routes: open, for they hold nothing of anybody, and the repository is public.
_DOCUMENTATION = frozenset({"/docs", "/docs/oauth2-redirect", "/openapi.json"})


class Access(StrEnum):
    OPEN = "open"
    """Everybody, without a credential."""
    CALLER = "caller"
    """Every caller, for a user that the caller may act for (`check_user`)."""
    OWNER = "owner"
    """Who may act for the session's owner; for others the session does not exist (`check_session`)."""
    ADMIN = "admin"


async def _caller(request: Request) -> Caller:
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise CredentialMissingError
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]


async def _open() -> None: ...


async def _any_caller(caller: CurrentCaller) -> None: ...


async def _owner(caller: CurrentCaller) -> None: ...


async def _admin(caller: CurrentCaller) -> None:
    if not caller.is_admin:
        raise ForbiddenError("only an admin may do this; use an admin's key or token")


OPEN, CALLER, OWNER, ADMIN = Depends(_open), Depends(_any_caller), Depends(_owner), Depends(_admin)
_DECLARED = {_open: Access.OPEN, _any_caller: Access.CALLER, _owner: Access.OWNER, _admin: Access.ADMIN}


@dataclass(frozen=True, slots=True)
class Declared:
    """`path` is as the OpenAPI document has it; `pattern` also tells which of its values may hold slashes."""

    path: str
    methods: frozenset[str]
    access: Access
    pattern: str


def declared(api: FastAPI) -> list[Declared]:
    """Every route of ours. Raises TypeError for one that does not declare exactly one access."""
    contexts = [one for one in iter_route_contexts(api.routes) if isinstance(one.original_route, APIRoute)]
    return [
        Declared(str(one.path_format), frozenset(one.methods or ()), _access(one), str(one.path))
        for one in contexts
        if one.path not in _DOCUMENTATION
    ]


def _access(route: RouteContext) -> Access:
    found = [_DECLARED[given] for one in route.dependencies if (given := one.dependency) in _DECLARED]
    if len(found) != 1:
        raise TypeError(f"route {route.path} must declare one access (api/access.py), but has {len(found)}")
    return found[0]


@dataclass(frozen=True, slots=True)
class OpenPaths:
    """What everybody may ask, whatever the method: the paths of routes, and what lies below `ASSETS`."""

    routes: frozenset[str]

    def __contains__(self, path: str) -> bool:
        return path in self.routes or path.startswith(f"{ASSETS}/")


def open_paths(api: FastAPI) -> OpenPaths:
    return OpenPaths(_DOCUMENTATION | {one.path for one in declared(api) if one.access is Access.OPEN})


async def check_session(caller: Caller, engine: Engine, session_id: str) -> str | None:
    """Whose the session is; None where nobody is asked who they are, and who asks finds out later.

    Raises SessionNotFoundError, with the words and after the reads of a session that does not exist, when
    the session is not one for whose owner the caller may act."""
    if caller.credential is None and caller.acts_for_any:
        return None
    owner = engine.owner_here(session_id)
    if owner is not None and caller.may_act_for(owner):
        return owner
    return (await open_session(caller, engine, session_id)).user_id


async def open_session(caller: Caller, engine: Engine, session_id: str) -> Session:
    """The session itself, as it is stored. Raises SessionNotFoundError like `check_session`."""
    session = await engine.get(session_id)
    if not caller.may_act_for(session.user_id):
        raise SessionNotFoundError(session_id)
    return session


def check_user(caller: Caller, user_id: str) -> None:
    """Raises ForbiddenError when the caller named a user for whom it may not act."""
    if caller.may_act_for(user_id):
        return
    if caller.user_id is None:
        said = "this credential is no user's and acts for none; use one of the user, or one that acts for any"
    else:
        said = f"you are {caller.user_id!r} and may not act for others; leave it out, or use that user's own"
    raise ForbiddenError(said, field="user_id")


def check_erasure(caller: Caller, user_id: str) -> None:
    """Raises ForbiddenError when the caller may not have that user erased."""
    if not caller.may_erase(user_id):
        check_user(caller, user_id)


def default_user(caller: Caller, user_id: str | None) -> str | None:
    """The user that is meant: who was named, else the caller; None only for who may act for any.

    Raises ForbiddenError.
    """
    if user_id is not None:
        check_user(caller, user_id)
        return user_id
    if caller.user_id is None and not caller.acts_for_any:
        raise ForbiddenError("this credential is no user's and acts for none", field="user_id")
    return caller.user_id


def usage_user(caller: Caller, user_id: str | None) -> str | None:
    """Whose usage is meant: as `default_user`, but an admin may see everybody's; None for all together.

    Raises ForbiddenError.
    """
    return user_id if caller.is_admin else default_user(caller, user_id)
