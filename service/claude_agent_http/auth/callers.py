"""An authenticator made of several ways to know a caller."""

from collections.abc import Sequence
from typing import Protocol

from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import CredentialMissingError, NotAuthenticatedError

__all__ = ["Callers", "Recognizer"]


class Recognizer(Protocol):
    async def recognize(self, shown: str, *, suspect: bool = False) -> Caller | None:
        """Whose this is; None for what is none of this kind. It waits only for what it does not know yet.

        Raises NotAuthenticatedError for one of this kind that is not valid, BusyError, StorageError,
        IssuerError.
        """
        ...


class Callers:
    """See `ports.Authenticator`. The first that recognizes a credential decides."""

    def __init__(self, recognizers: Sequence[Recognizer]) -> None:
        self._recognizers = recognizers

    async def caller(self, credential: str | None, *, suspect: bool = False) -> Caller:
        if credential is None:
            raise CredentialMissingError
        for recognizer in self._recognizers:
            if (caller := await recognizer.recognize(credential, suspect=suspect)) is not None:
                return caller
        raise NotAuthenticatedError("the credential is not known to this service")
