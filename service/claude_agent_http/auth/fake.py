"""The fake beside the real authenticators."""

from collections.abc import Mapping

from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import CredentialMissingError, NotAuthenticatedError

__all__ = ["KnownCallers"]


class KnownCallers:
    """Knows callers by what they show, which may be given and taken at any time."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self.callers = dict(callers)

    async def caller(self, credential: str | None, *, suspect: bool = False) -> Caller:
        if credential is None:
            raise CredentialMissingError
        if credential not in self.callers:
            raise NotAuthenticatedError("this credential is not known")
        return self.callers[credential]
