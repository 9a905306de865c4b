"""Who calls."""

from typing import Protocol

from claude_agent_http.domain.caller import Caller

__all__ = ["Authenticator"]


class Authenticator(Protocol):
    async def caller(self, credential: str | None) -> Caller:
        """Whose credential (an API key or a token) this is; None: none was shown. It is asked for every
        request, so what it knows already costs no wait.

        Raises NotAuthenticatedError; StorageError or IssuerError when it cannot find out now.
        """
        ...
