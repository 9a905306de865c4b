"""The runtimes over the real CLI: each start of one, and what is tidied up behind it."""

import asyncio
import contextlib
import os
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import structlog
from claude_agent_sdk import CanUseToolShadowedWarning, ClaudeSDKClient, SessionStore

from claude_agent_http.disk.owners import note_owner, remove_owned, remove_session
from claude_agent_http.disk.stoppable import in_thread
from claude_agent_http.domain.errors import RuntimeStartError, WorkspaceError
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import (
    Ids,
    ModelAccess,
    ModelGrant,
    ToolAsk,
    ToolGate,
    TranscriptKey,
    TranscriptStore,
    Workspaces,
)
from claude_agent_http.runtime.cli import CliRuntime, prompt_uuid, reason_of
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.folders import (
    SessionFolders,
    empty_run,
    forget_conversation,
    make_folders,
)
from claude_agent_http.runtime.lines import bounded_client
from claude_agent_http.runtime.options import Start, cli_options
from claude_agent_http.runtime.startfiles import write_start
from claude_agent_http.runtime.stderr import StderrTail
from claude_agent_http.runtime.strays import Strays
from claude_agent_http.runtime.toolgate import OrderedGate
from claude_agent_http.runtime.transcripts import PROJECT_KEY, SdkTranscripts, lay_out
from claude_agent_http.runtime.tree import ProcessTree

__all__ = ["CliRuntimeFactory"]

_log = structlog.get_logger(__name__)


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
            message = f"the agent process could not be started ({reason_of(error)})"
            raise RuntimeStartError(tail.appended_to(message)) from error
        # In reverse; who is cancelled in one of them does the others.
        async with AsyncExitStack() as closing:
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
        client = bounded_client(cli_options(self._config, start))
        await _connect(client, tree, self._config.start_timeout)
        return client, folders


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
