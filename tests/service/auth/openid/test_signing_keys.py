"""How the keys of an issuer are had, and what it may not answer."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest
from starlette.responses import RedirectResponse, Response
from tests.service.auth.issuer import AUDIENCE, rsa_key
from tests.service.auth.openid.bearers import DISCOVERY, EC, RSA, refused, renamed, tokens_of
from tests.waiting import until

from claude_agent_http.auth.issuer import Issuer
from claude_agent_http.auth.signing_keys import SigningKeys
from claude_agent_http.domain.errors import IssuerError, NotAuthenticatedError


async def test_a_new_key_is_fetched_once_and_an_old_one_dies(issuer, clock):
    async with tokens_of(issuer, clock) as tokens:
        old, new = issuer.token(RSA), rsa_key("new")
        assert await tokens.recognize(old)
        issuer.keys = [new]
        await refused(tokens, issuer.token(new), "does not have")  # it was asked a moment ago
        clock.advance(10)
        before = len(issuer.asked)
        found = await asyncio.gather(*(tokens.recognize(issuer.token(new)) for _ in range(50)))
        assert {caller.user_id for caller in found} == {"alice"}
        assert issuer.asked[before:] == [DISCOVERY, "/keys"]
        await refused(tokens, old, "does not have")
        for number in range(50):
            await refused(tokens, issuer.token(renamed(number)), "does not have")
        assert issuer.asked[before:] == [DISCOVERY, "/keys"]


async def test_keys_are_renewed_by_themselves(issuer, clock):
    async with Issuer(issuer.url) as asked:
        keys = SigningKeys(asked.keys, clock, renew_seconds=0.02)
        async with keys.renewed():
            assert await keys.find("rsa", "RS256")
            issuer.keys = [EC]

            async def gone() -> bool:
                try:
                    await keys.find("rsa", "RS256")
                except NotAuthenticatedError:
                    return True
                return False

            await until(gone)


async def test_known_keys_are_used_while_the_issuer_is_away(issuer, clock):
    async with tokens_of(issuer, clock) as tokens:
        issuer.answers = dict.fromkeys((DISCOVERY, "/keys"), Response("", 503))
        clock.advance(10)
        with pytest.raises(IssuerError) as caught:
            await tokens.recognize(issuer.token(renamed(1)))
        assert issuer.url not in str(caught.value)
        assert await tokens.recognize(issuer.token())


async def test_a_service_starts_without_its_issuer_and_takes_tokens_when_it_comes(issuer, clock):
    issuer.answers = {DISCOVERY: Response("", 503)}
    async with tokens_of(issuer, clock) as tokens:
        with pytest.raises(IssuerError):
            await tokens.recognize(issuer.token())
        issuer.answers.clear()
        clock.advance(10)
        assert await tokens.recognize(issuer.token())


async def test_an_issuer_that_hangs_holds_up_only_who_needs_its_keys(clock):
    answer = asyncio.Event()

    async def fetch() -> list[dict[str, Any]]:
        await answer.wait()
        return [{**RSA.public, "kid": "rsa"}]

    keys = SigningKeys(fetch, clock, start_seconds=0.01)
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(1):
            await stack.enter_async_context(keys.renewed())
        finding = [asyncio.create_task(keys.find("rsa", "RS256")) for _ in range(3)]
        await asyncio.wait(finding, timeout=0.05)
        assert not any(one.done() for one in finding)
        answer.set()
        found = await asyncio.gather(*finding)
        assert {key.key_type for key in found} == {"RSA"}


async def test_at_the_start_the_issuer_is_asked_once_for_whoever_comes(issuer, clock):
    async with tokens_of(issuer, clock) as tokens:
        await asyncio.gather(*(tokens.recognize(issuer.token(jti=str(number))) for number in range(10)))
        await asyncio.sleep(0.05)
    assert issuer.asked == [DISCOVERY, "/keys"]


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        (DISCOVERY, Response("{"), "JSON"),
        (DISCOVERY, Response("[]"), "JSON object"),
        (DISCOVERY, Response('{"issuer": "http://other.example"}'), "calls itself 'http://other.example'"),
        (DISCOVERY, RedirectResponse("/moved"), "answered 307"),
        ("/keys", Response("x" * 1_100_000), "more than 1048576 bytes"),
        ("/keys", Response('{"keys": {}}'), "no JSON Web Key Set"),
        ("/keys", Response("", 404), "answered 404"),
    ],
)
async def test_what_an_issuer_may_not_answer(issuer, path, answer, said):
    issuer.answers[path] = answer
    async with Issuer(issuer.url) as asked:
        with pytest.raises(IssuerError, match=said):
            await asked.keys()


async def test_keys_can_be_somewhere_else_but_not_behind_http_of_an_issuer_by_https(issuer):
    async with Issuer("https://issuer.example", f"{issuer.url}/keys") as asked:
        assert [key["kid"] for key in await asked.keys()] == ["rsa", "ec"]
    issuer.answers[DISCOVERY] = Response(json.dumps({"issuer": issuer.url, "jwks_uri": "file:///etc/passwd"}))
    async with Issuer(issuer.url) as asked:
        with pytest.raises(IssuerError, match="jwks_uri"):
            await asked.keys()


async def test_an_issuer_that_cannot_be_reached_is_told_without_a_traceback():
    async with Issuer("http://127.0.0.1:1") as asked:
        with pytest.raises(IssuerError, match="cannot be reached"):
            await asked.keys()


async def test_a_token_without_a_key_id_needs_the_only_key(issuer, clock):
    now = int(time.time())
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "alice", "exp": now + 60}
    bare = jwt.encode(claims, RSA.private, "RS256")
    async with tokens_of(issuer, clock) as tokens:
        assert await tokens.recognize(bare)
    issuer.keys = [rsa_key("other"), RSA]
    async with AsyncExitStack() as stack:
        await refused(await stack.enter_async_context(tokens_of(issuer, clock)), bare, "does not have")
