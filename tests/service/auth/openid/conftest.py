"""An issuer on a port of its own, and what recognizes its tokens."""

from collections.abc import AsyncIterator

import pytest
from tests.service.auth.issuer import StandInIssuer
from tests.service.auth.openid.bearers import EC, RSA, tokens_of

from claude_agent_http.auth.tokens import Tokens
from claude_agent_http.system.loopback import LoopbackServer


@pytest.fixture
async def issuer() -> AsyncIterator[StandInIssuer]:
    made = StandInIssuer([RSA, EC])
    async with LoopbackServer(made.app()) as server:
        made.url = server.url
        yield made


@pytest.fixture
async def tokens(issuer, clock) -> AsyncIterator[Tokens]:
    async with tokens_of(issuer, clock) as made:
        yield made
