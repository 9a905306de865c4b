"""The one HTTP client that speaks to the model API."""

import asyncio
import io
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import certifi
from yarl import URL

from claude_agent_http.gateway.failed import UpstreamError, upstream_error
from claude_agent_http.gateway.proxies import Proxies, ProxyKindError
from claude_agent_http.gateway.upstream import Upstream

__all__ = ["UpstreamAnswer", "UpstreamClient"]

_PLACE_SECONDS = 10.0
_IDLE_SECONDS = 60.0
_MOST_AT_ONCE = 500
_MOST_HEAD_BYTES = 64 * 1024
# aiohttp writes a longer text of bytes in one go, and warns that this holds the loop.
_MOST_AS_BYTES = 1024 * 1024
# What it would add by itself: only what an agent sent, and the credential, is for the model API.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class UpstreamAnswer:
    """One whose status and headers are there, and whose body comes."""

    def __init__(self, received: aiohttp.ClientResponse, address: str) -> None:
        self.status = received.status
        self.headers = received.raw_headers
        self.content_type = received.headers.get("content-type", "")
        self.is_redirect = 300 <= received.status < 400 and "location" in received.headers
        self._body = received.content
        self._address = address

    async def read(self) -> bytes:
        """What has come of the body, once there is something; empty at its end. Raises UpstreamError."""
        try:
            return await self._body.readany()
        except aiohttp.ClientError as error:
            raise upstream_error(error, self._address) from None


class UpstreamClient:
    """`async with` it. `silence_seconds` limits the wait for an answer's first byte and for each next."""

    def __init__(self, *, connect_seconds: float, silence_seconds: float) -> None:
        self._timeout = aiohttp.ClientTimeout(connect=connect_seconds, sock_read=silence_seconds)
        self._proxies = Proxies()
        self._trusted = _trusted(os.environ)
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "UpstreamClient":
        # Only in here, because a connector belongs to the loop that runs when it is made.
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trusted, keepalive_timeout=_IDLE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            timeout=self._timeout,
            max_line_size=_MOST_HEAD_BYTES,
            max_field_size=_MOST_HEAD_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def post(
        self, upstream: Upstream, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> AsyncIterator[UpstreamAnswer]:
        """The answer as soon as its headers are there. Raises UpstreamError."""
        async with self._place():
            received = await self._sent(upstream, path, query, headers, body)
            try:
                yield UpstreamAnswer(received, upstream.address)
            finally:
                received.close()  # A connection whose answer was read to its end is kept all the same.

    async def _sent(
        self, upstream: Upstream, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("a client that was not entered")
        url = URL(upstream.target(path, query), encoded=True)
        try:
            return await self._session.post(
                url,
                headers=[(_text(name), _text(value)) for name, value in (*headers, *upstream.headers)],
                data=body if len(body) <= _MOST_AS_BYTES else io.BytesIO(body),
                proxy=self._proxy(url, upstream.address),
                allow_redirects=False,
            )
        except aiohttp.ClientError as error:
            raise upstream_error(error, upstream.address) from None

    def _proxy(self, url: URL, address: str) -> URL | None:
        try:
            return self._proxies.before(url)
        except ProxyKindError as error:
            message = f"the proxy before the model API at {address} is a {error} proxy; only HTTP is spoken"
            raise UpstreamError(502, "proxy", message) from None

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_PLACE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            message = "too many requests to the model API are under way"
            raise UpstreamError(503, "pool_full", message) from None
        try:
            yield
        finally:
            self._places.release()


def _text(part: bytes) -> str:
    """aiohttp encodes it as UTF-8 again."""
    return part.decode("utf-8", "replace")


def _trusted(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Whom httpx trusts, which the rest of the service asks with; and the authorities that the CLI was told
    by NODE_EXTRA_CA_CERTS when it still spoke to the model API by itself."""
    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    if file or folder:
        context = ssl.create_default_context(cafile=file or None, capath=None if file else folder)
    else:
        context = ssl.create_default_context(cafile=certifi.where())
    if extra := environ.get("NODE_EXTRA_CA_CERTS"):
        context.load_verify_locations(extra)
    return context
