"""The tokens of an OpenID issuer, put together."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from claude_agent_http.auth.claims import ClaimRule, ClaimRules
from claude_agent_http.auth.issuer import Issuer
from claude_agent_http.auth.signing_keys import SigningKeys, fits
from claude_agent_http.auth.tokens import Tokens
from claude_agent_http.ports import Clock

__all__ = ["ClaimRule", "ClaimRules", "openid_tokens", "usable_keys"]


@asynccontextmanager
async def openid_tokens(
    clock: Clock,
    rules: ClaimRules,
    *,
    issuer: str,
    audience: Collection[str],
    algorithms: Collection[str],
    keys_url: str | None = None,
) -> AsyncIterator[Tokens]:
    """The issuer's keys are kept up to date until the end. An issuer that does not answer stops nothing, and
    for more than a second it holds up only who shows a token."""
    async with Issuer(issuer, keys_url) as asked:
        keys = SigningKeys(asked.keys, clock)
        async with keys.renewed():
            yield Tokens(keys, rules, clock, issuer=issuer, audience=audience, algorithms=algorithms)


async def usable_keys(issuer: str, keys_url: str | None, algorithms: Collection[str]) -> int:
    """How many keys the issuer has for tokens that are signed in one of these ways. Raises IssuerError."""
    async with Issuer(issuer, keys_url) as asked:
        keys = await asked.keys()
    return sum(any(fits(key, algorithm) for algorithm in algorithms) for key in keys)
