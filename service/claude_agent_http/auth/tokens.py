"""JSON Web Tokens of one OpenID issuer."""

import asyncio
import math
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from claude_agent_http.auth.claims import ClaimRules
from claude_agent_http.auth.lane import Lane, Lanes
from claude_agent_http.auth.signing_keys import ALGORITHMS, SigningKeys
from claude_agent_http.domain.api_key import digest_of
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import BusyError, NotAuthenticatedError
from claude_agent_http.ports import Clock

__all__ = ["LEEWAY_SECONDS", "Tokens"]

LEEWAY_SECONDS = 30.0
"""By so much the issuer's clock may differ."""

_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_LONGEST_KEY_ID = 256
_MOST_CHECKED = 10_000
_FAULTS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is for somebody else (aud); auth.oidc_audience says for whom it should be",
    jwt.InvalidIssuerError: "another issuer made it (iss); auth.oidc_issuer says which should",
    jwt.InvalidSignatureError: "its signature is wrong",
}


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token that was found good under the keys of that `edition`, and is until then, in Unix seconds."""

    caller: Caller
    edition: int
    until: float


class Tokens:
    """Recognizes what looks like a signed token. `algorithms` are some of ALGORITHMS.

    A signature costs a fifth of a millisecond, so a token is checked once, and again when the issuer's keys
    are others. Who tries tokens makes bounded work: one is checked between two moments when others go on.
    """

    def __init__(
        self,
        keys: SigningKeys,
        rules: ClaimRules,
        clock: Clock,
        *,
        issuer: str,
        audience: Collection[str],
        algorithms: Collection[str],
    ) -> None:
        if not set(algorithms) <= ALGORITHMS.keys():
            raise ValueError(f"only these sign tokens: {', '.join(ALGORITHMS)}")
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._checked: OrderedDict[str, _Checked] = OrderedDict()
        self._lanes = Lanes(_lane(waiting=1_000), _lane(waiting=256))
        self._issuer = issuer
        self._audience = audience
        self._algorithms = algorithms

    async def recognize(self, shown: str, *, suspect: bool = False) -> Caller | None:
        if _FORM.fullmatch(shown) is None:
            return None
        digest = digest_of(shown)
        if (known := self._known(digest)) is not None:
            return known
        algorithm, key_id = self._header(shown)
        # Before the lane: who waits for the issuer must not be in the way of tokens whose key is known.
        key = await self._keys.find(key_id, algorithm)
        edition = self._keys.edition
        async with self._lanes.of(suspect=suspect).turn():
            await asyncio.sleep(0)
            if (known := self._known(digest)) is not None:  # checked while this one waited
                return known
            checked = self._check(shown, key, algorithm, edition)
        self._checked[digest] = checked
        if len(self._checked) > _MOST_CHECKED:
            self._checked.popitem(last=False)
        return checked.caller

    def _known(self, digest: str) -> Caller | None:
        known, now = self._checked.get(digest), self._clock.now().timestamp()
        if known is None or known.edition != self._keys.edition or now >= known.until:
            return None
        return known.caller

    def _check(self, token: str, key: jwt.PyJWK, algorithm: str, edition: int) -> _Checked:
        claims = self._claims(token, key, algorithm)
        return _Checked(self._rules.caller(claims), edition, _end(claims) + LEEWAY_SECONDS)

    def _header(self, token: str) -> tuple[str, str | None]:
        """What of it is believed before the signature is: which of the allowed ways to check it."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise NotAuthenticatedError("the token cannot be read") from None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            allowed = ", ".join(self._algorithms)
            raise NotAuthenticatedError(
                f"the token is signed in a way that is not allowed; allowed: {allowed}"
            )
        if key_id is not None and (not isinstance(key_id, str) or len(key_id) > _LONGEST_KEY_ID):
            raise NotAuthenticatedError("the token names no key (kid) of its issuer")
        return str(algorithm), key_id

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=list(self._audience),
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.MissingRequiredClaimError as error:
            raise NotAuthenticatedError(f"the token is not valid: it has no {error.claim}") from None
        except jwt.PyJWTError as error:
            fault = next(
                (said for kind, said in _FAULTS.items() if isinstance(error, kind)), "it makes no sense"
            )
            raise NotAuthenticatedError(f"the token is not valid: {fault}") from None
        except OverflowError:  # a time of its claims is infinite
            raise NotAuthenticatedError("the token is not valid: it makes no sense") from None


def _end(claims: Mapping[str, Any]) -> float:
    """When the token expires; one that is later than any number of seconds never does."""
    try:
        return float(int(claims["exp"]))
    except OverflowError:
        return math.inf


def _lane(*, waiting: int) -> Lane:
    return Lane(at_once=1, waiting=waiting, full=_too_many)


def _too_many() -> BusyError:
    return BusyError("too many tokens are being checked at once; try again in a moment", retry_after=1)
