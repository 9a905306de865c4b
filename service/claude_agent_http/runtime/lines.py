"""The SDK's transport with a limit for how many values one line may have.

The SDK reads each line of a CLI as a whole, in the service's loop, and an agent can write one. What costs is
not its length, for text is read at a gigabyte a second, but its values: 16 MB of nested lists held the loop
for ten seconds."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

from anyio.streams.text import TextReceiveStream
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, CLIJSONDecodeError

# There is no public transport to build upon; a change of it fails every test with a CLI.
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport

__all__ = ["MOST_VALUES", "bounded_client", "has_too_many_values"]

MOST_VALUES = 100_000


def bounded_client(options: ClaudeAgentOptions) -> ClaudeSDKClient:
    """Its messages end with CLIJSONDecodeError at such a line, before that is parsed."""
    # That questions come by the same lines the SDK sets itself, for a transport of its own making only.
    asks = options.can_use_tool is not None
    asking = replace(options, permission_prompt_tool_name="stdio") if asks else options
    return ClaudeSDKClient(options, _BoundedTransport(_no_prompt(), asking))


async def _no_prompt() -> AsyncIterator[dict[str, Any]]:
    """Prompts are given to the client when there are some."""
    no_prompts: tuple[dict[str, Any], ...] = ()
    for prompt in no_prompts:
        yield prompt


class _BoundedTransport(SubprocessCLITransport):
    def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        if self._stdout_stream is not None:
            self._stdout_stream = cast("TextReceiveStream", _BoundedLines(self._stdout_stream))
        return super().read_messages()


class _BoundedLines:
    """The same chunks. What begins and ends in one of them (64 KB) is too short to have too many values."""

    def __init__(self, stream: TextReceiveStream) -> None:
        self._stream = stream
        self._begun: list[str] = []

    def __aiter__(self) -> "_BoundedLines":
        return self

    async def __anext__(self) -> str:
        chunk = await anext(self._stream)
        first, end, _ = chunk.partition("\n")
        if not end:
            self._begun.append(chunk)
            return chunk
        if self._begun and has_too_many_values("".join((*self._begun, first))):
            raise CLIJSONDecodeError("", ValueError(f"a line of more than {MOST_VALUES} values"))
        self._begun = [chunk.rpartition("\n")[2]]
        return chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def has_too_many_values(line: str) -> bool:
    """In a few passes at the speed of C: what it decides must not cost what it saves."""
    if _values(line) <= MOST_VALUES:
        return False
    unescaped = line.replace("\\\\", "").replace('\\"', "")
    if unescaped.count('"') > 4 * MOST_VALUES:  # a key and a value have two each
        return True
    return _values("".join(unescaped.split('"')[::2])) > MOST_VALUES


def _values(text: str) -> int:
    return sum(map(text.count, ",[{"))
