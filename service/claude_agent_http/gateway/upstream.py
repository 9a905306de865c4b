"""Where the model API is, and the credential that it takes; both may change while the service runs."""

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from claude_agent_http.gateway.secret_file import SecretFile, SecretFileError

__all__ = ["Upstream", "UpstreamSource", "UpstreamUnknownError"]

_ANTHROPIC = "https://api.anthropic.com"
_CREDENTIAL = re.compile(r"[\x21-\x7e]+")
_SHORTEST_SECRET = 4


class UpstreamUnknownError(Exception):
    """The configured files do not tell; the text says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """`address` is the host, and the port where one is given, for people."""

    address: str
    url: str = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)

    def target(self, path: str, query: bytes) -> str:
        """The URL of this path, below the base URL's own and with its query before the request's."""
        base = urlsplit(self.url)
        queries = "&".join(filter(None, (base.query, query.decode("latin-1"))))
        return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + path, queries, ""))

    def redacted(self, text: bytes) -> bytes:
        for secret in self.secrets:
            text = text.replace(secret, b"[redacted]")
        return text


class UpstreamSource:
    """Each part is a text, a file that is read again when it changes, or None; a call gives how they are now.

    An API key is sent as `x-api-key`, a token as `Authorization: Bearer`, user and password of the URL, where
    there is no token, as `Authorization: Basic`.
    """

    def __init__(
        self,
        *,
        api_key: str | SecretFile | None = None,
        auth_token: str | SecretFile | None = None,
        base_url: str | SecretFile | None = None,
    ) -> None:
        self._api_key = api_key
        self._auth_token = auth_token
        self._base_url = base_url

    def __call__(self) -> Upstream:
        """Raises UpstreamUnknownError."""
        try:
            key, token = (_credential(part) for part in (self._api_key, self._auth_token))
            base = _base(_value(self._base_url) or _ANTHROPIC)
        except SecretFileError as error:
            raise UpstreamUnknownError(str(error)) from None
        return _upstream(base, key, token)


def _upstream(base: SplitResult, key: str | None, token: str | None) -> Upstream:
    headers = [(b"x-api-key", key.encode())] if key else []
    if (authorization := _authorization(base, token)) is not None:
        headers.append((b"authorization", authorization))
    address = base.netloc.rpartition("@")[2]
    secrets = {key, token, base.password and unquote(base.password), base.password}
    known = sorted((one for one in secrets if one and len(one) >= _SHORTEST_SECRET), key=len, reverse=True)
    return Upstream(
        address,
        urlunsplit(base._replace(netloc=address)),
        tuple(headers),
        tuple(one.encode() for one in known),
    )


def _authorization(base: SplitResult, token: str | None) -> bytes | None:
    if token:
        return b"Bearer " + token.encode()
    if not base.username:
        return None
    pair = f"{unquote(base.username)}:{unquote(base.password or '')}"
    return b"Basic " + base64.b64encode(pair.encode())


def _value(part: str | SecretFile | None) -> str | None:
    return part.read() if isinstance(part, SecretFile) else part


def _credential(part: str | SecretFile | None) -> str | None:
    value = _value(part)
    if value is not None and not _CREDENTIAL.fullmatch(value):
        raise UpstreamUnknownError(
            "the model's credential should be one line of printable ASCII characters without spaces"
        )
    return value


def _base(url: str) -> SplitResult:
    try:
        base = urlsplit(url)
        _ = base.port
    except ValueError:
        base = urlsplit("")
    if base.scheme not in {"http", "https"} or not base.hostname or re.search(r"\s", url):
        raise UpstreamUnknownError("the model's base URL should be such as https://host:port/path")
    return base
