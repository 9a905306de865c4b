"""An issuer's public keys: kept, renewed, and asked for again when a token names one that is not known."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import jwt
import structlog

from claude_agent_http.domain.errors import IssuerError, NotAuthenticatedError
from claude_agent_http.ports import Clock

__all__ = ["ALGORITHMS", "SigningKeys", "fits"]

ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""The type of key that each needs. None is symmetric: then a public key would make tokens."""

_MOST_KEYS = 100
_MOST_WAITING = 100
# Whoever asks is not known yet: where the issuer is, and why it does not answer, is for the log.
_AGAIN = "the keys of the tokens' issuer cannot be had now; try again in a few seconds"
_log = structlog.get_logger(__name__)


class SigningKeys:
    """`fetch` asks the issuer. Keys that it gave are used until it gives others, also while it does not
    answer; they are renewed every `renew_seconds`, and for an unknown id at most every `again_seconds`."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Sequence[dict[str, Any]]]],
        clock: Clock,
        *,
        renew_seconds: float = 300.0,
        again_seconds: float = 10.0,
        start_seconds: float = 1.0,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._renew_seconds = renew_seconds
        self._again_seconds = again_seconds
        self._start_seconds = start_seconds
        self.edition = 0
        """Another number for other keys."""
        self._keys: Sequence[dict[str, Any]] = ()
        self._made: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._asked_at = -math.inf
        self._failure: IssuerError | None = None
        self._asking = asyncio.Lock()
        self._was_asked = asyncio.Event()
        self._waiting = 0

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """The issuer is asked now, and from time to time until the end. Its keys are there inside, if it
        answers within `start_seconds`; later, only who needs one waits for it."""
        renewing = asyncio.create_task(self._renew(), name="keys of the issuer")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._start_seconds):
                    await self._was_asked.wait()
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Raises NotAuthenticatedError for a key that the issuer does not have, IssuerError while it has not
        said which it has."""
        if (key := self._known(key_id, algorithm)) is not None:
            return key
        await self._ask_again()
        if (key := self._known(key_id, algorithm)) is not None:
            return key
        if self._failure is not None:
            raise IssuerError(_AGAIN) from self._failure
        raise NotAuthenticatedError("the token is signed with a key that its issuer does not have")

    def _known(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        if (key_id, algorithm) in self._made:
            return self._made[key_id, algorithm]
        named = [key for key in self._keys if key_id in (None, key.get("kid"))]
        fitting = [key for key in named if fits(key, algorithm)]
        # Without an id there is no guessing: then only one key may fit.
        if not fitting or (key_id is None and len(fitting) > 1):
            return None
        try:
            made = jwt.PyJWK(fitting[0], algorithm)
        except jwt.PyJWTError:
            return None
        self._made[key_id, algorithm] = made
        return made

    async def _ask_again(self) -> None:
        """One at a time: who waited finds what the one before it was told."""
        if self._waiting >= _MOST_WAITING:
            raise IssuerError(_AGAIN)
        self._waiting += 1
        try:
            async with self._asking:
                if self._clock.monotonic() - self._asked_at >= self._again_seconds:
                    await self._ask()
        finally:
            self._waiting -= 1

    async def _ask(self) -> None:
        self._asked_at = self._clock.monotonic()
        try:
            keys = tuple(await self._fetch())[:_MOST_KEYS]
        except IssuerError as error:
            self._failure = error
            _log.warning("the issuer's keys cannot be had", reason=str(error), known=len(self._keys))
            return
        self._failure = None
        if keys != self._keys:
            self._keys, self._made = keys, {}
            self.edition += 1
            _log.info("the issuer's keys were read", keys=[str(key.get("kid"))[:64] for key in keys])

    async def _renew(self) -> None:
        while True:
            async with self._asking:
                try:
                    await self._ask()
                except Exception:
                    _log.exception("the issuer's keys could not be renewed")
            self._was_asked.set()
            await asyncio.sleep(self._again_seconds if self._failure else self._renew_seconds)


def fits(key: dict[str, Any], algorithm: str) -> bool:
    """Whether a JSON Web Key can check what is signed so."""
    return (
        key.get("kty") == ALGORITHMS[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )
