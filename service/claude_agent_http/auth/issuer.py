"""An OpenID issuer over HTTP: where its keys are, and the keys."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import httpx

from claude_agent_http.domain.errors import IssuerError

__all__ = ["Issuer"]

_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
_MOST_SECONDS = 10.0
_MOST_BYTES = 1_048_576
_DISCOVERY = "/.well-known/openid-configuration"


class Issuer:
    """`async with` it. `keys_url` None: what the issuer's discovery document says."""

    def __init__(self, issuer: str, keys_url: str | None = None) -> None:
        self._issuer = issuer
        self._keys_url = keys_url
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)

    async def __aenter__(self) -> "Issuer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def keys(self) -> list[dict[str, Any]]:
        """Its JSON Web Key Set. Raises IssuerError."""
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                found = await self._get(self._keys_url or await self._discovered())
        except TimeoutError:
            raise IssuerError(f"{self._issuer} did not answer within {_MOST_SECONDS:g} s") from None
        keys = found.get("keys")
        if not isinstance(keys, list):
            raise IssuerError(f"the keys of {self._issuer} are no JSON Web Key Set")
        return [key for key in keys if isinstance(key, dict)]

    async def _discovered(self) -> str:
        """Asked each time, for an issuer may move its keys."""
        found = await self._get(self._issuer.rstrip("/") + _DISCOVERY)
        if found.get("issuer") != self._issuer:
            other = str(found.get("issuer"))[:200]
            raise IssuerError(f"{self._issuer} calls itself {other!r}; write auth.oidc_issuer exactly so")
        url = found.get("jwks_uri")
        if not isinstance(url, str) or urlsplit(url).scheme not in _schemes(self._issuer):
            raise IssuerError(f"{self._issuer} does not say where its keys are (jwks_uri, by https)")
        return url

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            async with self._client.stream("GET", url, headers={"Accept": "application/json"}) as response:
                if response.status_code != httpx.codes.OK:
                    raise IssuerError(f"{url} answered {response.status_code}")
                content = await _read(response, url)
            found = json.loads(content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise IssuerError(f"{url} cannot be reached ({type(error).__name__})") from error
        except (ValueError, RecursionError):
            raise IssuerError(f"{url} did not answer with JSON") from None
        if not isinstance(found, dict):
            raise IssuerError(f"{url} did not answer with a JSON object")
        return found


async def _read(response: httpx.Response, url: str) -> bytes:
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > _MOST_BYTES:
            raise IssuerError(f"{url} answered with more than {_MOST_BYTES} bytes")
    return bytes(content)


def _schemes(issuer: str) -> tuple[str, ...]:
    """Keys by http would let anybody on the way sign tokens; only an issuer by http has nothing to lose."""
    return ("https",) if urlsplit(issuer).scheme == "https" else ("https", "http")
