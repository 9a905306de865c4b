"""Tokens of a real local issuer: which are taken, what they make of their bearer, how its keys are had."""

import asyncio
import base64
import hmac
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from tests.service.auth.issuer import AUDIENCE, SigningKey, StandInIssuer, ec_key, ed_key, rsa_key
from tests.waiting import until

from claude_agent_http.api.authentication import MAX_CREDENTIAL, credential_of
from claude_agent_http.auth.claims import ClaimRule, ClaimRules
from claude_agent_http.auth.issuer import Issuer
from claude_agent_http.auth.openid import openid_tokens
from claude_agent_http.auth.signing_keys import ALGORITHMS, SigningKeys
from claude_agent_http.auth.tokens import LEEWAY_SECONDS, Tokens
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import BusyError, IssuerError, NotAuthenticatedError
from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.loopback import LoopbackServer

DISCOVERY = "/.well-known/openid-configuration"
RULES = ClaimRules("sub", admin=ClaimRule("groups=admins"), act_as=ClaimRule("backend"))
RSA, EC, ED = rsa_key("rsa"), ec_key("ec"), ed_key("ed")


@pytest.fixture
async def issuer() -> AsyncIterator[StandInIssuer]:
    made = StandInIssuer([RSA, EC])
    async with LoopbackServer(made.app()) as server:
        made.url = server.url
        yield made


@pytest.fixture
async def tokens(issuer, clock) -> AsyncIterator[Tokens]:
    async with _tokens(issuer, clock) as made:
        yield made


def _tokens(issuer, clock, **options: Any):
    given = {"issuer": issuer.url, "audience": [AUDIENCE], "algorithms": ["RS256", "ES256"], **options}
    return openid_tokens(clock, RULES, **given)


async def refused(tokens: Tokens, token: str, said: str) -> None:
    with pytest.raises(NotAuthenticatedError, match=said) as caught:
        assert await tokens.recognize(token) is not None
    assert token.split(".")[1] not in str(caught.value)


@pytest.mark.parametrize("key", [RSA, EC], ids=lambda key: key.algorithm)
async def test_a_token_of_the_issuer_is_its_user(tokens, issuer, key):
    assert await tokens.recognize(issuer.token(key)) == Caller("alice", credential="oidc:alice")
    assert await tokens.recognize(issuer.token(key, aud=["other", AUDIENCE])) is not None
    assert issuer.asked == [DISCOVERY, "/keys"]


@pytest.mark.parametrize("algorithm", [name for name, kind in ALGORITHMS.items() if kind == "RSA"])
async def test_every_allowed_way_of_signing(issuer, clock, algorithm):
    issuer.keys = [rsa_key("k", algorithm), ED]
    async with _tokens(issuer, clock, algorithms=[algorithm, "EdDSA"]) as tokens:
        for key in issuer.keys:
            assert (await tokens.recognize(issuer.token(key))).user_id == "alice"


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "other"}, r"\(aud\)"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "has no aud"),
        ({"iss": "https://other.example"}, r"\(iss\)"),
        ({"iss": None}, "has no iss"),
        ({"exp": None}, "has no exp"),
        ({"exp": timedelta(seconds=-LEEWAY_SECONDS - 5)}, "has expired"),
        ({"nbf": timedelta(seconds=LEEWAY_SECONDS + 60)}, "not valid yet"),
        ({"iat": timedelta(seconds=LEEWAY_SECONDS + 60)}, "not valid yet"),
        ({"exp": "soon"}, "makes no sense"),
        ({"exp": math.inf}, "makes no sense"),
        ({"exp": math.nan}, "makes no sense"),
        ({"nbf": math.inf}, "makes no sense"),
        ({"iat": -math.inf}, "makes no sense"),
        ({"sub": None}, "'sub' is no user's id"),
        ({"sub": "auth0|7"}, "'sub' is no user's id"),
        ({"sub": "../bob"}, "'sub' is no user's id"),
        ({"sub": "a" * 65}, "'sub' is no user's id"),
    ],
)
async def test_what_a_token_must_say(tokens, issuer, claims, said):
    """A timedelta is a time from now."""
    given = {
        name: int(time.time() + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
    }
    await refused(tokens, issuer.token(**given), said)


async def test_a_token_that_expires_later_than_numbers_go_is_taken(tokens, issuer):
    hers = issuer.token(exp=10**400)
    for _ in range(2):
        assert (await tokens.recognize(hers)).user_id == "alice"


@pytest.mark.parametrize("claim", ["exp", "nbf"])
async def test_clocks_may_differ_a_little(tokens, issuer, claim):
    moment = time.time() + (5 - LEEWAY_SECONDS if claim == "exp" else LEEWAY_SECONDS - 5)
    assert await tokens.recognize(issuer.token(**{claim: int(moment)}))


def unsigned(issuer: StandInIssuer, algorithm: str) -> str:
    body = issuer.token().split(".")[1]
    fake = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "rsa"}).encode()).rstrip(b"=")
    return f"{fake.decode()}.{body}."


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
async def test_an_unsigned_token_is_none(tokens, issuer, algorithm):
    await refused(tokens, unsigned(issuer, algorithm), "not allowed")


async def test_a_public_key_signs_nothing(tokens, issuer):
    """HS256 with what everybody can read as its secret: the key in each form, and as the issuer writes it."""
    secrets = [
        RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        RSA.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(RSA.public).encode(),
    ]
    for secret in secrets:
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').rstrip(b"=").decode()
        signed = f"{head}.{issuer.token().split('.')[1]}"
        mac = hmac.digest(secret, signed.encode(), "sha256")
        await refused(
            tokens, f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}", "not allowed"
        )
    with pytest.raises(ValueError, match="only these"):
        Tokens(None, RULES, None, issuer="", audience=[], algorithms=["HS256"])  # type: ignore[arg-type]


async def test_a_secret_among_the_keys_is_passed_over(issuer, clock):
    issuer.answers["/keys"] = Response(json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"}]}))
    async with _tokens(issuer, clock) as tokens:
        await refused(tokens, issuer.token(), "does not have")


async def test_a_forged_or_changed_token_is_refused(tokens, issuer):
    await refused(tokens, issuer.token(rsa_key("rsa")), "signature is wrong")
    head, _, signature = issuer.token().split(".")
    await refused(tokens, f"{head}.{issuer.token(sub='bob').split('.')[1]}.{signature}", "signature is wrong")
    await refused(tokens, issuer.token(EC, {"kid": "rsa"}), "does not have")
    own = issuer.token(rsa_key("rsa"), {"jwk": rsa_key("rsa").public, "jku": "http://127.0.0.1:1/"})
    await refused(tokens, own, "signature is wrong")


@pytest.mark.parametrize("shown", ["", "a", "a.b", "a.b.c.d", "a b.c.d", "cah_a_b", "ä.b.c", "..", "a..c"])
async def test_what_does_not_look_like_a_token_is_left_to_others(tokens, shown):
    assert await tokens.recognize(shown) is None


@pytest.mark.parametrize(
    "head", ["e30", "bnVsbA", "W10", "eyJhbGciOjF9", "eyJhbGciOiJSUzI1NiIsImtpZCI6MX0", "-"]
)
async def test_a_head_without_sense_is_refused(tokens, issuer, head):
    await refused(tokens, f"{head}.{issuer.token().partition('.')[2]}", "token")


async def test_a_large_token_is_refused_before_it_is_read(tokens, issuer):
    large = issuer.token(filler="x" * MAX_CREDENTIAL)
    with pytest.raises(NotAuthenticatedError, match="longer than"):
        credential_of(Headers({"authorization": f"Bearer {large}"}))
    await refused(tokens, issuer.token(RSA, {"kid": "k" * 300}), "names no key")


async def test_claims_make_admins_and_who_acts_for_any(tokens, issuer):
    admin = await tokens.recognize(issuer.token(groups=["users", "admins"]))
    assert admin == Caller("alice", is_admin=True, credential="oidc:alice")
    backend = await tokens.recognize(issuer.token(sub="client@clients", backend=True))
    assert backend == Caller(None, acts_for_any=True, credential="oidc:client@clients")
    for claims in ({"groups": "users"}, {"groups": {"admins": True}}, {"backend": "true"}, {"backend": 1}):
        assert await tokens.recognize(issuer.token(**claims)) == Caller("alice", credential="oidc:alice")


@pytest.mark.parametrize(
    ("rule", "claims", "holds"),
    [
        ("role=a", {"role": "a"}, True),
        ("role=a", {"role": ["b", "a"]}, True),
        ("role=a", {"role": "ab"}, False),
        ("role=a", {}, False),
        ("role", {"role": True}, True),
        ("role", {"role": "true"}, False),
        ("realm_access.roles=a", {"realm_access": {"roles": ["a"]}}, True),
        ("realm_access.roles=a", {"realm_access": ["roles"]}, False),
        ("https://x.example/roles=a", {"https://x.example/roles": ["a"]}, True),
        ("role=a=b", {"role": "a=b"}, True),
    ],
)
def test_what_a_rule_means(rule, claims, holds):
    assert ClaimRule(rule).holds(claims) is holds


def test_a_subject_cannot_write_into_the_log():
    caller = ClaimRules("name").caller({"sub": "a\n\x1b[31mroot" + "x" * 500, "name": "alice"})
    assert caller.credential == "oidc:a??[31mroot" + "x" * 89


async def test_a_new_key_is_fetched_once_and_an_old_one_dies(issuer, clock):
    async with _tokens(issuer, clock) as tokens:
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


def renamed(number: int) -> SigningKey:
    """The same key under another id: making one takes a tenth of a second."""
    return replace(RSA, id=f"unknown-{number}")


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
    async with _tokens(issuer, clock) as tokens:
        issuer.answers = dict.fromkeys((DISCOVERY, "/keys"), Response("", 503))
        clock.advance(10)
        with pytest.raises(IssuerError) as caught:
            await tokens.recognize(issuer.token(renamed(1)))
        assert issuer.url not in str(caught.value)
        assert await tokens.recognize(issuer.token())


async def test_a_token_is_checked_once_and_again_when_the_keys_are_others(issuer, clock, monkeypatch):
    checked: list[str] = []
    decode = jwt.decode

    def counted(token: str, *given: Any, **options: Any) -> Any:
        checked.append(token)
        return decode(token, *given, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    async with _tokens(issuer, clock) as tokens:
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
    async with _tokens(issuer, SystemClock()) as tokens:
        hers = issuer.token(exp=int(time.time() - LEEWAY_SECONDS) + 2)
        assert await tokens.recognize(hers)

        async def has_expired() -> bool:
            try:
                return await tokens.recognize(hers) is None
            except NotAuthenticatedError:
                return True

        await until(has_expired, 10)
        await refused(tokens, hers, "has expired")


async def test_a_service_starts_without_its_issuer_and_takes_tokens_when_it_comes(issuer, clock):
    issuer.answers = {DISCOVERY: Response("", 503)}
    async with _tokens(issuer, clock) as tokens:
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
    async with _tokens(issuer, clock) as tokens:
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
    async with _tokens(issuer, clock) as tokens:
        assert await tokens.recognize(bare)
    issuer.keys = [rsa_key("other"), RSA]
    async with AsyncExitStack() as stack:
        await refused(await stack.enter_async_context(_tokens(issuer, clock)), bare, "does not have")
