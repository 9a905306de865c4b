"""The tokens of an OpenID issuer, put together."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from claude_agent_http.auth.claims import ClaimRule, ClaimRules
from claude_agent_http.auth.issuer import Issuer
from claude_agent_http.auth.signing_keys import SigningKeys
from claude_agent_http.auth.tokens import Tokens
from claude_agent_http.ports import Clock

__all__ = ["ClaimRule", "ClaimRules", "openid_tokens"]


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
    """The issuer's keys are kept up to date until the end. An issuer that does not answer stops nothing."""
    async with Issuer(issuer, keys_url) as asked:
        keys = SigningKeys(asked.keys, clock)
        async with keys.renewed():
            yield Tokens(keys, rules, clock, issuer=issuer, audience=audience, algorithms=algorithms)
