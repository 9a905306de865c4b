"""Group commit alone, over a commit that the test lets go."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from claude_agent_http.domain.errors import ClaudeAgentError, SessionNotFoundError, StorageError
from claude_agent_http.store.errors import RejectedError
from claude_agent_http.store.group_commit import GroupCommit


class Commits:
    """Answers each request by its square; holds every commit back until `gate` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.error: Exception | None = None
        self.poison: int | None = None

    async def __call__(self, requests: Sequence[int]) -> Sequence[int | ClaudeAgentError]:
        self.batches.append(list(requests))
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        if self.poison in requests:
            raise RejectedError("poison")
        return [SessionNotFoundError("x") if request < 0 else request**2 for request in requests]


@pytest.fixture
def commits() -> Commits:
    return Commits()


def _started(commits: Commits, **limits: Any) -> GroupCommit[int, int]:
    group: GroupCommit[int, int] = GroupCommit(commits, **limits)
    group.start()
    return group


async def _submit_behind_a_first(
    group: GroupCommit[int, int], commits: Commits, requests: Sequence[int], weight: int = 1
) -> tuple["asyncio.Task[int]", list["asyncio.Task[int]"]]:
    """A first request whose commit is held, and others that wait for it."""
    first = asyncio.create_task(group.submit(0, 1))
    await asyncio.wait_for(commits.begun.wait(), 5)
    others = [asyncio.create_task(group.submit(request, weight)) for request in requests]
    await asyncio.sleep(0)
    return first, others


async def test_a_lone_request_is_committed_alone_and_at_once(commits: Commits) -> None:
    group = _started(commits)
    commits.gate.set()
    assert await group.submit(3, 1) == 9
    assert commits.batches == [[3]]
    await group.close()


async def test_a_patient_request_goes_with_the_next_one_and_before_it(commits: Commits) -> None:
    group = _started(commits)
    commits.gate.set()
    patient = asyncio.create_task(group.submit(2, 1, patience=60))
    await asyncio.sleep(0)
    assert [await asyncio.wait_for(group.submit(3, 1), 5), await patient] == [9, 4]
    assert commits.batches == [[2, 3]]
    await group.close()


async def test_a_patient_request_that_stays_alone_is_committed_when_its_time_is_up(commits: Commits) -> None:
    group = _started(commits)
    commits.gate.set()
    assert await asyncio.wait_for(group.submit(3, 1, patience=0.001), 5) == 9
    await group.close()


async def test_the_end_waits_for_no_patience(commits: Commits) -> None:
    group = _started(commits)
    commits.gate.set()
    patient = asyncio.create_task(group.submit(2, 1, patience=60))
    await asyncio.sleep(0)
    await asyncio.wait_for(group.close(), 4)
    assert await patient == 4


async def test_what_comes_in_during_a_commit_is_the_next_batch(commits: Commits) -> None:
    group = _started(commits)
    first, others = await _submit_behind_a_first(group, commits, range(1, 50))
    commits.gate.set()
    assert [await first, *await asyncio.gather(*others)] == [number**2 for number in range(50)]
    assert commits.batches == [[0], list(range(1, 50))]
    await group.close()


async def test_a_batch_has_a_limit_that_a_single_request_may_pass(commits: Commits) -> None:
    group = _started(commits, max_weight=10)
    first, others = await _submit_behind_a_first(group, commits, range(1, 6), weight=4)
    heavy = asyncio.create_task(group.submit(99, 1000))
    await asyncio.sleep(0)
    commits.gate.set()
    await asyncio.gather(first, heavy, *others)
    assert commits.batches == [[0], [1, 2], [3, 4], [5], [99]]
    await group.close()


async def test_more_requests_than_the_limit_wait_for_room(commits: Commits) -> None:
    group = _started(commits, max_waiting=3)
    first, others = await _submit_behind_a_first(group, commits, range(1, 8))
    commits.gate.set()
    await asyncio.gather(first, *others)
    assert commits.batches[1] == [1, 2]
    assert [request for batch in commits.batches for request in batch] == list(range(8))
    await group.close()


async def test_an_error_of_one_request_is_its_own(commits: Commits) -> None:
    group = _started(commits)
    commits.gate.set()
    results = await asyncio.gather(*(group.submit(each, 1) for each in (2, -1, 3)), return_exceptions=True)
    assert (results[0], results[2]) == (4, 9)
    assert isinstance(results[1], SessionNotFoundError)
    await group.close()


async def test_a_failed_commit_fails_its_batch_and_the_next_one_works(commits: Commits) -> None:
    group = _started(commits)
    commits.error = StorageError("broken")
    commits.gate.set()
    failed = await asyncio.gather(*(group.submit(each, 1) for each in range(3)), return_exceptions=True)
    assert [str(error) for error in failed] == ["broken"] * 3
    commits.error = None
    assert await group.submit(4, 1) == 16
    await group.close()


async def test_an_unexpected_error_reaches_the_caller_with_its_cause(commits: Commits) -> None:
    group = _started(commits)
    commits.gate.set()
    commits.error = ZeroDivisionError()
    with pytest.raises(StorageError, match="ZeroDivisionError") as caught:
        await group.submit(1, 1)
    assert caught.value.__cause__ is commits.error
    commits.error = None
    assert await group.submit(2, 1) == 4
    await group.close()


async def test_refused_data_fails_alone(commits: Commits) -> None:
    group = _started(commits)
    commits.poison = 2
    first, others = await _submit_behind_a_first(group, commits, [1, 2, 3])
    commits.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [results[0], results[1], results[3]] == [0, 1, 9]
    assert isinstance(results[2], RejectedError)
    await group.close()


async def test_a_request_cancelled_before_its_commit_is_left_out(commits: Commits) -> None:
    group = _started(commits)
    first, others = await _submit_behind_a_first(group, commits, [1, 2, 3])
    others[1].cancel()
    first.cancel()
    await asyncio.sleep(0)
    commits.gate.set()
    assert [await others[0], await others[2]] == [1, 9]
    assert commits.batches == [[0], [1, 3]]
    await group.close()


async def test_closing_commits_what_waits_and_refuses_the_rest(commits: Commits) -> None:
    group = _started(commits, max_waiting=3)
    first, others = await _submit_behind_a_first(group, commits, range(1, 8))
    closing = asyncio.create_task(group.close())
    await asyncio.sleep(0)
    commits.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    await closing
    assert results[:3] == [0, 1, 4]
    assert all(isinstance(result, StorageError) for result in results[3:])
    with pytest.raises(StorageError):
        await group.submit(1, 1)
    await group.close()


async def test_closing_gives_up_on_a_commit_that_never_ends(commits: Commits) -> None:
    group = _started(commits, flush_seconds=0.05)
    first, others = await _submit_behind_a_first(group, commits, [1, 2])
    await asyncio.wait_for(group.close(), 5)
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(result) for result in results] == [StorageError] * 3
    await group.close()


async def test_before_the_start_nothing_is_accepted(commits: Commits) -> None:
    group: GroupCommit[int, int] = GroupCommit(commits)
    with pytest.raises(StorageError):
        await group.submit(1, 1)
    await group.close()
