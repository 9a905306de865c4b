"""Bodies of requests under way: each has a limit, and all together."""

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
    with bodies.room() as one, bodies.room() as other:
        assert len(await one.read(sent(30, 30))) == 60
        with pytest.raises(HTTPException) as refused:
            await other.read(sent(30, 30))
        assert refused.value.status_code == 429
    with bodies.room() as later:
        assert len(await later.read(sent(100))) == 100
    assert bodies.left == 100


async def test_one_takes_no_more_than_the_model_api_does() -> None:
    with Bodies(2**30).room() as room, pytest.raises(HTTPException) as refused:
        await room.read(sent(32 * 1024 * 1024, 1))
    assert refused.value.status_code == 413
