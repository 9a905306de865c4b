"""The runtime over the real CLI: one process tree a session, driven through the SDK."""

import asyncio
import contextlib
import os
import re
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid5

import structlog
from claude_agent_sdk import (
    CanUseToolShadowedWarning,
    ClaudeSDKClient,
    CLIJSONDecodeError,
    ProcessError,
    ResultMessage,
    SessionStore,
)

from claude_agent_http.disk.owners import note_owner, remove_owned, remove_session
from claude_agent_http.disk.stoppable import in_thread
from claude_agent_http.domain.errors import RuntimeDiedError, RuntimeStartError, WorkspaceError
from claude_agent_http.domain.event import TOOL_USES, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.ports import (
    Ids,
    ModelAccess,
    ModelGrant,
    RuntimeItem,
    ToolAsk,
    ToolGate,
    TranscriptKey,
    TranscriptStore,
    Workspaces,
)
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.endings import REFUSABLE, refused
from claude_agent_http.runtime.folders import (
    SessionFolders,
    empty_run,
    forget_conversation,
    make_folders,
)
from claude_agent_http.runtime.mcp_watch import McpWatch
from claude_agent_http.runtime.options import Start, cli_options
from claude_agent_http.runtime.startfiles import write_start
from claude_agent_http.runtime.stderr import StderrTail
from claude_agent_http.runtime.strays import Strays
from claude_agent_http.runtime.toolgate import OrderedGate
from claude_agent_http.runtime.transcripts import PROJECT_KEY, SdkTranscripts, lay_out
from claude_agent_http.runtime.translate import Prompt, TurnTranslator
from claude_agent_http.runtime.tree import ProcessTree

__all__ = ["CliRuntime", "CliRuntimeFactory"]

_INTERRUPT_SECONDS = 5.0
_LAST_WORDS_SECONDS = 0.05
_log = structlog.get_logger(__name__)
_PROMPTS = UUID("6f1d2c6e-0a53-4a58-9a0e-2f0d1f5f7b11")
_COMMAND_OR_MENTION = re.compile(r"[\s\ufeff]*/|.*@", re.DOTALL)


class CliRuntimeFactory:
    """`environ` is the service's own environment; `options.cli_environment` says what of it reaches a CLI.
    Each start gets its model from `model`.

    With `workspaces` the session's folder is made anew, and checked, at each start: since the session was
    created its disk may have been replaced, or its agent may have put a link in the folder's way."""

    def __init__(
        self,
        config: RuntimeConfig,
        transcripts: TranscriptStore,
        ids: Ids,
        model: ModelAccess,
        *,
        workspaces: Workspaces | None = None,
        strays: Strays | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._config = config
        self._model = model
        self._workspaces = workspaces
        self._strays = strays
        self._transcripts = transcripts
        self._ids = ids
        self._environ = environ
        self._trees: set[ProcessTree] = set()
        self._until: float | None = None
        # That what `allowed_tools` allows is not asked about is what it is for.
        warnings.filterwarnings("ignore", category=CanUseToolShadowedWarning)

    def hold(self, until: float | None) -> None:
        self._until = until
        if until is not None:
            for tree in self._trees:
                tree.beat(until)

    @asynccontextmanager
    async def open(
        self,
        session: Session,
        gate: ToolGate,
        lease: Lease,
        *,
        ask: ToolAsk | None = None,
        undo: str | None = None,
    ) -> AsyncIterator["CliRuntime"]:
        async with self._model.grant(session) as grant:
            with self._tree() as tree:
                async with self._open(session, OrderedGate(gate, ask), lease, undo, tree, grant) as runtime:
                    yield runtime

    @contextlib.contextmanager
    def _tree(self) -> Iterator[ProcessTree]:
        tree = ProcessTree()
        self._trees.add(tree)
        try:
            yield tree
        finally:
            self._trees.discard(tree)
            tree.kill()

    @asynccontextmanager
    async def _open(
        self,
        session: Session,
        gate: OrderedGate,
        lease: Lease,
        undo: str | None,
        tree: ProcessTree,
        grant: ModelGrant,
    ) -> AsyncIterator["CliRuntime"]:
        tail = StderrTail(self._config.secrets(grant.environment))
        transcripts = SdkTranscripts(self._transcripts, PROJECT_KEY, lease)
        if undo is not None:
            await self._undo(session.id, undo, lease)
        try:
            client, folders = await self._started(session, gate, tail, tree, transcripts, grant)
        except BaseException as error:
            tree.end()
            if not isinstance(error, Exception):
                raise
            message = f"the agent process could not be started ({_reason(error)})"
            raise RuntimeStartError(tail.appended_to(message)) from error
        async with (
            AsyncExitStack() as closing
        ):  # In reverse; who is cancelled in one of them does the others.
            closing.push_async_callback(transcripts.settle)
            closing.push_async_callback(asyncio.to_thread, empty_run, folders)
            if self._strays is not None:
                closing.push_async_callback(self._strays.sweep)
            closing.push_async_callback(_disconnect, client, tree, self._config.close_grace)
            closing.callback(gate.end)
            tree.pid = _read_pid(folders.pid_file)
            yield CliRuntime(client, self._ids, session, gate, transcripts, tail, tree, grant)

    async def _undo(self, session_id: str, turn_id: str, lease: Lease) -> None:
        """Take a turn out of the conversation; with it goes what the disk has and the store has not."""
        key = TranscriptKey(PROJECT_KEY, session_id)
        await self._transcripts.rewind(key, prompt_uuid(turn_id), lease=lease)
        await in_thread(partial(forget_conversation, self._config.state_dir, session_id))

    async def forget(self, session: Session) -> None:
        """Whatever of its folder cannot be removed is told in the log: the session is gone all the same."""
        try:
            await in_thread(partial(remove_session, self._config.state_dir, session.user_id, session.id))
        except OSError as error:
            whose = {"session_id": session.id, "user_id": session.user_id}
            _log.error("a deleted session's folder was not removed", reason=str(error), **whose)

    async def forget_user(self, user_id: str) -> None:
        try:
            await in_thread(partial(remove_owned, self._config.state_dir, user_id))
        except OSError as error:
            raise WorkspaceError(
                f"not all that the agents of user {user_id!r} left could be removed: {error.strerror}: "
                f"{self._config.state_dir / str(error.filename)}; make it removable and repeat the request"
            ) from error

    async def _started(
        self,
        session: Session,
        gate: OrderedGate,
        tail: StderrTail,
        tree: ProcessTree,
        transcripts: SdkTranscripts,
        grant: ModelGrant,
    ) -> tuple[ClaudeSDKClient, SessionFolders]:
        if self._workspaces is not None:
            session = replace(session, cwd=await self._workspaces.resolve(session.user_id, session.subdir))
        await asyncio.to_thread(note_owner, self._config.state_dir, session.user_id, session.id)
        folders = await asyncio.to_thread(make_folders, self._config.state_dir, session.id)
        tree.open(folders.run / "heartbeat")
        if self._until is not None:
            tree.beat(self._until)
        resumes = await lay_out(self._transcripts, folders, session.cwd, session.id, transcripts.lease)
        store = cast("SessionStore", transcripts)
        start = Start(session, folders, grant.environment, resumes, store, gate.hook, tail.add, gate.permit)
        await asyncio.to_thread(write_start, self._config, start, tree.heartbeat_path, self._environ)
        client = ClaudeSDKClient(cli_options(self._config, start))
        await _connect(client, tree, self._config.start_timeout)
        return client, folders


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
        what = f"the agent process ended in the middle of the turn ({_reason(error)})"
        return RuntimeDiedError(self._tail.appended_to(what))


def prompt_uuid(turn_id: str) -> str:
    """Under which a turn's message stands in the transcript. A CLI passes over a message whose uuid is there
    already, so a turn that is run again must be undone first."""
    return str(uuid5(_PROMPTS, turn_id))


async def _connect(client: ClaudeSDKClient, tree: ProcessTree, seconds: float) -> None:
    """The SDK waits for a minute or more, and as long again for a CLI that does not end: past the limit
    the tree is killed, which makes the SDK give up by itself."""
    loop = asyncio.get_running_loop()
    late = loop.call_later(seconds, tree.end)
    try:
        await client.connect()
    except Exception as error:
        if late.when() <= loop.time():
            raise TimeoutError(f"not ready within {seconds:g} s") from error
        raise
    finally:
        late.cancel()


async def _disconnect(client: ClaudeSDKClient, tree: ProcessTree, seconds: float) -> None:
    """A CLI ends by itself when its input closes; one that does not is killed with its tree."""
    late = asyncio.get_running_loop().call_later(seconds, tree.end)
    try:
        await client.disconnect()
    except Exception:  # What the SDK could not tidy up is of no use to anyone, and the tree is ended below.
        return
    finally:
        late.cancel()
        tree.kill()


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, CLIJSONDecodeError):
        return f"its output is no message: {error.original_error}"  # Its own text quotes the output.
    if isinstance(error, ProcessError) and error.exit_code is not None:
        return f"exit code {error.exit_code}"
    return str(error)[:500] or type(error).__name__
