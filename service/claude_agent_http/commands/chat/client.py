"""The service's HTTP API as the terminal client needs it."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from claude_agent_http.commands.chat import DEFAULT_URL, LONGEST_TURN
from claude_agent_http.commands.terminal import this_program
from claude_agent_http.domain.api_key import API_KEY_VARIABLE

__all__ = ["ChatClient", "ChatError"]

_TIMEOUT = httpx.Timeout(60, connect=5)
# A tool may run without a word for as long as its turn may.
_STREAM_TIMEOUT = httpx.Timeout(LONGEST_TURN + 60, connect=5)
_MAX_LINE = 16 * 1024 * 1024


class ChatError(Exception):
    """The text says what is wrong and what to do."""


class ChatClient:
    """Every method raises ChatError: the API's own `detail`, or why the service was not reached."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._url = _checked(url).rstrip("/")
        headers = {} if api_key is None else {"Authorization": f"Bearer {_checked_key(api_key)}"}
        self._http = httpx.AsyncClient(base_url=self._url, headers=headers, timeout=_TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def create(self, user: str | None) -> str:
        """The id of a new session, of this user, else of the one that the API key is."""
        whose = {} if user is None else {"user_id": user}
        created = await self._request("POST", "/api/v1/sessions", whose)
        return str(created["session_id"])

    async def check(self, session: str) -> None:
        await self._request("GET", f"/api/v1/sessions/{quote(session, safe='')}")

    async def interrupt(self, session: str) -> None:
        await self._request("POST", f"/api/v1/sessions/{quote(session, safe='')}/interrupt")

    async def stream(
        self, session: str, message: str, seconds: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The turn's chunks as they come: `{"type": "text_delta" | "tool_use" | "done" | "error", ...}`.

        The service interrupts a turn that takes more than `seconds`, at most LONGEST_TURN.
        """
        body = {"session_id": session, "message": message, "timeout": seconds}
        path = "/api/v1/chat/stream"
        try:
            async with self._http.stream("POST", path, json=body, timeout=_STREAM_TIMEOUT) as response:
                if response.is_error:
                    await response.aread()
                    raise ChatError(_detail(response))
                async for data in _data(response):
                    yield json.loads(data)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error
        except ValueError as error:
            raise ChatError(f"{self._url} sent a stream that is not ours: {error}") from error

    async def _request(self, method: str, path: str, body: Any = None) -> Any:
        try:
            response = await self._http.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreached(error) from error
        if response.is_error:
            raise ChatError(_detail(response))
        try:
            return response.json() if response.content else {}
        except ValueError as error:
            raise ChatError(f"{self._url} does not answer like claude-agent-http") from error

    def _unreached(self, error: Exception) -> ChatError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return ChatError(
                f"nothing answers at {self._url}; start the service with `{this_program()} serve`"
            )
        if isinstance(error, httpx.TimeoutException):
            return ChatError(f"{self._url} did not answer in time")
        return ChatError(f"the connection to {self._url} broke: {error}")


def _checked(url: str) -> str:
    example = f"--url should be like {DEFAULT_URL}"
    try:
        parts = urlsplit(url)
        httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ChatError(f"{example}, but {url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ChatError(f"{example}, but is {url!r}")
    return url


def _checked_key(api_key: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", api_key.strip()):
        raise ChatError("the API key should be printable ASCII characters without spaces")
    return api_key.strip()


async def _data(response: httpx.Response) -> AsyncIterator[str]:
    """The `data:` of every server-sent event. Lines end at LF, CR LF: text may hold U+2028 and its like."""
    rest, lines = "", list[str]()
    async for text in response.aiter_text():
        *whole, rest = (rest + text).split("\n")
        if len(rest) > _MAX_LINE:
            raise ValueError("a line is too long")
        for line in (one.removesuffix("\r") for one in whole):
            if line.startswith("data:"):
                lines.append(line[5:].removeprefix(" "))
            elif not line and lines:
                yield "\n".join(lines)
                lines.clear()


def _detail(response: httpx.Response) -> str:
    said = _said(response)
    if response.status_code != httpx.codes.UNAUTHORIZED:
        return said
    return f"{said}; give it to this program by the variable {API_KEY_VARIABLE}"


def _said(response: httpx.Response) -> str:
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"the service answered {response.status_code} {response.reason_phrase}"
    return detail if isinstance(detail, str) else json.dumps(detail)
