"""Group commit: whatever came in while the last transaction ran goes into the next one.

An idle committer takes a lone request at once, and a busy one gathers by itself. Only a request that is
patient waits for others to go with.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from claude_agent_http.domain.errors import ClaudeAgentError, StorageError
from claude_agent_http.store.errors import RejectedError

Request = TypeVar("Request")
Result = TypeVar("Result")

Commit = Callable[[Sequence[Request]], Awaitable[Sequence[Result | ClaudeAgentError]]]
"""Stores the requests in one transaction; each gets its result, or the error that concerns it alone."""

_CLOSED = "the store is closed; the service is shutting down"


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Request, Result]):
    request: Request
    weight: int
    answer: "asyncio.Future[Result]"


class GroupCommit(Generic[Request, Result]):
    """Owns the one task that commits. At most `max_waiting` requests wait; more wait for room."""

    def __init__(
        self,
        commit: Commit[Request, Result],
        *,
        max_weight: int = 100,
        max_waiting: int = 1000,
        flush_seconds: float = 1.0,
    ) -> None:
        self._commit = commit
        self._max_weight = max_weight
        self._flush_seconds = flush_seconds
        self._room = asyncio.Semaphore(max_waiting)
        self._waiting: deque[_Waiting[Request, Result]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def submit(self, request: Request, weight: int, *, patience: float = 0) -> Result:
        """Returns after the commit. Cancelling it leaves open whether the request is committed.

        The request keeps its place in the order, but wakes an idle committer only after `patience` seconds.
        """
        async with self._room:
            if self._closing or self._task is None:
                raise StorageError(_CLOSED)
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[Result] = loop.create_future()
            self._waiting.append(_Waiting(request, weight, answer))
            if not patience:
                self._wake.set()
                return await answer
            due = loop.call_later(patience, self._wake.set)
            try:
                return await answer
            finally:
                due.cancel()

    async def close(self) -> None:
        """Commits what was accepted, as far as the time allows: what is left gets a StorageError, as does a
        later `submit`."""
        self._closing = True
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._flush_seconds):
                    await task

    async def _run(self) -> None:
        try:
            while self._waiting or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                while batch := self._take():
                    await self._answer(batch)
        finally:
            self._closing = True
            self._fail(self._waiting, StorageError(_CLOSED))

    def _take(self) -> list[_Waiting[Request, Result]]:
        """The oldest requests up to the weight, at least one; those nobody waits for any more are dropped."""
        batch: list[_Waiting[Request, Result]] = []
        room = self._max_weight
        while self._waiting and (not batch or self._waiting[0].weight <= room):
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                room -= waiting.weight
        return batch

    async def _answer(self, batch: Sequence[_Waiting[Request, Result]]) -> None:
        try:
            results = await self._commit([waiting.request for waiting in batch])
        except RejectedError as error:
            await self._answer_singly(batch, error)
        except ClaudeAgentError as error:
            self._fail(batch, error)
        except Exception as error:
            unexpected = StorageError(f"the commit failed unexpectedly ({type(error).__name__})")
            unexpected.__cause__ = error
            self._fail(batch, unexpected)
        except BaseException:
            self._fail(batch, StorageError(_CLOSED))
            raise
        else:
            for waiting, result in zip(batch, results, strict=True):
                _settle(waiting.answer, result)

    async def _answer_singly(self, batch: Sequence[_Waiting[Request, Result]], error: RejectedError) -> None:
        """One request's data must not fail its neighbours."""
        if len(batch) == 1:
            self._fail(batch, error)
            return
        for waiting in batch:
            await self._answer([waiting])

    @staticmethod
    def _fail(batch: Sequence[_Waiting[Request, Result]], error: ClaudeAgentError) -> None:
        for waiting in batch:
            _settle(waiting.answer, error)


def _settle(answer: "asyncio.Future[Result]", result: Result | ClaudeAgentError) -> None:
    if answer.done():
        return
    if isinstance(result, ClaudeAgentError):
        answer.set_exception(result)
    else:
        answer.set_result(result)
