"""What the tests of tokens share: a local issuer's keys, and how its tokens are taken."""

from dataclasses import replace
from typing import Any

import pytest
from tests.service.auth.issuer import AUDIENCE, SigningKey, ec_key, ed_key, rsa_key

from claude_agent_http.auth.claims import ClaimRule, ClaimRules
from claude_agent_http.auth.openid import openid_tokens
from claude_agent_http.auth.tokens import Tokens
from claude_agent_http.domain.errors import NotAuthenticatedError

DISCOVERY = "/.well-known/openid-configuration"
RULES = ClaimRules("sub", admin=ClaimRule("groups=admins"), act_as=ClaimRule("backend"))
RSA, EC, ED = rsa_key("rsa"), ec_key("ec"), ed_key("ed")


def tokens_of(issuer, clock, **options: Any):
    given = {"issuer": issuer.url, "audience": [AUDIENCE], "algorithms": ["RS256", "ES256"], **options}
    return openid_tokens(clock, RULES, **given)


async def refused(tokens: Tokens, token: str, said: str) -> None:
    with pytest.raises(NotAuthenticatedError, match=said) as caught:
        assert await tokens.recognize(token) is not None
    assert token.split(".")[1] not in str(caught.value)


def renamed(number: int) -> SigningKey:
    """The same key under another id: making one takes a tenth of a second."""
    return replace(RSA, id=f"unknown-{number}")
