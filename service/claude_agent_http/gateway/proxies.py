"""Behind which proxy an address is, as the environment says."""

from collections.abc import Mapping
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined]

from yarl import URL

__all__ = ["Proxies", "ProxyKindError"]

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_KINDS = ("http", "https")


class ProxyKindError(Exception):
    """The environment names a proxy that does not speak HTTP."""


class Proxies:
    """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, read once. aiohttp's own reading of them knows no
    ALL_PROXY, and would send what it finds in a ~/.netrc."""

    def __init__(self, found: Mapping[str, str] | None = None) -> None:
        self._found = dict(getproxies() if found is None else found)

    def before(self, url: URL) -> URL | None:
        """None: it is reached without one. Raises ProxyKindError."""
        given = self._found.get(url.scheme) or self._found.get("all")
        # An upstream on this machine is not behind the proxy that leads out of it.
        if not given or url.host in _LOCAL or self._is_excepted(url):
            return None
        proxy = URL(given if "://" in given else f"http://{given}")
        if proxy.scheme not in _KINDS:
            raise ProxyKindError(proxy.scheme)
        return proxy

    def _is_excepted(self, url: URL) -> bool:
        return bool(proxy_bypass_environment(f"{url.host}:{url.port}", self._found))
