"""Records who did what: every change, every denial, and whoever reads what is another user's."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_agent_http.api.access import Access, Declared, OpenPaths
from claude_agent_http.api.client_address import client_address
from claude_agent_http.api.parts import known_form
from claude_agent_http.api.problems import problem_of
from claude_agent_http.domain.approval import Decision
from claude_agent_http.domain.audit import AuditEntry, CallerKind
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import SessionNotFoundError, StorageError
from claude_agent_http.engine import AuditTrail
from claude_agent_http.ports import Clock, Ids

__all__ = ["Audit", "AuditParts", "leave_out"]

_APPROVAL_ID = re.compile("sevt_[0-9a-z]{26}")
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _FAILED = 401, 403, 404, 429, 500


def leave_out(scope: Scope) -> None:
    """Record nothing of this request, of whom nobody knows: many like it came from the same address."""
    scope["state"]["left_out"] = True


@dataclass(frozen=True, slots=True)
class AuditParts:
    """`is_on`: requests are recorded; what was recorded before can be read in any case."""

    trail: AuditTrail
    clock: Clock
    ids: Ids
    is_on: bool


class Audit:
    """Stands round `Authentication`, for what that denies is recorded too. Open paths never are.

    An entry has its place before the request does anything: without one the answer is 503.
    """

    def __init__(
        self, app: ASGIApp, parts: AuditParts, routes: Iterable[Declared], open_paths: OpenPaths
    ) -> None:
        self._app = app
        self._parts = parts
        self._routes = [(compile_path(one.pattern)[0], one) for one in routes]
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        try:
            await self._parts.trail.place()
        except StorageError as error:
            await problem_of(Request(scope), error)(scope, receive, send)
            return
        await self._recorded(_Recording(self._parts, self._asked(scope), scope, send), receive)

    async def _recorded(self, recording: "_Recording", receive: Receive) -> None:
        try:
            await self._app(recording.scope, receive, recording.send)
        finally:
            recording.end(_FAILED)  # unless it was answered

    def _asked(self, scope: Scope) -> "_Asked":
        for path, route in self._routes:
            if scope["method"] in route.methods and (found := path.match(scope["path"])) is not None:
                return _Asked(route, found.groupdict())
        return _Asked(None, {})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A route, None when it is none of ours, and what stands in its path."""

    route: Declared | None
    named: dict[str, str]

    @property
    def session_id(self) -> str | None:
        """Of a denied request, too."""
        with suppress(SessionNotFoundError):
            return known_form(self.named.get("session_id", ""))
        return None

    @property
    def approval_id(self) -> str | None:
        """Likewise; what is none is not kept, for it could be any text."""
        found = _APPROVAL_ID.fullmatch(self.named.get("approval_id", ""))
        return found[0] if found else None


class _Recording:
    """One request; its entry is recorded when its answer begins, or does not come."""

    def __init__(self, parts: AuditParts, asked: _Asked, scope: Scope, send: Send) -> None:
        self.scope = scope
        self._parts = parts
        self._asked = asked
        self._send = send
        self._is_over = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.end(message["status"])
        await self._send(message)

    def end(self, status: int) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._is_of_interest(status):
            self._parts.trail.record(self._entry(status))
        else:
            self._parts.trail.give_back()

    def _is_of_interest(self, status: int) -> bool:
        """One that came too often did nothing, and would fill the audit; so would those of strangers when
        nobody can find out who asks."""
        if self._caller is None:
            return status == _UNAUTHORIZED and "left_out" not in self.scope["state"]
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return True
        route = self._asked.route
        if route is None or status == _TOO_MANY:
            return False
        if self.scope["method"] not in _READS or route.access is Access.ADMIN:
            return True
        is_hidden = status == _NOT_FOUND and route.access is Access.OWNER
        return is_hidden or self._reads_of_another()

    def _reads_of_another(self) -> bool:
        caller = self._caller
        if caller is None or caller.credential is None or not (caller.acts_for_any or caller.is_admin):
            return False
        return caller.user_id is None or self._user_id != caller.user_id

    def _entry(self, status: int) -> AuditEntry:
        about, route = self._about, self._asked.route
        return AuditEntry(
            id=self._parts.ids.audit_id(),
            at=self._parts.clock.now(),
            caller=CallerKind.of(self._caller),
            credential=None if self._caller is None else self._caller.credential,
            user_id=self._user_id,
            method=self.scope["method"],
            route=None if route is None else route.path,
            session_id=about.get("session_id", self._asked.session_id),
            key_id=about.get("key_id"),
            status=status,
            request_id=self.scope["state"]["request_id"],
            client=client_address(self.scope),
            approval_id=self._asked.approval_id,
            decision=Decision(about["decision"]) if "decision" in about else None,
        )

    @property
    def _caller(self) -> Caller | None:
        caller: Caller | None = self.scope["state"].get("caller")
        return caller

    @property
    def _about(self) -> dict[str, str]:
        about: dict[str, str] = self.scope["state"].get("logged", {})
        return about

    @property
    def _user_id(self) -> str | None:
        """Whose things it was about, else who asked."""
        own = None if self._caller is None else self._caller.user_id
        return self._about.get("user_id", own)
