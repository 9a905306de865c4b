"""Who calls."""

from typing import Protocol

from claude_agent_http.domain.caller import Caller

__all__ = ["Authenticator"]


class Authenticator(Protocol):
    async def caller(self, credential: str | None, *, suspect: bool = False) -> Caller:
        """Whose credential (an API key or a token) this is; None: none was shown. It is asked for every
        request, so what it knows already costs no wait. `suspect`: many credentials were refused where this
        one comes from, so finding out whose it is must hold up nobody from elsewhere.

        Raises NotAuthenticatedError; BusyError, StorageError or IssuerError when it cannot find out now.
        """
        ...
