"""Limits of a real service, whose agents' tokens are metered by the gateway."""

import pytest
from tests.service.e2e.client import Client
from tests.service.e2e.service_process import Services

pytestmark = pytest.mark.tier("cli", "linux")


async def test_who_used_the_tokens_of_a_minute_waits_and_others_do_not(services: Services) -> None:
    service = services.start(CLAUDE_AGENT_LIMITS_TOKENS_PER_MINUTE="5", CLAUDE_AGENT_PRESTART="false")
    async with Client(service.url) as client:
        hers, his = await client.create("ann"), await client.create("bob")
        assert await client.say(hers, "hello")
        refused = await client.chat(hers, "hello again")
        assert refused.status_code == 429
        assert refused.json()["type"].endswith(":rate_limited")
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.headers["RateLimit-Policy"] == '"tokens";q=5;w=60'
        assert await client.say(his, "hello")
