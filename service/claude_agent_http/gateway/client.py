"""The one HTTP client that speaks to the model API; httpx's errors end here."""

import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import httpx

from claude_agent_http.gateway.upstream import Upstream

__all__ = ["UpstreamClient", "UpstreamError", "told"]

_POOL_SECONDS = 10.0
_IDLE_SECONDS = 60.0
_MOST_CONNECTIONS = 500
_MOST_IDLE = 50
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


class UpstreamError(Exception):
    """No whole answer. `status` stands for it in HTTP, `reason` is one word for the log."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class UpstreamClient:
    """`async with` it. `silence_seconds` limits the wait for an answer's first byte and for each next."""

    def __init__(self, *, connect_seconds: float, silence_seconds: float) -> None:
        self._client = httpx.AsyncClient(
            http2=False,
            follow_redirects=False,
            verify=_trusted(os.environ),
            # An upstream on this machine is not behind the proxy that leads out of it.
            mounts={f"all://{host}": None for host in _LOCAL},
            limits=httpx.Limits(
                max_connections=_MOST_CONNECTIONS,
                max_keepalive_connections=_MOST_IDLE,
                keepalive_expiry=_IDLE_SECONDS,
            ),
            timeout=httpx.Timeout(silence_seconds, connect=connect_seconds, pool=_POOL_SECONDS),
        )
        self._client.headers.clear()

    async def __aenter__(self) -> "UpstreamClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def post(
        self, upstream: Upstream, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> AsyncIterator[httpx.Response]:
        """The answer as soon as its headers are there; read its body inside `told`. Raises UpstreamError."""
        url = upstream.target(path, query)
        request = self._client.build_request("POST", url, headers=[*headers, *upstream.headers], content=body)
        with told(upstream):
            answer = await self._client.send(request, stream=True)
        try:
            yield answer
        finally:
            await answer.aclose()


@contextmanager
def told(upstream: Upstream) -> Iterator[None]:
    """In here whatever httpx raises is raised as UpstreamError."""
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
        raise _translated(error, upstream.address) from None


def _translated(error: Exception, address: str) -> UpstreamError:
    match error:
        case httpx.ConnectTimeout():
            return UpstreamError(
                504, "connect_timeout", f"the model API at {address} cannot be reached in time"
            )
        case httpx.ConnectError():
            return _unreachable(error, address)
        case httpx.PoolTimeout():
            return UpstreamError(503, "pool_full", "too many requests to the model API are under way")
        case httpx.TimeoutException():
            return UpstreamError(504, "silent", f"the model API at {address} did not answer in time")
        case httpx.ProxyError():
            return UpstreamError(502, "proxy", f"the proxy before the model API at {address} refused")
    return UpstreamError(502, "broken", f"the connection to the model API at {address} broke")


def _unreachable(error: Exception, address: str) -> UpstreamError:
    """Refused, unknown and untrusted are told apart: each is mended elsewhere."""
    said = _chain(error)
    if any(isinstance(one, ssl.SSLError) for one in said):
        return UpstreamError(502, "tls", f"the model API at {address} cannot be trusted (TLS)")
    if any(isinstance(one, ConnectionRefusedError) for one in said):
        return UpstreamError(502, "refused", f"the model API at {address} refuses connections")
    return UpstreamError(502, "unreachable", f"the model API at {address} cannot be reached")


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from, groups included."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or one in found:
            continue
        found.append(one)
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return found


def _trusted(environ: Mapping[str, str]) -> ssl.SSLContext:
    """What httpx trusts, SSL_CERT_FILE and SSL_CERT_DIR heard, and what the CLI was told by
    NODE_EXTRA_CA_CERTS when it still spoke to the model API by itself."""
    context = httpx.create_ssl_context()
    if extra := environ.get("NODE_EXTRA_CA_CERTS"):
        context.load_verify_locations(extra)
    return context
