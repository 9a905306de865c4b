"""Tokens of a real local issuer: which are taken, and what they make of their bearer."""

import base64
import hmac
import json
import math
import time
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.datastructures import Headers
from starlette.responses import Response
from tests.service.auth.issuer import AUDIENCE, StandInIssuer, rsa_key
from tests.service.auth.openid.bearers import DISCOVERY, EC, ED, RSA, RULES, refused, tokens_of

from claude_agent_http.api.authentication import MAX_CREDENTIAL, credential_of
from claude_agent_http.auth.claims import ClaimRule, ClaimRules
from claude_agent_http.auth.signing_keys import ALGORITHMS
from claude_agent_http.auth.tokens import LEEWAY_SECONDS, Tokens
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import NotAuthenticatedError


@pytest.mark.parametrize("key", [RSA, EC], ids=lambda key: key.algorithm)
async def test_a_token_of_the_issuer_is_its_user(tokens, issuer, key):
    assert await tokens.recognize(issuer.token(key)) == Caller("alice", credential="oidc:alice")
    assert await tokens.recognize(issuer.token(key, aud=["other", AUDIENCE])) is not None
    assert issuer.asked == [DISCOVERY, "/keys"]


@pytest.mark.parametrize("algorithm", [name for name, kind in ALGORITHMS.items() if kind == "RSA"])
async def test_every_allowed_way_of_signing(issuer, clock, algorithm):
    issuer.keys = [rsa_key("k", algorithm), ED]
    async with tokens_of(issuer, clock, algorithms=[algorithm, "EdDSA"]) as tokens:
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
    async with tokens_of(issuer, clock) as tokens:
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
