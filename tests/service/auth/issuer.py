"""An OpenID issuer for tests: a real server with real keys, which can rotate, lie and fall silent."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["AUDIENCE", "SigningKey", "StandInIssuer", "ec_key", "ed_key", "rsa_key"]

AUDIENCE = "agents"


@dataclass(frozen=True)
class SigningKey:
    id: str
    algorithm: str
    private: Any
    public: dict[str, Any]


def rsa_key(key_id: str, algorithm: str = "RS256") -> SigningKey:
    private = rsa.generate_private_key(65537, 2048)
    return SigningKey(key_id, algorithm, private, RSAAlgorithm.to_jwk(private.public_key(), as_dict=True))


def ec_key(key_id: str) -> SigningKey:
    private = ec.generate_private_key(ec.SECP256R1())
    return SigningKey(key_id, "ES256", private, ECAlgorithm.to_jwk(private.public_key(), as_dict=True))


def ed_key(key_id: str) -> SigningKey:
    private = ed25519.Ed25519PrivateKey.generate()
    return SigningKey(key_id, "EdDSA", private, OKPAlgorithm.to_jwk(private.public_key(), as_dict=True))


@dataclass
class StandInIssuer:
    keys: list[SigningKey]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    answers: dict[str, Response] = field(default_factory=dict)
    """What it says instead, by path."""

    def app(self) -> Starlette:
        paths = ("/.well-known/openid-configuration", "/keys", "/moved")
        return Starlette(routes=[Route(path, self._answer) for path in paths])

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        said: dict[str, Any] = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/keys":
            said = {"keys": [{**key.public, "kid": key.id, "use": "sig"} for key in self.keys]}
        return Response(json.dumps(said), media_type="application/json")

    def token(self, key: SigningKey | None = None, headers: Any = None, **claims: Any) -> str:
        """Valid, unless the claims say otherwise; a claim of None is left out."""
        key = key or self.keys[0]
        now = int(time.time())
        whole = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300, **claims}
        given = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(given, key.private, key.algorithm, {"kid": key.id, **(headers or {})})
