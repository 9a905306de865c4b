"""The runtime over the real CLI: one process tree a session, driven through the SDK."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from claude_agent_sdk import ClaudeSDKClient, CLIJSONDecodeError, ProcessError, ResultMessage

from claude_agent_http.domain.errors import RuntimeDiedError
from claude_agent_http.domain.event import TOOL_USES, NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.ports import Ids, ModelGrant, RuntimeItem
from claude_agent_http.runtime.endings import REFUSABLE, refused
from claude_agent_http.runtime.mcp_watch import McpWatch
from claude_agent_http.runtime.stderr import StderrTail
from claude_agent_http.runtime.toolgate import OrderedGate
from claude_agent_http.runtime.transcripts import SdkTranscripts
from claude_agent_http.runtime.translate import Prompt, TurnTranslator
from claude_agent_http.runtime.tree import ProcessTree

__all__ = ["CliRuntime", "prompt_uuid", "reason_of"]

_INTERRUPT_SECONDS = 5.0
_LAST_WORDS_SECONDS = 0.05
_PROMPTS = UUID("6f1d2c6e-0a53-4a58-9a0e-2f0d1f5f7b11")
_COMMAND_OR_MENTION = re.compile(r"[\s\ufeff]*/|.*@", re.DOTALL)


class CliRuntime:
    """See `ports.AgentRuntime`. `pid` is the launcher's, the root of the session's process tree."""

    def __init__(
        self,
        client: ClaudeSDKClient,
        ids: Ids,
        session: Session,
        gate: OrderedGate,
        transcripts: SdkTranscripts,
        tail: StderrTail,
        tree: ProcessTree,
        grant: ModelGrant,
    ) -> None:
        self._client = client
        self._ids = ids
        self._session_id = session.id
        self._mcp = McpWatch(session)
        self._gate = gate
        self._transcripts = transcripts
        self._tail = tail
        self._tree = tree
        self._grant = grant
        self._cost = 0.0
        self._running = False
        self._sent = False
        self._interrupted = False

    @property
    def pid(self) -> int | None:
        return self._tree.pid

    def kill(self) -> None:
        self._tree.end()

    async def turn(self, prompt: str, turn_id: str) -> AsyncGenerator[RuntimeItem]:
        uuid = prompt_uuid(turn_id)
        translator = TurnTranslator(self._ids, Prompt(self._session_id, turn_id, uuid, self._cost))
        self._running, self._sent, self._interrupted = True, False, False
        self._gate.begin()
        self._grant.take_refusal()  # That of an earlier turn.
        try:
            await self._send(prompt, uuid)
            async with aclosing(self._translated(translator)) as items:
                async for item in items:
                    if isinstance(item, TurnEnd):
                        # A turn that stands as ended in the log is part of the conversation too.
                        await self._transcripts.hand_over()
                        yield item
                        return
                    yield item
                    if isinstance(item, NewEvent) and item.type in TOOL_USES:
                        self._gate.report(item.data["tool_use_id"])
            raise await self._died(EOFError("its output ended"))
        finally:
            self._running = False
            self._gate.end()

    async def interrupt(self) -> None:
        self._interrupted = True
        if self._running and self._sent:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_INTERRUPT_SECONDS):
                    await self._client.interrupt()

    async def _send(self, prompt: str, uuid: str) -> None:
        message: dict[str, Any] = {
            "type": "user",
            "message": {"role": "user", "content": prompt},
            "parent_tool_use_id": None,
            "uuid": uuid,
        }
        if _COMMAND_OR_MENTION.match(prompt):
            # A caller's text is text: "/clear" must not run, "@/etc/passwd" not be read. Only then,
            # because such a message goes without the reminders (skills, rules) that the CLI adds.
            message["client_composed"] = True

        async def one() -> AsyncIterator[dict[str, Any]]:
            yield message

        try:
            await self._client.query(one())
        except Exception as error:
            raise await self._died(error) from error
        self._sent = True
        if self._interrupted:
            await self.interrupt()

    async def _translated(self, translator: TurnTranslator) -> AsyncGenerator[RuntimeItem]:
        try:
            async for message in self._client.receive_messages():
                self._mcp.hear(message)
                if isinstance(message, ResultMessage) and message.total_cost_usd is not None:
                    self._cost = message.total_cost_usd
                for item in translator.feed(message):
                    yield self._told(item) if isinstance(item, TurnEnd) else item
        except RuntimeDiedError:
            raise
        except Exception as error:
            raise await self._died(error) from error

    def _told(self, end: TurnEnd) -> TurnEnd:
        if end.error is None:
            return end
        refusal = self._grant.take_refusal()
        if refusal is not None and end.error.kind in REFUSABLE:
            return refused(end, refusal)
        return replace(end, error=replace(end.error, message=self._tail.redact(end.error.message)))

    async def _died(self, error: Exception) -> RuntimeDiedError:
        await asyncio.sleep(_LAST_WORDS_SECONDS)
        what = f"the agent process ended in the middle of the turn ({reason_of(error)})"
        return RuntimeDiedError(self._tail.appended_to(what))


def prompt_uuid(turn_id: str) -> str:
    """Under which a turn's message stands in the transcript. A CLI passes over a message whose uuid is there
    already, so a turn that is run again must be undone first."""
    return str(uuid5(_PROMPTS, turn_id))


def reason_of(error: Exception) -> str:
    """In words that are fit for a user: no output of the CLI is quoted."""
    if isinstance(error, CLIJSONDecodeError):
        return f"its output is no message: {error.original_error}"  # Its own text quotes the output.
    if isinstance(error, ProcessError) and error.exit_code is not None:
        return f"exit code {error.exit_code}"
    return str(error)[:500] or type(error).__name__
