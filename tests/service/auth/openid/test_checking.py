"""How often a token is checked, and how much work who tries tokens can make."""

import asyncio
import time
from typing import Any

import jwt
from tests.service.auth.openid.bearers import RSA, refused, renamed, tokens_of
from tests.waiting import until

from claude_agent_http.auth.tokens import LEEWAY_SECONDS
from claude_agent_http.domain.errors import BusyError, NotAuthenticatedError
from claude_agent_http.system.clock import SystemClock


async def test_a_token_is_checked_once_and_again_when_the_keys_are_others(issuer, clock, monkeypatch):
    checked: list[str] = []
    decode = jwt.decode

    def counted(token: str, *given: Any, **options: Any) -> Any:
        checked.append(token)
        return decode(token, *given, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    async with tokens_of(issuer, clock) as tokens:
        hers = issuer.token()
        for _ in range(10):
            assert (await tokens.recognize(hers)).user_id == "alice"
        assert checked == [hers]
        issuer.keys = [RSA]
        clock.advance(10)
        await refused(tokens, issuer.token(renamed(1)), "does not have")
        assert await tokens.recognize(hers)
        assert checked == [hers, hers]


async def test_who_tries_tokens_makes_bounded_work_and_holds_up_nobody(tokens, issuer, monkeypatch):
    """Between two checks everything else goes on; those of suspects wait in a line of their own."""
    head, body, _ = issuer.token().split(".")
    forged = [f"{head}.{body}.{number:0344d}" for number in range(2_000)]
    turns, checked_at, decode = 0, [], jwt.decode

    def counted(*given: Any, **options: Any) -> Any:
        checked_at.append(turns)
        return decode(*given, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    tries = [asyncio.create_task(tokens.recognize(one, suspect=True)) for one in forged]
    await asyncio.sleep(0)
    hers = asyncio.create_task(tokens.recognize(issuer.token()))
    while not hers.done():
        turns += 1
        await asyncio.sleep(0)
    assert (await hers).user_id == "alice"
    assert turns < 20
    while not all(one.done() for one in tries):
        turns += 1
        await asyncio.sleep(0)
    assert max(checked_at.count(turn) for turn in set(checked_at)) <= 2
    ends = [type(one.exception()) for one in tries]
    assert set(ends) == {NotAuthenticatedError, BusyError}
    assert len(checked_at) <= 258


async def test_a_herd_with_one_new_token_checks_it_once(tokens, issuer, monkeypatch):
    checked, decode, hers = [], jwt.decode, issuer.token()

    def counted(*given: Any, **options: Any) -> Any:
        checked.append(given)
        return decode(*given, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    found = await asyncio.gather(*(tokens.recognize(hers) for _ in range(50)))
    assert {caller.user_id for caller in found} == {"alice"}
    assert len(checked) == 1


async def test_a_checked_token_still_expires(issuer):
    async with tokens_of(issuer, SystemClock()) as tokens:
        hers = issuer.token(exp=int(time.time() - LEEWAY_SECONDS) + 2)
        assert await tokens.recognize(hers)

        async def has_expired() -> bool:
            try:
                return await tokens.recognize(hers) is None
            except NotAuthenticatedError:
                return True

        await until(has_expired, 10)
        await refused(tokens, hers, "has expired")
