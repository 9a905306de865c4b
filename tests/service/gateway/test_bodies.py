"""Bodies of requests under way: each has a limit, and all together."""

import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from claude_agent_http.gateway.bodies import Bodies


def sent(*sizes: int) -> Request:
    """A request whose body comes in chunks of so many bytes."""
    messages = [{"type": "http.request", "body": bytes(size), "more_body": True} for size in sizes]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_all_together_take_no_more_than_they_may_and_give_it_back() -> None:
    bodies = Bodies(most_bytes=100)
    with bodies.room("one") as one, bodies.room("other") as other:
        assert len(await one.read(sent(30, 30))) == 60
        with pytest.raises(HTTPException) as refused:
            await other.read(sent(30, 30))
        assert refused.value.status_code == 429
    for _ in range(2):
        with bodies.room("one") as later:
            assert len(await later.read(sent(100))) == 100


async def test_one_agent_leaves_room_for_the_others() -> None:
    bodies = Bodies(most_bytes=100, most_of_one=60)
    with bodies.room("one") as one, bodies.room("one") as more, bodies.room("other") as other:
        await one.read(sent(50))
        with pytest.raises(HTTPException, match="of this agent") as refused:
            await more.read(sent(11))
        assert refused.value.status_code == 429
        assert len(await other.read(sent(50))) == 50
    with bodies.room("one") as later:
        assert len(await later.read(sent(60))) == 60


async def test_one_that_does_not_come_is_not_waited_for() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with Bodies(seconds=0.05).room("one") as room, pytest.raises(HTTPException) as refused:
        await room.read(request)
    assert refused.value.status_code == 408


async def test_one_takes_no_more_than_the_model_api_does() -> None:
    with Bodies(2**30, 2**30).room("one") as room, pytest.raises(HTTPException) as refused:
        await room.read(sent(32 * 1024 * 1024, 1))
    assert refused.value.status_code == 413
